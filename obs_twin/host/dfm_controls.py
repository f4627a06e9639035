"""The settings of a DeepFaceLab model in the Twin Face filter, under the names that DeepFaceLive's users know.

Keys, limits and defaults are those of `face.dfm.settings.DfmSettings`, which cannot be imported inside OBS; a test
holds the two together. They are shown only while the chosen twin is such a model, and saved in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obs_twin.host.filters import Pane

PREFIX = "dfm_"

SLIDERS: tuple[tuple[str, str, float, float, float, float], ...] = (
    ("face_coverage", "Face coverage (0: as the face type)", 0.0, 8.0, 0.05, 0.0),
    ("x_offset", "X offset", -1.0, 1.0, 0.01, 0.0),
    ("y_offset", "Y offset", -1.0, 1.0, 0.01, 0.0),
    ("face_scale", "Face scale", 0.5, 1.5, 0.01, 1.0),
    ("morph_factor", "Morph factor (AMP models)", 0.0, 1.0, 0.01, 0.75),
    ("presharpen_amount", "Pre-sharpen", 0.0, 10.0, 0.1, 0.0),
    ("pre_gamma_red", "Pre-gamma red", 0.1, 4.0, 0.01, 1.0),
    ("pre_gamma_green", "Pre-gamma green", 0.1, 4.0, 0.01, 1.0),
    ("pre_gamma_blue", "Pre-gamma blue", 0.1, 4.0, 0.01, 1.0),
    ("post_gamma_red", "Post-gamma red", 0.1, 4.0, 0.01, 1.0),
    ("post_gamma_green", "Post-gamma green", 0.1, 4.0, 0.01, 1.0),
    ("post_gamma_blue", "Post-gamma blue", 0.1, 4.0, 0.01, 1.0),
    ("face_mask_erode", "Face mask erode", -400.0, 400.0, 1.0, 5.0),
    ("face_mask_blur", "Face mask blur", 0.0, 400.0, 1.0, 25.0),
    ("face_opacity", "Face opacity", 0.0, 1.0, 0.01, 1.0),
)
"""Key, name, lowest, highest, step, default."""

CHECKS: tuple[tuple[str, str, bool, str], ...] = (
    ("two_pass", "Two pass", False, "Gives the result to the network once more: more likeness, half the speed."),
    ("mask_source", "Face mask: source", True, "Stay inside your own face, as the network sees it."),
    ("mask_celeb", "Face mask: celeb", True, "Stay inside the target's face, as the network draws it."),
    ("mask_lmrks", "Face mask: landmarks", False, "Stay inside the outline of the face's landmarks."),
    ("multi_band", "Soft seam", False, "Coarse colours go over into each other more widely than fine detail."),
)
"""Key, name, default, explanation."""

CHOICES: tuple[tuple[str, str, tuple[tuple[str, str], ...], str], ...] = (
    (
        "face_type",
        "Face type",
        (
            ("As the model says, or else whole face", "auto"),
            ("Half face", "half"),
            ("Mid-full face", "mid_full"),
            ("Full face", "full"),
            ("Whole face", "whole_face"),
            ("Head", "head"),
        ),
        "auto",
    ),
    (
        "color_transfer",
        "Color transfer",
        tuple((mode, mode) for mode in ("none", "rct", "lct", "mkl", "idt", "sot")),
        "rct",
    ),
)
"""Key, name, (shown, value) of each choice, default."""

_ORDER = (
    *("face_type", "face_coverage", "x_offset", "y_offset", "face_scale", "morph_factor", "presharpen_amount"),
    *("pre_gamma_red", "pre_gamma_green", "pre_gamma_blue", "post_gamma_red", "post_gamma_green", "post_gamma_blue"),
    *("two_pass", "mask_source", "mask_celeb", "mask_lmrks", "face_mask_erode", "face_mask_blur", "color_transfer"),
    *("multi_band", "face_opacity"),
)

DEFAULTS: dict[str, bool | float | str] = {
    **{PREFIX + key: default for key, _name, _low, _high, _step, default in SLIDERS},
    **{PREFIX + key: default for key, _name, default, _help in CHECKS},
    **{PREFIX + key: default for key, _name, _options, default in CHOICES},
}

KEYS: tuple[tuple[str, type], ...] = tuple((key, type(default)) for key, default in DEFAULTS.items())


def fill(pane: Pane) -> None:
    """Add all of them to a property pane, in the order of DeepFaceLive's panels."""
    sliders = {row[0]: row for row in SLIDERS}
    checks = {row[0]: row for row in CHECKS}
    choices = {row[0]: row for row in CHOICES}
    for key in _ORDER:
        if key in sliders:
            _, name, low, high, step, _ = sliders[key]
            pane.slider(PREFIX + key, name, low, high, step)
        elif key in checks:
            _, name, _, help_text = checks[key]
            pane.check(PREFIX + key, name, help_text)
        else:
            _, name, options, _ = choices[key]
            pane.choice(PREFIX + key, name, list(options))

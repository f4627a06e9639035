"""What a person can set about a DeepFaceLab model, under the names that DeepFaceLive's users know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from obs_twin.face import colour
from obs_twin.face.dfm.align import FACE_TYPES

AUTO = "auto"

_LIMITS: dict[str, tuple[float, float]] = {
    "face_coverage": (0.0, 8.0),
    "x_offset": (-1.0, 1.0),
    "y_offset": (-1.0, 1.0),
    "face_scale": (0.5, 1.5),
    "morph_factor": (0.0, 1.0),
    "presharpen_amount": (0.0, 10.0),
    "pre_gamma_red": (0.1, 4.0),
    "pre_gamma_green": (0.1, 4.0),
    "pre_gamma_blue": (0.1, 4.0),
    "post_gamma_red": (0.1, 4.0),
    "post_gamma_green": (0.1, 4.0),
    "post_gamma_blue": (0.1, 4.0),
    "face_mask_erode": (-400.0, 400.0),
    "face_mask_blur": (0.0, 400.0),
    "face_opacity": (0.0, 1.0),
}
_CHOICES = {"face_type": (AUTO, *FACE_TYPES), "color_transfer": colour.MODES}


@dataclass(frozen=True, slots=True)
class DfmSettings:
    """How a face is cut out for the network, what is done to the picture, and how the result is put back.

    Attributes:
        face_type: how much of the head the model was trained on (`align.FACE_TYPES`); "auto": as its file says, or
            else the whole face.
        face_coverage: the square's side in units of the mean face, DeepFaceLive's 0.1 to 8 (its 2.2 is about the whole
            face); 0 takes it from the face type.
        x_offset, y_offset: shift of the square in the same unit.
        face_scale: size at which the result is put back; 1 is as it was cut out.
        morph_factor: 0..1, from actor to target, for AMP models only.
        presharpen_amount: 0..10, sharpening of what the network sees.
        pre_gamma_*, post_gamma_*: brightness of what the network sees and of what it gives; above 1 is brighter.
        two_pass: give the result to the network once more, for more likeness.
        mask_source: stay inside the actor's face, as the network sees it; keeps hair and hands that it learnt in front.
        mask_celeb: stay inside the target's face.
        mask_lmrks: stay inside the landmarks' outline.
        face_mask_erode: -400..400, makes the mask smaller (larger), in 448ths of the square.
        face_mask_blur: 0..400, width of its soft edge in 224ths of the square; the Gaussian's deviation is a quarter.
        color_transfer: one of `face.colour.MODES`.
        multi_band: blend coarse colours over a wider seam than fine detail (Burt and Adelson 1983).
        face_opacity: 1 shows all of the twin.
    """

    face_type: str = AUTO
    face_coverage: float = 0.0
    x_offset: float = 0.0
    y_offset: float = 0.0
    face_scale: float = 1.0
    morph_factor: float = 0.75
    presharpen_amount: float = 0.0
    pre_gamma_red: float = 1.0
    pre_gamma_green: float = 1.0
    pre_gamma_blue: float = 1.0
    post_gamma_red: float = 1.0
    post_gamma_green: float = 1.0
    post_gamma_blue: float = 1.0
    two_pass: bool = False
    mask_source: bool = True
    mask_celeb: bool = True
    mask_lmrks: bool = False
    face_mask_erode: float = 5.0
    face_mask_blur: float = 25.0
    color_transfer: str = "rct"
    multi_band: bool = False
    face_opacity: float = 1.0

    @classmethod
    def from_values(cls, values: Mapping[str, Any], prefix: str = "dfm_") -> DfmSettings:
        """From a filter's saved settings `{prefix + attribute: value}`; what is missing or wrong keeps its default."""
        chosen: dict[str, Any] = {}
        for field in fields(cls):
            value = values.get(prefix + field.name)
            if isinstance(field.default, bool):
                if isinstance(value, bool):
                    chosen[field.name] = value
            elif isinstance(field.default, str):
                if value in _CHOICES[field.name]:
                    chosen[field.name] = value
            elif isinstance(value, int | float) and value == value:
                low, high = _LIMITS[field.name]
                chosen[field.name] = min(max(float(value), low), high)
        return cls(**chosen)

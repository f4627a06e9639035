"""The part of Twin Voice's pane that only an RVC voice has, under the names that RVC's users know.

What a user leaves alone is as the twin pack says; the engine tells which values those are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obs_twin.host.filters import Pane
    from obs_twin.host.libobs import LibObs

PREFIX = "rvc_"
SLIDERS = (
    ("formant", "Formant (semitones)", -6.0, 6.0, 0.25),
    ("index_rate", "Index rate", 0.0, 1.0, 0.05),
    ("protect", "Protect consonants and breath (0.5 is off)", 0.0, 0.5, 0.01),
    ("rms_mix_rate", "RMS mix rate (0 follows the microphone's loudness)", 0.0, 1.0, 0.05),
    ("threshold_db", "Threshold: quieter is silence (dB)", -120.0, -20.0, 1.0),
    ("block_ms", "Block (ms; 0 chooses it from the delay)", 0.0, 1500.0, 20.0),
    ("extra_ms", "Extra context (ms; 0 chooses it from the delay)", 0.0, 5000.0, 100.0),
    ("crossfade_ms", "Cross-fade (ms)", 10.0, 150.0, 5.0),
    ("proposed_pitch_hz", "The voice's usual pitch (Hz; 0 leaves yours)", 0.0, 600.0, 5.0),
)
F0_METHODS = (
    ("RMVPE if the twin has it, else swift-f0", "auto"),
    ("RMVPE", "rmvpe"),
    ("swift-f0", "swift-f0"),
    ("Harvest", "harvest"),
    ("DIO", "dio"),
)
F0_KEY = f"{PREFIX}f0_method"


def chosen(obs: LibObs, settings: int) -> dict[str, float | str]:
    """What the user set, by RVC's names; nothing else."""
    found: dict[str, float | str] = {}
    for name, *_ in SLIDERS:
        key = f"{PREFIX}{name}".encode()
        if obs.obs_data_has_user_value(settings, key):
            found[name] = float(obs.obs_data_get_double(settings, key))
    if obs.obs_data_has_user_value(settings, F0_KEY.encode()):
        found["f0_method"] = obs.text(settings, F0_KEY)
    return found


def fill(pane: Pane, source: int, current: Mapping[str, Any]) -> None:
    """Add the sliders, which stand at `current` until somebody moves them."""
    obs = pane.obs
    settings = obs.obs_source_get_settings(source)
    if settings:
        for name, *_ in SLIDERS:
            obs.obs_data_set_default_double(settings, f"{PREFIX}{name}".encode(), float(current.get(name, 0.0)))
        method = str(current.get("f0_method", "auto"))
        obs.obs_data_set_default_string(settings, F0_KEY.encode(), method.encode())
        obs.obs_data_release(settings)
    pane.choice(F0_KEY, "F0 method", list(F0_METHODS))
    for name, label, low, high, step in SLIDERS:
        pane.slider(f"{PREFIX}{name}", label, low, high, step)

"""The settings of an RVC voice, under the names that RVC's users know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from obs_twin.voice.model import VoiceModelError

F0_METHODS = ("auto", "rmvpe", "swift-f0", "harvest", "dio")
FORMAT = "obs-twin rvc settings"

LIMITS: Mapping[str, tuple[float, float]] = {
    "pitch": (-24.0, 24.0),
    "formant": (-6.0, 6.0),
    "index_rate": (0.0, 1.0),
    "protect": (0.0, 0.5),
    "rms_mix_rate": (0.0, 1.0),
    "threshold_db": (-120.0, -20.0),
    "block_ms": (0.0, 1500.0),
    "extra_ms": (0.0, 5000.0),
    "crossfade_ms": (10.0, 150.0),
    "proposed_pitch_hz": (0.0, 600.0),
    "speaker_id": (0, 10_000),
}
WHOLE = frozenset({"speaker_id"})


@dataclass(frozen=True)
class RvcSettings:
    """How an RVC voice is driven. Defaults are RVC's, or "chosen from the delay" where 0 says so.

    pitch: semitones ("transpose", "f0_up_key"); 12 from a man to a woman, -12 back.
    formant: semitones by which the formants go up ("gender factor" times ten).
    f0_method: one of F0_METHODS; "auto" is rmvpe where the pack has one, else swift-f0.
    index_rate: share of the retrieved features ("index ratio"); without an index it does nothing.
    protect: how far consonants and breath keep their own features; 0.5 is off.
    rms_mix_rate: 1 keeps the converted loudness, 0 follows the microphone's ("loudness factor").
    threshold_db: what is quieter counts as silence ("response threshold", "S. Thresh").
    block_ms: sound converted at a time ("chunk", "sample length"); 0 chooses it from the delay.
    extra_ms: what the content encoder hears before that ("extra inference time", "context"); 0 chooses it.
    crossfade_ms: how long two blocks overlap ("fade length").
    proposed_pitch_hz: where it is not 0, the actor's usual pitch is moved there, and `pitch` is added.
    speaker_id: the voice inside a model of several.
    """

    pitch: float = 0.0
    formant: float = 0.0
    f0_method: str = "auto"
    index_rate: float = 0.75
    protect: float = 0.33
    rms_mix_rate: float = 0.25
    threshold_db: float = -60.0
    block_ms: float = 0.0
    extra_ms: float = 0.0
    crossfade_ms: float = 50.0
    proposed_pitch_hz: float = 0.0
    speaker_id: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and low <= value <= high):
                raise VoiceModelError(
                    f"the RVC setting {name} must be a number from {low:g} to {high:g}, not {value!r}"
                )
            if name in WHOLE and value != int(value):
                raise VoiceModelError(f"the RVC setting {name} must be a whole number, not {value!r}")
        if 0 < self.block_ms < 60:
            raise VoiceModelError(f"the RVC setting block_ms must be 0 or at least 60, not {self.block_ms:g}")
        if 0 < self.proposed_pitch_hz < 50:
            raise VoiceModelError(
                f"the RVC setting proposed_pitch_hz must be 0 or at least 50, not {self.proposed_pitch_hz:g}"
            )
        if self.f0_method not in F0_METHODS:
            raise VoiceModelError(
                f"the RVC setting f0_method must be one of {', '.join(F0_METHODS)}, not {self.f0_method!r}"
            )

    def changed(self, options: Mapping[str, object]) -> RvcSettings:
        """These settings with some replaced. Raises VoiceModelError for an unknown name or a wrong value."""
        known = {field.name for field in fields(self)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise VoiceModelError(
                f"unknown RVC setting{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}; there are "
                f"{', '.join(sorted(known))}"
            )
        values: Mapping[str, Any] = options
        return replace(self, **values)

    def encode(self) -> bytes:
        """The settings as a pack holds them."""
        return (json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n").encode("utf-8")

    @staticmethod
    def load(path: Path) -> RvcSettings:
        """Read what `encode` made. Raises VoiceModelError when the file is missing, damaged or not one."""
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise VoiceModelError(f"cannot read the RVC settings {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise VoiceModelError(f"the RVC settings {path} are damaged: not JSON ({error})") from error
        if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
            raise VoiceModelError(f'{path} holds no RVC settings: expected "format": "{FORMAT}"')
        try:
            return RvcSettings().changed(document)
        except VoiceModelError as error:
            raise VoiceModelError(f"{path}: {error}") from error

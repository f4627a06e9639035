"""What every voice model promises, the settings that a person may turn, and the error all of them raise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class VoiceModelError(ValueError):
    """A voice model or its data cannot be used; the message says what was expected, found and can be done."""


@dataclass(frozen=True)
class VoiceSettings:
    """How the actor's voice becomes the target's. Every default is "as measured from the target".

    pitch_semitones: added to the target's pitch (-12..12).
    formant_ratio: multiplies the measured ratio of the vocal tracts (0.7..1.4; above 1 is a smaller person).
    timbre_strength: how far the spectrum goes to the target's long-term spectrum (0 not at all, 1 fully).
    intonation_strength: how far the pitch range goes from the actor's (0) to the target's (1).
    actor_f0_hz: the actor's usual pitch where it is known, so that the very first word is right; else measured.
    gate: replace what is not speech by silence.
    options: what only one kind of voice knows, by the names that its users know (rvc: `rvc.settings.RvcSettings`).
    """

    pitch_semitones: float = 0.0
    formant_ratio: float = 1.0
    timbre_strength: float = 1.0
    intonation_strength: float = 1.0
    actor_f0_hz: float | None = None
    gate: bool = True
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = {
            "pitch_semitones": (-12.0, 12.0),
            "formant_ratio": (0.7, 1.4),
            "timbre_strength": (0.0, 1.0),
            "intonation_strength": (0.0, 1.0),
            "actor_f0_hz": (50.0, 600.0),
        }
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in limits or value is None:
                continue
            low, high = limits[each.name]
            if not (math.isfinite(value) and low <= value <= high):
                raise VoiceModelError(f"voice setting {each.name} must be between {low:g} and {high:g}, not {value}")


@runtime_checkable
class VoiceModel(Protocol):
    """A streaming converter for one mono stream, used by one thread.

    Sample k of all that ``push`` and ``flush`` return belongs to sample k of all that was pushed: nothing is
    shifted, no sample is added or lost. After every ``push`` at most ``lookahead_samples`` are still owed.
    """

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples that go in and come out."""

    @property
    def lookahead_samples(self) -> int:
        """The most samples that the output may lag behind the input; fixed for the model's life."""

    @property
    def provider(self) -> str:
        """What runs it, in words for the panel and the report."""

    def push(self, x: F32) -> F32:
        """Take (N,) samples in -1..1, N >= 0; return the (M,) samples that are finished."""

    def flush(self) -> F32:
        """Return all samples still owed and start afresh, keeping what was learnt of the actor's voice."""

    def reset(self) -> None:
        """Forget the samples not yet given out (after a gap), keeping what was learnt of the actor's voice."""

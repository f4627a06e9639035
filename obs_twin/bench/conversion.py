"""Converting a clip as the product does it: in OBS's packets through `open_voice(...).push`, or all at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from obs_twin.bench.extra import BenchError
from obs_twin.voice.model import F32, VoiceModel, VoiceSettings
from obs_twin.voice.registry import open_voice

RATE_HZ = 48000
PACKET_SAMPLES = 1024  # what OBS hands to a filter
COMPUTE_MS = 90.0  # what the engine keeps of D for the computing itself (`engine/voice.py`)
WHOLE_BUDGET_MS = 5000.0
ROOM_RMS = 10 ** (-70 / 20)


@dataclass(frozen=True)
class Condition:
    """How clips are converted: streamed with a delay D, or whole (`delay_s` None)."""

    delay_s: float | None

    @property
    def label(self) -> str:
        """For tables and file names: "whole", "0.5 s"."""
        return "whole" if self.delay_s is None else f"{self.delay_s:g} s"

    @property
    def budget_ms(self) -> float:
        """What the voice may lag, as the engine would tell it."""
        return WHOLE_BUDGET_MS if self.delay_s is None else 1000 * self.delay_s - COMPUTE_MS


@dataclass(frozen=True)
class Converted:
    """A converted clip.

    Attributes:
        samples: (N,) at 48 kHz, sample k belongs to sample k of the source.
        fed_s: seconds of sound that were sent through.
        cpu_s: CPU time of this thread and of what it waited for.
        slowest_s: the longest single `push`, CPU time.
        owed_samples: the most that the output was behind the input.
        lookahead_samples: the most that the model promised.
    """

    samples: F32
    fed_s: float
    cpu_s: float
    slowest_s: float
    owed_samples: int
    lookahead_samples: int


@dataclass(frozen=True)
class VoiceUnderTest:
    """What `open_voice` needs to open it anew for each condition."""

    kind: str
    files: Mapping[str, Path]
    settings: VoiceSettings

    def open(self, condition: Condition) -> VoiceModel:
        """A fresh model that knows nothing of the actor.

        Raises:
            VoiceModelError: the files or the delay do not allow it.
        """
        return open_voice(
            self.kind, self.files, sample_rate_hz=RATE_HZ, delay_budget_ms=condition.budget_ms, settings=self.settings
        )


def convert_live(model: VoiceModel, source: F32, condition: Condition, lead_in_s: float) -> Converted:
    """`convert` for a stream that was already running: so much of a quiet room comes first, and is cut off again.

    A filter in OBS never starts in the middle of a word. Nothing of the speaker is learnt from the room.
    """
    lead = round(lead_in_s * RATE_HZ) if condition.delay_s is not None else 0
    room = np.random.default_rng(5).normal(0.0, ROOM_RMS, lead).astype(np.float32)
    done = convert(model, np.concatenate([room, source]), condition)
    return replace(done, samples=done.samples[lead:])


def convert(model: VoiceModel, source: F32, condition: Condition) -> Converted:
    """Send `source` (N,) at 48 kHz through `model` and flush it.

    Raises:
        BenchError: the model broke its promise: samples lost, added, or later than its lookahead.
    """
    step = PACKET_SAMPLES if condition.delay_s is not None else max(1, len(source))
    parts: list[F32] = []
    given = owed = 0
    spent: list[float] = []
    for start in range(0, len(source), step):
        packet = source[start : start + step]
        began = time.process_time()
        parts.append(model.push(packet))
        spent.append(time.process_time() - began)
        given += len(parts[-1])
        owed = max(owed, start + len(packet) - given)
    began = time.process_time()
    parts.append(model.flush())
    spent.append(time.process_time() - began)
    samples: F32 = np.concatenate(parts)
    if len(samples) != len(source):
        raise BenchError(f"the voice gave {len(samples)} samples for {len(source)}: it must give as many as it gets")
    if owed > model.lookahead_samples:
        raise BenchError(f"the voice fell {owed} samples behind, and promised at most {model.lookahead_samples}")
    return Converted(samples, len(source) / RATE_HZ, sum(spent), max(spent), owed, model.lookahead_samples)

"""What a decoder is trained on: a stretch of speech, and what the converter hears in it.

Beside the recording itself the converter is given altered versions of it, as another mouth, another room and other
windows would make it, moment for moment the same. So the decoder learns to say the same thing when what it is told
differs as it will differ when somebody else speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyworld
import soxr

from obs_twin.voice.content import ContentEncoder
from obs_twin.voice.model import F32, F64, VoiceSettings
from obs_twin.voice.neural_grid import (
    FRAME_S,
    HEAR_FRAME,
    HEAR_RATE_HZ,
    HEAR_STEP,
    MAKE_RATE_HZ,
    MAKE_STEP,
    STEP_S,
    STEPS_PER_FRAME,
)
from obs_twin.voice.neural_pitch import PitchMap, track
from obs_twin.voice.target import VoiceTarget

HEARD_RMS = 0.06
"""To which the encoder's input is brought: speech that peaks at about 0.3."""
ALTERED_VERSIONS = 3
MOST_ALTERED_FRAMES = 40 * 60 * 30  # of all versions together, half an hour: more is variety enough in itself
VOCAL_TRACT = 1.18  # most that an altered version's mouth is larger or smaller
NOISE_DB = (12.0, 35.0)
TILT = 0.5
BLOCK_FRAMES, RIGHT_FRAMES = (4, 20), (3, 20)
"""Heard at a time, and beside it what comes after, as in a stream with one delay or another."""
OCTAVE_FAULT = 0.08  # a refined pitch so far off, in ln Hz, is another harmonic's


@dataclass(frozen=True)
class Version:
    """What the converter hears in n steps: content (n, 128) and energy (n,)."""

    content: F32
    energy: F32


@dataclass(frozen=True)
class Material:
    """One stretch of speech, n steps of 12.5 ms long.

    sound: (n * 300,) at 24 kHz.
    f0_hz: (n,), 0 where there is no voice.
    versions: of the recording itself first, then the altered ones.
    """

    sound: F32
    f0_hz: F32
    versions: tuple[Version, ...]


def prepare(
    stretches: Sequence[F32],
    encoder: ContentEncoder,
    *,
    altered: int = ALTERED_VERSIONS,
    noise_db: tuple[float, float] = NOISE_DB,
    seed: int = 0,
    done: Callable[[float], None] | None = None,
) -> list[Material]:
    """Material from stretches of speech, each (N,) at 24 kHz, with up to `altered` altered versions of each.

    `noise_db` is how far below the speech the noise of these lies, at least and at most.
    `done` is called with the share of the work that is done, 0..1.
    """
    random = np.random.default_rng(seed)
    frames = sum(len(stretch) // (MAKE_STEP * STEPS_PER_FRAME) for stretch in stretches)
    altered = min(altered, max(1, MOST_ALTERED_FRAMES // max(1, frames)))
    material = []
    for index, stretch in enumerate(stretches):
        material.append(hear(stretch, encoder, random, altered, noise_db))
        if done is not None:
            done((index + 1) / len(stretches))
    return material


def hear(
    stretch: F32,
    encoder: ContentEncoder,
    random: np.random.Generator,
    altered: int = 0,
    noise_db: tuple[float, float] = NOISE_DB,
) -> Material:
    """What the converter hears in a stretch (N,) at 24 kHz, and in `altered` versions of it."""
    heard = soxr.resample(stretch, MAKE_RATE_HZ, HEAR_RATE_HZ)
    heard *= HEARD_RMS / max(1e-6, float(np.sqrt(np.mean(np.square(heard)))))
    frames = min(len(heard) // HEAR_FRAME, len(stretch) // (MAKE_STEP * STEPS_PER_FRAME))
    heard = np.clip(heard[: frames * HEAR_FRAME], -1, 1)
    sound = np.ascontiguousarray(stretch[: frames * STEPS_PER_FRAME * MAKE_STEP])
    content = encoder.whole(heard)
    f0_hz = _refined(sound, track(heard, HEAR_STEP / 2 / HEAR_RATE_HZ, content.voiced))
    versions = [Version(content.content, content.energy)]
    versions += [_altered(heard, frames, encoder, random, noise_db) for _ in range(altered)]
    return Material(sound, f0_hz.astype(np.float32), tuple(versions))


def in_range_of(target: VoiceTarget, material: Material) -> Material:
    """The same, its pitch moved into the target's range as the converter does it."""
    pitch = PitchMap(target, VoiceSettings())
    f0_hz = material.f0_hz.astype(np.float64)
    pitch.learn(f0_hz)
    return replace(material, f0_hz=pitch.to_target(f0_hz).astype(np.float32))


def _refined(sound: F32, f0_hz: F64) -> F64:
    """F0 by the instantaneous frequencies of its harmonics (StoneMask of WORLD), so that high ones fit too."""
    times_s = (np.arange(len(f0_hz)) + 0.5) * STEP_S
    found = pyworld.stonemask(sound.astype(np.float64), f0_hz, times_s, MAKE_RATE_HZ)
    fits = (f0_hz > 0) & (np.abs(np.log(np.maximum(found, 1) / np.maximum(f0_hz, 1))) < OCTAVE_FAULT)
    return np.where(fits, found, f0_hz)


def _altered(
    heard: F32, frames: int, encoder: ContentEncoder, random: np.random.Generator, noise_db: tuple[float, float]
) -> Version:
    ratio = float(VOCAL_TRACT ** random.uniform(-1, 1))
    other = soxr.resample(heard, HEAR_RATE_HZ * ratio, HEAR_RATE_HZ)  # faster, and a smaller mouth, if above 1
    other = np.append(other[:1], other[1:] - random.uniform(-TILT, TILT) * other[:-1])
    rms = float(np.sqrt(np.mean(np.square(other))))
    noise = random.standard_normal(len(other)) * rms * 10 ** (-random.uniform(*noise_db) / 20)
    other = np.clip((other + noise) * (HEARD_RMS / max(1e-6, rms)) * random.uniform(0.5, 1.5), -1, 1)
    block = (int(random.integers(*limits)) for limits in (BLOCK_FRAMES, RIGHT_FRAMES))
    content = encoder.whole(other.astype(np.float32), *block)
    at: F64 = np.asarray((np.arange(frames * STEPS_PER_FRAME) + 0.5) / ratio - 0.5, np.float64)
    return Version(_between(content.content, at), _between(content.energy[:, None], at)[:, 0])


def _between(rows: F32, at: F64) -> F32:
    """Rows (m, width) at fractional places (n,)."""
    at = np.clip(at, 0, len(rows) - 1.0)
    low = at.astype(np.intp)
    weight = (at - low).astype(np.float32)[:, None]
    return np.asarray(rows[low] * (1 - weight) + rows[np.minimum(low + 1, len(rows) - 1)] * weight, np.float32)


def duration_s(material: Sequence[Material]) -> float:
    """Seconds of speech in it."""
    return sum(len(item.f0_hz) for item in material) * FRAME_S / STEPS_PER_FRAME

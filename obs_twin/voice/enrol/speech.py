"""Finding what is spoken in a recording, and judging each stretch of it: loud enough, clean enough, not clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr

from obs_twin.voice.activity import BLOCK_SAMPLES, SpeechDetector
from obs_twin.voice.enrol.reading import Recording
from obs_twin.voice.model import F32, F64
from obs_twin.voice.neural_grid import HEAR_RATE_HZ, MAKE_RATE_HZ

BLOCK_S = BLOCK_SAMPLES / HEAR_RATE_HZ
SPEECH_FROM, SPEECH_STAYS = 0.5, 0.3
LONGEST_PAUSE_S = 0.45
SHORTEST_S = 1.0
LONGEST_S = 9.0
EDGE_S = 0.12
"""Kept before and after: a first consonant comes before the network is sure."""

MOST_CLIPPED = 1e-3
LEAST_SNR_DB = 14.0
LEAST_LEVEL_DBFS = -50.0
FRAME = 480  # 20 ms
DIGITAL_SILENCE_DB = -100.0
LOWEST_PERCENT = 3.0


@dataclass(frozen=True)
class Stretch:
    """A stretch of speech.

    start_s: in its recording.
    samples: (N,) at 24 kHz.
    level_dbfs: of the speech in it.
    snr_db: how far that is above the recording's background.
    clipped: share of its samples.
    """

    recording: Recording
    start_s: float
    samples: F32
    level_dbfs: float
    snr_db: float
    clipped: float

    @property
    def duration_s(self) -> float:
        return len(self.samples) / MAKE_RATE_HZ

    @property
    def where(self) -> str:
        """For a person: "interview.mp3 at 1:02"."""
        minutes, seconds = divmod(int(self.start_s), 60)
        return f"{self.recording.path.name} at {minutes}:{seconds:02}"

    @property
    def fault(self) -> str:
        """Why it cannot be used, in words; empty if it can."""
        if self.clipped > MOST_CLIPPED:
            return "distorted (recorded too loud)"
        if self.level_dbfs < LEAST_LEVEL_DBFS:
            return f"too quiet ({self.level_dbfs:.0f} dBFS)"
        if self.snr_db < LEAST_SNR_DB:
            return f"too noisy (the voice is only {max(0.0, self.snr_db):.0f} dB above the background)"
        return ""


def find_speech(recording: Recording, detector: SpeechDetector) -> list[Stretch]:
    """The stretches of speech in a recording, 1 to 9 s long, cut in pauses where there are any."""
    heard = soxr.resample(recording.samples, MAKE_RATE_HZ, HEAR_RATE_HZ)
    peak = float(np.abs(heard).max()) if len(heard) else 0.0
    if peak < 1e-4:
        return []
    detector.reset()
    probability = np.array([*detector.push((heard * (0.5 / peak)).astype(np.float32)), 0.0])
    levels_db = frame_levels_db(recording.samples)
    spoken = [_samples(first, last) for first, last in _runs(probability)]
    noise_db = _background_db(levels_db, spoken)
    stretches = []
    for start, end in spoken:
        edge = int(EDGE_S * MAKE_RATE_HZ)
        start, end = max(0, start - edge), min(len(recording.samples), end + edge)
        part = levels_db[start // FRAME : max(start // FRAME + 1, end // FRAME)]
        level_db = float(10 * np.log10(np.mean(10 ** (part[part > part.max() - 20] / 10))))
        stretches.append(
            Stretch(
                recording,
                start / MAKE_RATE_HZ,
                recording.samples[start:end],
                level_db,
                level_db - noise_db,
                float(recording.clipped[start:end].mean()),
            )
        )
    return [stretch for stretch in stretches if stretch.duration_s >= SHORTEST_S]


def frame_levels_db(samples: F32) -> F64:
    """Levels (n,) in dBFS (of a full-scale square wave) of frames of 20 ms at 24 kHz."""
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(np.square(whole - whole.mean(axis=1, keepdims=True), dtype=np.float64), axis=1)
    return np.asarray(10 * np.log10(power + 1e-12))


def _samples(first: int, last: int) -> tuple[int, int]:
    return int(first * BLOCK_S * MAKE_RATE_HZ), int(last * BLOCK_S * MAKE_RATE_HZ)


def _background_db(levels_db: F64, spoken: list[tuple[int, int]]) -> float:
    """The recording's background: the quiet end of what is not speech, or the quietest moments if that is less.

    A short clip has no pause; between its words it may still be quieter than at its edges.
    """
    audible = levels_db > DIGITAL_SILENCE_DB  # silence between takes says nothing about the room
    quiet = audible.copy()
    for start, end in spoken:
        quiet[start // FRAME : end // FRAME + 1] = False
    if not audible.any():
        return DIGITAL_SILENCE_DB
    lowest = float(np.percentile(levels_db[audible], LOWEST_PERCENT))
    return min(lowest, float(np.percentile(levels_db[quiet], 20))) if quiet.sum() >= 10 else lowest


def _runs(probability: F64) -> list[tuple[int, int]]:
    """Half-open runs of blocks that are speech; longer ones than LONGEST_S are cut where they are most like a pause."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    quiet_from = 0
    for block, value in enumerate(probability):
        if value >= (SPEECH_FROM if start is None else SPEECH_STAYS):
            start = block if start is None else start
            quiet_from = block + 1
        elif start is not None and (block - quiet_from) * BLOCK_S >= LONGEST_PAUSE_S:
            runs.append((start, quiet_from))
            start = None
    if start is not None:
        runs.append((start, quiet_from))
    return [piece for run in runs for piece in _cut(probability, *run)]


def _cut(probability: F64, first: int, last: int) -> list[tuple[int, int]]:
    longest, shortest = int(LONGEST_S / BLOCK_S), int(2 * SHORTEST_S / BLOCK_S)
    if last - first <= longest:
        return [(first, last)]
    inner = probability[first + shortest : min(first + longest, last - shortest)]
    cut = first + shortest + int(np.argmin(inner))
    return [(first, cut), *_cut(probability, cut, last)]

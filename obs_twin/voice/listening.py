"""What an ear trained on many people makes of a stream of sound: features of Whisper base's encoder.

    16 kHz -> log mel, 100 Hz -> Whisper's encoder, 50 Hz: after layer 3 and at the end -> 40 Hz, 1024 numbers a frame

The encoder was made for 30 s at once. Here it hears a stream, block by block: the frames of a block attend to
themselves, to a little that comes after them, and to the last seconds before, of which only the keys and values are
kept. So each block costs as much as itself, however much was heard before. Encoder and adapter have been trained for
just that (`voice.training.hearing`). Whisper numbers its frames from 0 to 1499. Before a memory's numbers run out a
second one is filled beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from obs_twin.voice.mel import mel_filterbank
from obs_twin.voice.model import F32
from obs_twin.voice.neural_grid import HEAR_FRAME, HEAR_RATE_HZ
from obs_twin.voice.sessions import open_session

ENCODER = "whisper_taps"
"""Its name among the derived models."""
TAPS = ("layer_3", "last")
TAP_WIDTH = 512
FEATURE_WIDTH = TAP_WIDTH * len(TAPS)
TOKEN = 320  # samples between Whisper's frames, here called tokens: frames have 25 ms
KEPT = tuple(f"{part}{layer}" for layer in range(6) for part in "kv")
MEMORY_TOKENS = 300  # 6 s
LIFE_TOKENS = 1250
"""The longest block and what comes after it must fit into Whisper's 1500 as well."""
MELS, MEL_HOP, MEL_WINDOW = 80, 160, 400
MEL_LEAD = 4
LEAST_LEFT_SAMPLES = MEL_LEAD * MEL_HOP + MEL_WINDOW // 2 + TOKEN
"""What a block's sound has to begin before its first frame."""
LEAST_SAMPLES = 3 * HEAR_FRAME
PRIOR_LOUDEST, RANGE = -1.0, 8.0  # powers of ten
FORGET_PER_TOKEN = 0.0006  # 0.3 dB a second


@dataclass
class _Memory:
    """Keys and values of what was heard since token ``begin``."""

    begin: int
    past: dict[str, F32] = field(
        default_factory=lambda: {f"past_{name}": np.zeros((1, 0, TAP_WIDTH), np.float32) for name in KEPT}
    )


class Ear:
    """Opens Whisper's encoder and listens to one stream. Raises ``ModelError`` when it cannot be opened."""

    def __init__(self, encoder: Path) -> None:
        self._encoder = open_session(encoder)
        self.reset()

    @property
    def provider(self) -> str:
        return self._encoder.provider

    def reset(self) -> None:
        """Forget what was heard."""
        self._memories = [_Memory(0)]
        self._frame = 0  # first of the next block
        self._next = 0  # first token that is not final yet
        self._loudness = Loudness()

    def hear(self, x: F32, x_start: int, frames: int, right_frames: int) -> F32:
        """Features (frames + right_frames, 1024) of the next block and of what comes after it.

        ``frames`` is a multiple of 4, unless nothing follows. ``x`` (N,) is the sound in -1..1 at 16 kHz from sample
        ``x_start`` of the stream on, at least ``LEAST_LEFT_SAMPLES`` before the block, to the end of what comes after
        it.
        """
        first = self._frame
        self._frame += frames
        final, end = ((first + n) * HEAR_FRAME // TOKEN for n in (frames, frames + right_frames))
        levels = log_mel(x, x_start, 2 * self._next - MEL_LEAD, 2 * end)
        feeds = {"mel": self._loudness.scaled(levels)[None]}
        tokens, *_ = [self._run(memory, feeds, final - self._next) for memory in self._memories]
        tokens_start, self._next = self._next, final
        self._renew()
        return at_frames(tokens, tokens_start, first, first + frames + right_frames)

    def features(self, x: F32, frames: int, right_frames: int) -> F32:
        """(N // 400, 1024) features of a stream (N,), N at least 1,200, heard in blocks of so many frames."""
        self.reset()
        count = len(x) // HEAR_FRAME
        padded = np.concatenate([np.zeros(LEAST_LEFT_SAMPLES, np.float32), x[: count * HEAR_FRAME]])
        parts = []
        for first in range(0, count, frames):
            last = first + frames + right_frames >= count
            heard = self.hear(
                padded[: LEAST_LEFT_SAMPLES + min(count, first + frames + right_frames) * HEAR_FRAME],
                -LEAST_LEFT_SAMPLES,
                min(frames, count - first),
                max(0, min(right_frames, count - first - frames)),
            )
            parts.append(heard if last else heard[:frames])
            if last:
                break
        return np.concatenate(parts)

    def _run(self, memory: _Memory, feeds: dict[str, F32], final: int) -> F32:
        """Taps of a block's tokens; ``memory`` takes the first ``final`` of them."""
        place = {"first": np.array([self._next - memory.begin])}
        taps = self._encoder.run({**feeds, **place, **memory.past}, (*TAPS, *KEPT))
        for name, more in zip(KEPT, taps[len(TAPS) :], strict=True):
            past = memory.past[f"past_{name}"]
            memory.past[f"past_{name}"] = np.concatenate([past, more[:, :final]], axis=1)[:, -MEMORY_TOKENS:]
        return np.concatenate([tap[0] for tap in taps[: len(TAPS)]], axis=1)

    def _renew(self) -> None:
        """Begin a second memory in time, and give up the first one when its numbers have run out."""
        age = self._next - self._memories[0].begin
        if len(self._memories) == 1 and age >= LIFE_TOKENS - MEMORY_TOKENS:
            self._memories.append(_Memory(self._next))
        elif age >= LIFE_TOKENS:
            del self._memories[0]


class Loudness:
    """Whisper cuts off what lies 80 dB below the loudest. In a stream: the loudest so far, slowly forgotten."""

    def __init__(self) -> None:
        self._loudest = PRIOR_LOUDEST

    def scaled(self, levels: F32) -> F32:
        """(80, n) of the next block's levels (80, n), in the scale that Whisper was trained on."""
        self._loudest = max(float(levels.max()), self._loudest - FORGET_PER_TOKEN * levels.shape[1] / 2)
        return np.asarray((np.maximum(levels, self._loudest - RANGE) + 4.0) / 4.0, np.float32)


def log_mel(x: F32, x_start: int, first: int, end: int) -> F32:
    """(80, end - first) levels, powers of ten, of the mel frames ``first`` to ``end`` of a stream at 16 kHz, of which
    ``x`` begins at sample ``x_start``."""
    begin = first * MEL_HOP - MEL_WINDOW // 2 - x_start
    piece = x[begin : end * MEL_HOP - x_start]
    piece = np.pad(piece, (0, (end - 1 - first) * MEL_HOP + MEL_WINDOW - len(piece)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(piece, MEL_WINDOW)[::MEL_HOP]
    filters, hann = _filters()
    power = np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2
    return np.asarray(np.log10(np.maximum(filters @ power.T.astype(np.float32), 1e-10)), np.float32)


@lru_cache(maxsize=1)
def _filters() -> tuple[F32, F32]:
    """Whisper's mel filters, (80, 201), and its window, (400,)."""
    filters = mel_filterbank(HEAR_RATE_HZ, MEL_WINDOW, MELS)
    return filters.astype(np.float32), np.hanning(MEL_WINDOW + 1)[:-1].astype(np.float32)


def at_frames(tokens: F32, tokens_start: int, first: int, end: int) -> F32:
    """Tokens (n, width) from token ``tokens_start`` on, interpolated at the middles of frames ``first`` to ``end``."""
    at = (np.arange(first, end) + 0.5) * (HEAR_FRAME / TOKEN) - tokens_start
    at = np.clip(at, 0.0, len(tokens) - 1.0)
    low = at.astype(np.intp)
    high = np.minimum(low + 1, len(tokens) - 1)
    weight = (at - low).astype(np.float32)[:, None]
    return np.asarray(tokens[low] * (1 - weight) + tokens[high] * weight, np.float32)

"""Whether somebody is speaking: the Silero voice activity network, and a gate that opens before the word begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from obs_twin.voice.model import F32, F64
from obs_twin.voice.neural_grid import HEAR_RATE_HZ, HEAR_STEP
from obs_twin.voice.sessions import open_session
from obs_twin.zoo.provider import Array

BLOCK_SAMPLES = 512  # 32 ms, what the network was trained with
CONTEXT_SAMPLES = 64  # of the block before

OPEN_FROM = 0.5  # probability of speech
STAY_FROM = 0.3
LOOKAHEAD_STEPS = 10  # 125 ms: a word's first consonant comes before the network is sure
HOLD_STEPS = 20  # 250 ms: pauses inside a sentence are the voice's own
OPEN_GAIN_PER_STEP = 1 / 2
CLOSE_GAIN_PER_STEP = 1 / 6


class SpeechDetector:
    """Probability of speech of a stream at 16 kHz, one each 32 ms."""

    def __init__(self, path: Path) -> None:
        self._network = open_session(path)
        self._rate: Array = np.array(HEAR_RATE_HZ, np.int64)
        self.reset()

    def reset(self) -> None:
        self._state: Array = np.zeros((2, 1, 128), np.float32)
        self._x = np.zeros(CONTEXT_SAMPLES, np.float32)

    def push(self, x: F32) -> list[float]:
        """Take (N,) samples, return the probabilities of the blocks that are complete."""
        self._x = np.concatenate([self._x, x])
        found: list[float] = []
        whole = CONTEXT_SAMPLES + BLOCK_SAMPLES
        while len(self._x) >= whole:
            block = self._x[None, :whole]
            probability, self._state = self._network.run({"input": block, "state": self._state, "sr": self._rate})
            found.append(float(probability.reshape(-1)[0]))
            self._x = self._x[BLOCK_SAMPLES:]
        return found


class SpeechGate:
    """Gain 0..1 per step of 12.5 ms."""

    def __init__(self) -> None:
        self._hold = 0
        self._gain = 0.0

    def gains(self, probability: F64, count: int) -> F64:
        """Gains of the next ``count`` steps, from the probability of speech of these and of those after them."""
        gains = np.empty(count)
        for i in range(count):
            coming = probability[i : i + LOOKAHEAD_STEPS + 1]
            if coming.max() >= OPEN_FROM or (self._hold > 0 and probability[i] >= STAY_FROM):
                self._hold = HOLD_STEPS
            else:
                self._hold -= 1
            step = OPEN_GAIN_PER_STEP if self._hold > 0 else -CLOSE_GAIN_PER_STEP
            self._gain = min(max(self._gain + step, 0.0), 1.0)
            gains[i] = self._gain
        return gains


def block_of_step(step: int) -> int:
    """The detector's block that holds the middle of a step."""
    return (step * HEAR_STEP + HEAR_STEP // 2) // BLOCK_SAMPLES

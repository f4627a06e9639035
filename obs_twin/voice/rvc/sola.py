"""Joining blocks that were made one by one: SOLA (synchronous overlap-add, Roucos and Wilgus 1985)."""

from __future__ import annotations

import numpy as np

from obs_twin.voice.model import F32

LOUD_ENOUGH = 1e-4


class SolaJoiner:
    """Joins blocks, each given with a little of what lies before and after it.

    Each block is moved by up to `search` samples, to where it fits best what the block before had there, and
    cross-faded over `fade` samples. Moves do not add up: each is from the block's own place.
    """

    def __init__(self, block: int, fade: int, search: int) -> None:
        self._block, self._fade, self._search = block, fade, search
        rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade) ** 2
        self._rise = rise.astype(np.float32)
        self._tail: F32 | None = None

    @property
    def needed(self) -> tuple[int, int]:
        """Samples wanted before a block and after it."""
        return self._search, self._search + self._fade

    def reset(self) -> None:
        """Forget the block before."""
        self._tail = None

    def push(self, sound: F32) -> F32:
        """Take (before + block + after,) samples, return (block,)."""
        at = self._search + (0 if self._tail is None else self._offset(sound))
        joined = sound[at : at + self._block].copy()
        if self._tail is not None:
            joined[: self._fade] = joined[: self._fade] * self._rise + self._tail * (1 - self._rise)
        self._tail = sound[at + self._block : at + self._block + self._fade].copy()
        return joined

    def _offset(self, sound: F32) -> int:
        """By how much to move the block, -search..search."""
        assert self._tail is not None
        if float(np.abs(self._tail).max()) < LOUD_ENOUGH:
            return 0
        part = sound[: 2 * self._search + self._fade].astype(np.float64)
        match = np.correlate(part, self._tail.astype(np.float64), "valid")
        square = np.concatenate([[0.0], np.cumsum(part**2)])
        energy = square[self._fade :] - square[: -self._fade]
        score = match / np.sqrt(energy + 1e-8)
        # Of places that fit equally well, the nearest.
        score -= 1e-6 * np.abs(score).max() * np.abs(np.arange(len(score)) - self._search)
        return int(np.argmax(score)) - self._search

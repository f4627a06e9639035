"""Running statistics of a voice: what is learnt of the actor while they speak, and measured of the target once."""

from __future__ import annotations

import numpy as np

from obs_twin.voice.model import F64


class RunningMoments:
    """Mean and deviation of vectors, started from a prior and slowly forgetting.

    ``prior_count`` frames' worth of belief in the prior; ``memory`` frames are remembered at most.
    """

    def __init__(self, mean: F64, deviation: F64, prior_count: float, memory: float) -> None:
        self._count = prior_count
        self._memory = memory
        self._mean = np.array(mean, float)
        self._square = np.array(deviation, float) ** 2 + self._mean**2
        self.seen = 0

    @property
    def mean(self) -> F64:
        return self._mean

    @property
    def deviation(self) -> F64:
        return np.asarray(np.sqrt(np.maximum(self._square - self._mean**2, 1e-8)))

    def add(self, rows: F64) -> None:
        """Take (n, ...) further vectors."""
        if len(rows) == 0:
            return
        share = len(rows) / (self._count + len(rows))
        self._mean = self._mean + share * (rows.mean(axis=0) - self._mean)
        self._square = self._square + share * ((rows**2).mean(axis=0) - self._square)
        self._count = min(self._count + len(rows), self._memory)
        self.seen += len(rows)

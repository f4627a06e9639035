"""Times and counts that the panel, the command line and the demo's report read."""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

KEPT = 900
"""Half a minute at 30 frames a second."""


def percentile(values: list[float], fraction: float) -> float:
    """Nearest-rank percentile of `values`; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


class Metrics:
    """Stage times in ms, and counters, of one stream. Threads may write at the same time."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._stages: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._ticks: deque[int] = deque(maxlen=90)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block, in wall time: it contains the waiting for a free core."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self._stages[name].append((time.perf_counter_ns() - start) / 1e6)

    def finished(self) -> None:
        """One more frame is done: for the rate."""
        self._ticks.append(time.monotonic_ns())

    def fps(self) -> float:
        """Finished frames a second over the last three seconds or so; 0 when nothing came for two."""
        ticks = list(self._ticks)
        if len(ticks) < 2 or time.monotonic_ns() - ticks[-1] > 2_000_000_000:
            return 0.0
        return (len(ticks) - 1) * 1e9 / max(1, ticks[-1] - ticks[0])

    def stage_ms(self) -> dict[str, dict[str, float]]:
        """{stage: {"p50", "p95", "n"}} over the last `KEPT` frames."""
        result = {}
        for name, values in list(self._stages.items()):
            kept = list(values)
            result[name] = {
                "p50": round(percentile(kept, 0.50), 3),
                "p95": round(percentile(kept, 0.95), 3),
                "n": len(kept),
            }
        return result

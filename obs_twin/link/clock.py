"""The content clocks: turning what OBS says of time into a line that only goes forward.

OBS's timestamps belong to the source: a camera may restart at zero, a looping clip jumps, a pause leaves a hole. The
delay is taken on these lines instead, where one second of capture is one second long.
"""

from __future__ import annotations

MAX_STEP_NS = 1_000_000_000
MIN_STEP_NS = 1_000


class FrameClock:
    """Capture times of one video source, in ns, strictly increasing.

    Within a second, the source's own timestamps are followed exactly. A jump back, a stand-still or a leap beyond
    a second is bridged with the time that really passed between the two calls.
    """

    def __init__(self) -> None:
        self._last_stamp_ns: int | None = None
        self._last_wall_ns = 0
        self.time_ns = 0

    def advance(self, stamp_ns: int, wall_ns: int) -> int:
        """The content time of a frame with OBS's timestamp `stamp_ns`, seen at `wall_ns` on a monotonic clock."""
        if self._last_stamp_ns is None:
            self.time_ns = wall_ns
        else:
            step = stamp_ns - self._last_stamp_ns
            if not MIN_STEP_NS <= step <= MAX_STEP_NS:
                step = max(wall_ns - self._last_wall_ns, MIN_STEP_NS)
            self.time_ns += step
        self._last_stamp_ns = stamp_ns
        self._last_wall_ns = wall_ns
        return self.time_ns


class SampleClock:
    """Positions of one audio source's packets, in samples.

    Packets are taken as continuous while their timestamps agree within `tolerance_s` (OBS itself smooths up to
    70 ms); beyond that the hole is as long as the timestamps say, up to `max_hole_s`. A jump back is continuous.
    """

    def __init__(self, rate_hz: int, tolerance_s: float = 0.070, max_hole_s: float = 2.0) -> None:
        self._rate_hz = rate_hz
        self._tolerance = round(tolerance_s * rate_hz)
        self._max_hole = round(max_hole_s * rate_hz)
        self._anchor_ns: int | None = None
        self._anchor_position = 0
        self.position = 0

    def advance(self, stamp_ns: int, count: int) -> tuple[int, int]:
        """Take a packet of `count` samples. Returns (its first position, samples missing before it)."""
        hole = 0
        if self._anchor_ns is None:
            self._anchor(stamp_ns)
        else:
            expected = self._anchor_position + (stamp_ns - self._anchor_ns) * self._rate_hz // 1_000_000_000
            off = expected - self.position
            if off > self._tolerance:
                hole = min(off, self._max_hole)
                self.position += hole
                self._anchor(stamp_ns)
            elif off < -self._tolerance:
                self._anchor(stamp_ns)
        start = self.position
        self.position += count
        return start, hole

    def _anchor(self, stamp_ns: int) -> None:
        self._anchor_ns = stamp_ns
        self._anchor_position = self.position


class Slew:
    """A value that moves towards its target at a limited speed, so that no viewer sees a jump."""

    def __init__(self, value: float, per_second: float) -> None:
        self.value = value
        self.target = value
        self._per_second = per_second
        self._last_ns: int | None = None

    def at(self, now_ns: int) -> float:
        """The value now."""
        if self._last_ns is not None and self.value != self.target:
            room = self._per_second * (now_ns - self._last_ns) / 1e9
            gap = self.target - self.value
            self.value += max(-room, min(room, gap))
        self._last_ns = now_ns
        return self.value

    def jump(self, value: float) -> None:
        """Set value and target at once (before anybody watches)."""
        self.value = self.target = value

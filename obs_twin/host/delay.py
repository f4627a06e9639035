"""The one delay of this OBS, and the difference m between its two ways out.

`delay_ns` (D) is how much older everything is that leaves. `shift_ns` (m) is how much later the meeting hears the
voice than it sees the picture, when neither is delayed (negative: the voice is early). The picture is delayed by
D + m; OBS's sync offset, which recordings and streams obey and monitoring does not, is set to m on the voice's source.
"""

from __future__ import annotations

from obs_twin.link.clock import Slew

DEFAULT_DELAY_MS, MIN_DELAY_MS, MAX_DELAY_MS = 1500, 300, 5000
SHIFT_SLEW_NS_PER_S = 10e6
"""A change of m is spread out: 10 ms in a second is a frame in three, which nobody sees."""
MAX_SHIFT_NS = 250_000_000


class Delay:
    """Read by the audio and graphics threads as plain integers; written by the housekeeping thread alone."""

    def __init__(self) -> None:
        self.delay_ns = DEFAULT_DELAY_MS * 1_000_000
        self.video_delay_ns = self.delay_ns
        self._shift = Slew(0.0, SHIFT_SLEW_NS_PER_S)
        self._watched = False

    @property
    def shift_ns(self) -> int:
        """m as applied now."""
        return round(self._shift.value)

    @property
    def delay_ms(self) -> int:
        """D in the unit that people set."""
        return self.delay_ns // 1_000_000

    def set_delay_ms(self, delay_ms: int) -> bool:
        """Choose D, limited to what the design allows. Returns whether it changed."""
        limited = max(MIN_DELAY_MS, min(MAX_DELAY_MS, delay_ms)) * 1_000_000
        changed = limited != self.delay_ns
        self.delay_ns = limited
        self.video_delay_ns = limited + self.shift_ns
        return changed

    def set_shift_ns(self, shift_ns: int) -> None:
        """Choose m. Before the first frame it applies at once, later it is approached slowly."""
        limited = max(-MAX_SHIFT_NS, min(MAX_SHIFT_NS, shift_ns))
        if self._watched:
            self._shift.target = float(limited)
        else:
            self._shift.jump(float(limited))

    def tick(self, now_ns: int, watched: bool) -> None:
        """Housekeeping: move m one step. `watched` is whether frames are flowing."""
        self._watched = watched
        self.video_delay_ns = self.delay_ns + round(self._shift.at(now_ns))

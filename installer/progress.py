"""Says what is happening: one line that moves on a terminal, plain lines anywhere else."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["Progress", "Step"]

REDRAW_S = 0.1
PLAIN_LINE_EVERY_S = 10.0
BAR_CELLS = 20


class Step:
    """One step of the set-up while it runs; made by `Progress.step`."""

    def __init__(self, heading: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self.heading = heading
        self.outcome = "done"
        """What is said at the end; set it to "already there" when nothing had to be done."""
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._started_s = clock()
        self._drawn_s = self._started_s
        self._detail = ""
        self._fraction: float | None = None

    def show(self, detail: str | None = None, fraction: float | None = None) -> None:
        """Report where the step is. Call it as often as you like; it draws only when that is worth it.

        Args:
            detail: what is being worked on; None keeps the last one.
            fraction: how much is done, 0 to 1; None if that cannot be known.
        """
        if detail is not None:
            self._detail, self._fraction = detail, fraction
        now_s = self._clock()
        if now_s - self._drawn_s < (REDRAW_S if self._live else PLAIN_LINE_EVERY_S):
            return
        self._drawn_s = now_s
        elapsed = f"{now_s - self._started_s:.0f} s"
        if self._live:
            bar = ""
            if self._fraction is not None:
                filled = round(BAR_CELLS * min(max(self._fraction, 0.0), 1.0))
                bar = "[" + "#" * filled + "." * (BAR_CELLS - filled) + "] "
            self._write_over(f"{self.heading} {bar}{elapsed}  {self._detail}")
        else:
            percent = "" if self._fraction is None else f"{100 * self._fraction:.0f} %, "
            print(f"{self.heading} {percent}{elapsed}: {self._detail}", file=self._stream, flush=True)

    def close(self) -> None:
        """Write the line that stays."""
        elapsed_s = self._clock() - self._started_s
        line = f"{self.heading} {self.outcome}"
        if elapsed_s >= 1.0:
            line += f" ({elapsed_s:.0f} s)"
        self._clear()
        print(line, file=self._stream, flush=True)

    def abandon(self) -> None:
        """Leave the terminal clean for the error message that follows."""
        self._clear()
        print(f"{self.heading} not finished", file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._live:
            self._write_over("")

    def _write_over(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns
        self._stream.write("\r" + line[: columns - 1].ljust(columns - 1) + "\r")
        self._stream.flush()


class Progress:
    """Numbers the steps and shows each.

    Args:
        steps: how many there will be.
        stream: where to write; the standard output if None.
        clock: seconds, monotonic.
    """

    def __init__(self, steps: int, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._stream = sys.stdout if stream is None else stream
        self._clock = clock
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run one step: `with progress.step("Models") as step: ...`."""
        self._number += 1
        step = Step(f"[{self._number}/{self._steps}] {title}:", self._stream, self._clock)
        try:
            yield step
        except BaseException:
            step.abandon()
            raise
        step.close()

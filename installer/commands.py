"""Runs other programs while the progress display stays alive, and keeps what they said."""

from __future__ import annotations

import queue
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from installer.errors import SetupError
from installer.platforms import Account
from installer.progress import Step

__all__ = ["Output", "run_shown"]

TICK_S = 0.25


@dataclass(frozen=True)
class Output:
    """How a program ended and everything it printed."""

    status: int
    text: str

    def says(self, *phrases: str) -> bool:
        """Whether any of the phrases was printed."""
        return any(phrase in self.text for phrase in phrases)

    def tail(self, lines: int = 12) -> str:
        """The last lines, indented, for an error message."""
        kept = [line for line in self.text.splitlines() if line.strip()][-lines:]
        return "\n".join("    " + line for line in kept)

    def complaints(self, lines: int = 12) -> str:
        """The first lines that speak of an error, or else the last lines."""
        found = [line for line in self.text.splitlines() if re.search(r"(?i)\berror\b|^E: |\bfailed\b", line)]
        return "\n".join("    " + line for line in found[:lines]) or self.tail(lines)


def run_shown(
    command: Sequence[str],
    step: Step,
    show_line: Callable[[str, Step], None],
    account: Account,
    cwd: Path | None = None,
) -> Output:
    """Run a program to its end, handing each line that it prints to `show_line`.

    Args:
        command: the program and its arguments.
        step: the step that is being shown; it is redrawn while the program is silent.
        show_line: turns a line into `step.show(...)`, or drops it.
        account: for whom, and with which environment.
        cwd: where it runs; here if None.

    Raises:
        SetupError: the program could not be started.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=dict(account.env),
            cwd=cwd,
            **account.popen,
        )
    except OSError as error:
        raise SetupError(f"{command[0]} could not be started: {error}.") from error
    assert process.stdout is not None
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_hand_over, args=(process.stdout, lines), daemon=True).start()
    said: list[str] = []
    try:
        while True:
            try:
                line = lines.get(timeout=TICK_S)
            except queue.Empty:
                step.show()
                continue
            if line is None:
                break
            said.append(line)
            show_line(line.rstrip(), step)
        return Output(process.wait(), "".join(said))
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _hand_over(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)

"""Child processes that never outlive the rig."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
# A machine that runs tests has other things to do. The meeting must not stutter for that, nor the clocks of the taps.
OBS_NICE = -5
TAP_NICE = -10
_libc = ctypes.CDLL(None)


class RigError(RuntimeError):
    """The rig could not do what it was asked; the message says why and what to do."""


def need_program(name: str, package: str) -> None:
    """Raises `RigError` with the package to install when a program is missing."""
    if not shutil.which(name):
        raise RigError(f"the program {name} is missing: install the package {package}")


def raise_priority(nice: int) -> None:
    """Gives the calling thread that niceness where the system lets us (root may, users may not go below 0)."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)


def raise_session(nice: int) -> None:
    """The same for the calling process's session: where Linux groups processes by session (autogroup), niceness counts
    only inside of a group, and each group gets as much of the processor as any other."""
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


class Child:
    """A process in a process group of its own, with its output in a file; killed when the rig is."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        pass_fds: Sequence[int] = (),
        nice: int | None = None,
    ) -> None:
        def before_exec() -> None:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if nice is not None:
                raise_priority(nice)
                raise_session(nice)

        self.log_path = log_path
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                preexec_fn=before_exec,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, patience_s: float = 5.0) -> int:
        """Asks with SIGTERM, then kills the whole process group; returns the exit status."""
        if self.running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience_s)
        return self.kill()

    def kill(self) -> int:
        """Kills what is left of the process group; returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

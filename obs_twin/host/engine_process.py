"""The engine from OBS's side: found, started, listened to, restarted when it dies.

A dead engine is started again at once; one that keeps dying young is started ever more slowly (up to 5 s), and the
panel says so. An engine that says nothing for `SILENT_S` is taken for hung and killed; before its first word it has
`BEGINS_WITHIN_S`, since opening its libraries takes long on a busy computer, and the longest after an update.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from obs_twin.link import messages
from obs_twin.link.paths import ensure, user_dirs

ROOT = Path(__file__).resolve().parents[2]
SILENT_S = 15.0
BEGINS_WITHIN_S = 180.0
YOUNG_S = 1.5
MAX_BACKOFF_S = 5.0


class NotSetUpError(RuntimeError):
    """No private Python environment was found; the text says how to make one."""


def engine_python(root: Path = ROOT) -> Path:
    """The Python of the engine's own virtual environment.

    Raises:
        NotSetUpError: there is none.
    """
    override = os.environ.get("OBS_TWIN_PYTHON")
    relative = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
    candidates = [Path(override)] if override else []
    candidates += [root / ".venv" / relative, user_dirs().data / "venv" / relative]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise NotSetUpError(
        "OBS Twin is not set up yet: expected its Python at "
        + " or ".join(str(c) for c in candidates)
        + f". Open a terminal in {root} and run: python3 installer/bootstrap.py setup"
    )


def _environment(root: Path) -> dict[str, str]:
    env = dict(os.environ)
    # What OBS was started with must not reach the engine's own Python.
    for name in ("PYTHONHOME", "PYTHONSTARTUP", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "QT_PLUGIN_PATH"):
        env.pop(name, None)
    env["PYTHONPATH"] = str(root)
    env["PYTHONUNBUFFERED"] = "1"
    # Our workers are the threads; the libraries' own pools only fight them for the cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = "1"
    return env


class EngineProcess:
    """Starts the engine and keeps it running until `stop`.

    Args:
        on_start: called with a `send` function each time a new engine has said `ready`: tell it everything.
        on_message: called for each message from the engine.
        log: one line for OBS's log.
    """

    def __init__(
        self,
        on_start: Callable[[], None],
        on_message: Callable[[messages.Message], None],
        log: Callable[[str], None],
    ) -> None:
        self._on_start = on_start
        self._on_message = on_message
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: messages.Writer | None = None
        self._last_heard_s = 0.0
        self._started_s = 0.0
        self._not_before_s = 0.0
        self._backoff_s = 0.0
        self._wanted = False
        self._lock = threading.Lock()
        self.ready = False
        self.restarts = 0
        self.problem = ""

    @property
    def pid(self) -> int | None:
        """Process number of the running engine."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Want an engine; `tick` brings it up."""
        self._wanted = True

    def tick(self) -> None:
        """Housekeeping, twenty times a second: notice a dead or hung engine, start the next one."""
        now = time.monotonic()
        process = self._process
        if process is not None and process.poll() is not None:
            self.ready = False
            self._process = self._writer = None
            if self._wanted:
                self.restarts += 1
                lived = now - self._started_s
                self._backoff_s = min(MAX_BACKOFF_S, max(0.25, self._backoff_s * 2)) if lived < YOUNG_S else 0.0
                self._not_before_s = now + self._backoff_s
                self.problem = f"the engine stopped (status {process.returncode}) and is being restarted"
                self._log(f"{self.problem}; see {user_dirs().logs / 'engine.log'}")
        elif process is not None and now - self._last_heard_s > (SILENT_S if self.ready else BEGINS_WITHIN_S):
            self._log(f"the engine has been silent for {now - self._last_heard_s:.0f} s: killing it")
            self._last_heard_s = now
            process.kill()
        if self._wanted and self._process is None and now >= self._not_before_s:
            self._spawn(now)

    def send(self, message: messages.Message) -> bool:
        """Send a message if an engine is there."""
        writer = self._writer
        return writer.send(message) if writer is not None else False

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the engine and do not start another."""
        self._wanted = False
        process = self._process
        if process is None:
            return
        self.send({"type": "quit"})
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)
        self._process = self._writer = None
        self.ready = False

    def _spawn(self, now: float) -> None:
        try:
            python = engine_python()
        except NotSetUpError as error:
            if self.problem != str(error):
                self._log(str(error))
            self.problem = str(error)
            self._not_before_s = now + MAX_BACKOFF_S
            return
        log_path = ensure(user_dirs().logs) / "engine.log"
        try:
            with log_path.open("ab") as log_file:
                process = subprocess.Popen(
                    [str(python), "-m", "obs_twin.engine"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log_file,
                    cwd=str(ROOT),
                    env=_environment(ROOT),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
        except OSError as error:
            self.problem = f"the engine could not be started with {python}: {error}"
            self._log(self.problem)
            self._not_before_s = now + MAX_BACKOFF_S
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._started_s = self._last_heard_s = now
        self._writer = messages.Writer(process.stdin)
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True, name="obs-twin engine").start()

    def _listen(self, stream: IO[bytes]) -> None:
        for message in messages.read(stream):
            self._last_heard_s = time.monotonic()
            if message["type"] == "ready":
                self.ready = True
                self.problem = ""
                self._on_start()
            else:
                self._on_message(message)

"""A private folder for unpacked packs that vanishes with its process, also when that was killed.

Each folder holds a lock that lives as long as its process. Whoever makes a new folder first removes the ones
whose lock is free: the faces and voices of a crashed engine do not stay behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from obs_twin.link.paths import ensure

if sys.platform != "win32":
    import fcntl

_LOCK = ".lock"


class ScratchFolder:
    """A new folder below `parent`, readable by this user only; `close` removes it."""

    def __init__(self, parent: Path) -> None:
        ensure(parent)
        _sweep(parent)
        self._folder = Path(tempfile.mkdtemp(dir=parent))
        if sys.platform == "win32":
            self._lock = os.open(self._folder / _LOCK, os.O_CREAT | os.O_RDWR)
        else:
            # Locked before it has its name, so that no other process can find it free.
            young = self._folder / f"{_LOCK}.new"
            self._lock = os.open(young, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            young.rename(self._folder / _LOCK)
        self.path = self._folder / "pack"
        self.path.mkdir()

    def close(self) -> None:
        """Remove the folder and all in it."""
        os.close(self._lock)
        shutil.rmtree(self._folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.iterdir():
        if not _in_use(folder / _LOCK):
            shutil.rmtree(folder, ignore_errors=True)


def _in_use(lock: Path) -> bool:
    """Whether a living process holds `lock`. A folder without one is just being made or removed: leave it alone."""
    if sys.platform == "win32":
        try:
            os.unlink(lock)  # Windows refuses that while the file is open
        except OSError:
            return True
        return False
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return True
    with contextlib.closing(os.fdopen(handle, "rb+")):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

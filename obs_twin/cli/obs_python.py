"""Which Python OBS can load, and where one is. Windows and macOS only: on Linux OBS brings the system's along.

OBS looks in the folder of its setting for `python3X.dll` (Windows) or
`Python.framework/Versions/3.X/lib/libpython3.X.dylib` (macOS), from the newest X that it knows downwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["OLDEST_MINOR", "find_python", "loadable_minor", "newest_minor"]

OLDEST_MINOR = 10
"""The oldest Python 3.x that the OBS Twin script runs on."""
NEWEST_MINOR_SINCE = (((30, 1), 12), ((29, 1), 11), ((28, 0), 10))
"""(OBS version, newest Python 3.x that it loads), newest first."""
MACOS_FRAMEWORKS = (Path("/Library/Frameworks"), Path("/opt/homebrew/Frameworks"), Path("/usr/local/Frameworks"))


def newest_minor(obs_version: tuple[int, int] | None) -> int | None:
    """The newest Python 3.x that an OBS loads (x), or None if that OBS is too old for any that will do.

    Args:
        obs_version: (major, minor); None is taken for a recent one.
    """
    if obs_version is None:
        return NEWEST_MINOR_SINCE[0][1]
    for since, minor in NEWEST_MINOR_SINCE:
        if obs_version >= since:
            return minor
    return None


def _library(folder: Path, minor: int, system: str) -> Path:
    if system == "windows":
        return folder / f"python3{minor}.dll"
    return folder / f"Python.framework/Versions/3.{minor}/lib/libpython3.{minor}.dylib"


def loadable_minor(folder: Path, newest: int, system: str) -> int | None:
    """The Python 3.x that OBS would load from `folder`, or None if it finds none there."""
    for minor in range(newest, OLDEST_MINOR - 1, -1):
        if _library(folder, minor, system).exists():
            return minor
    return None


def find_python(newest: int, system: str, folders: Iterable[Path] | None = None) -> tuple[Path, int] | None:
    """A folder to give to OBS, and the Python 3.x in it; the newest that OBS loads, or None.

    Args:
        newest: what `newest_minor` says.
        system: `windows` or `macos`.
        folders: where to look; where Python is usually installed if None.
    """
    places = list(_usual_folders(system) if folders is None else folders)
    for minor in range(newest, OLDEST_MINOR - 1, -1):
        for folder in places:
            if loadable_minor(folder, newest, system) == minor:
                return folder, minor
    return None


def _usual_folders(system: str) -> Iterable[Path]:
    if system == "macos":
        return MACOS_FRAMEWORKS
    return _registered_folders()


def _registered_folders() -> list[Path]:
    """Where Windows' registry says that Python is installed; the Microsoft Store's cannot be loaded by OBS."""
    folders: list[Path] = []
    if sys.platform == "win32":
        import winreg

        for hive in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            for minor in range(NEWEST_MINOR_SINCE[0][1], OLDEST_MINOR - 1, -1):
                try:
                    where = winreg.QueryValue(hive, rf"SOFTWARE\Python\PythonCore\3.{minor}\InstallPath")
                except OSError:
                    continue
                if "WindowsApps" not in where:
                    folders.append(Path(where))
    return folders

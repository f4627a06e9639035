"""Where OBS Twin keeps its files for one user, on Windows, macOS and Linux.

Both processes need the same answer (the host inside OBS and the engine outside it), so this is standard
library only. Two environment variables override it:

- `OBS_TWIN_HOME`: everything below one folder. The throw-away demo and the tests use it.
- `OBS_TWIN_CACHE`: the cache alone, so that a throw-away home can still share the fetched models.

Inside a Flatpak the XDG variables point into the sandbox of the host program. OBS's Flatpak may read the home
folder, so there the variables of the session outside (`HOST_XDG_*`), or their defaults, are used: the command
line outside and the script inside then agree.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

APP = "obs-twin"


@dataclass(frozen=True)
class UserDirs:
    """The folders of one user. They need not exist yet; whoever writes makes them (`ensure`)."""

    config: Path
    """Settings and trusted keys: small, worth a backup."""
    data: Path
    """Twin packs and the subject's signing keys: the user's own work."""
    cache: Path
    """Fetched models and unpacked packs: may be deleted at any time."""
    state: Path
    """What lets the processes find each other, and the session log."""
    logs: Path
    """Text logs for a person who looks for a fault."""

    @property
    def packs(self) -> Path:
        """The user's twin packs, one folder or .zip each."""
        return self.data / "twins"

    @property
    def models(self) -> Path:
        """Fetched model files."""
        return self.cache / "models"


def ensure(folder: Path) -> Path:
    """Make `folder` (readable by this user only, where the system can do that) and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def user_dirs(environ: Mapping[str, str] | None = None, platform: str | None = None) -> UserDirs:
    """The folders for this user.

    Args:
        environ: the environment to look at; `os.environ` if None.
        platform: as `sys.platform`; the running system if None.
    """
    env = os.environ if environ is None else environ
    system = sys.platform if platform is None else platform
    home_override = env.get("OBS_TWIN_HOME")
    if home_override:
        root = Path(home_override).expanduser().absolute()
        dirs = UserDirs(root / "config", root / "data", root / "cache", root / "state", root / "logs")
    elif system == "win32":
        dirs = _windows(env)
    elif system == "darwin":
        dirs = _macos(env)
    else:
        dirs = _xdg(env)
    cache_override = env.get("OBS_TWIN_CACHE")
    if cache_override:
        cache = Path(cache_override).expanduser().absolute()
        dirs = UserDirs(dirs.config, dirs.data, cache, dirs.state, dirs.logs)
    return dirs


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or env.get("USERPROFILE") or os.path.expanduser("~"))


def _windows(env: Mapping[str, str]) -> UserDirs:
    roaming = Path(env.get("APPDATA") or _home(env) / "AppData" / "Roaming") / APP
    local = Path(env.get("LOCALAPPDATA") or _home(env) / "AppData" / "Local") / APP
    return UserDirs(roaming / "config", local / "data", local / "cache", local / "state", local / "logs")


def _macos(env: Mapping[str, str]) -> UserDirs:
    library = _home(env) / "Library"
    support = library / "Application Support" / APP
    return UserDirs(
        support / "config",
        support / "data",
        library / "Caches" / APP,
        support / "state",
        library / "Logs" / APP,
    )


def _xdg(env: Mapping[str, str]) -> UserDirs:
    prefix = "HOST_" if env.get("FLATPAK_ID") else ""

    def base(variable: str, *default: str) -> Path:
        value = env.get(prefix + variable, "")
        # The XDG specification: a relative path is to be ignored.
        found = Path(value) if value and Path(value).is_absolute() else _home(env).joinpath(*default)
        return found / APP

    state = base("XDG_STATE_HOME", ".local", "state")
    return UserDirs(
        base("XDG_CONFIG_HOME", ".config"),
        base("XDG_DATA_HOME", ".local", "share"),
        base("XDG_CACHE_HOME", ".cache"),
        state,
        state / "logs",
    )

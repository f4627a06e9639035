"""Whether OBS is running with a given configuration: it writes its files when it closes, over any edit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["obs_is_running"]

PROC = Path("/proc")


def obs_is_running(config_folder: Path) -> bool:
    """Whether an OBS runs that uses, or may use, the configuration in `config_folder`.

    On Linux an OBS with another configuration does not count; elsewhere any OBS does.
    """
    if sys.platform == "win32":
        return any(f'"{name}"' in _output("tasklist", "/NH", "/FO", "CSV") for name in ("obs64.exe", "obs32.exe"))
    if sys.platform == "darwin":
        return any(line.rstrip().endswith("/OBS") for line in _output("ps", "-Axo", "comm=").splitlines())
    return any(_uses(process, config_folder) for process in PROC.glob("[0-9]*"))


def _uses(process: Path, config_folder: Path) -> bool:
    try:
        if (process / "comm").read_text().strip() != "obs" or not (process / "cmdline").read_bytes():
            return False
        if process.stat().st_uid != config_folder.stat().st_uid:
            return False
    except OSError:
        return False
    try:
        pairs = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return True
    env = dict(pair.decode(errors="surrogateescape").split("=", 1) for pair in pairs if b"=" in pair)
    base = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else Path(env.get("HOME", "/")) / ".config"
    if not base.is_absolute():
        try:
            base = (process / "cwd").readlink() / base
        except OSError:
            return True
    return (base / "obs-studio").resolve() == config_folder.resolve()


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, errors="replace").stdout
    except OSError:
        return ""

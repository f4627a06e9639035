"""Everything that differs between operating systems: paths, what must be installed, what we cannot install."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "Account",
    "Need",
    "can_run_rig",
    "manual_steps",
    "missing_needs",
    "owner_account",
    "python_advice",
    "system_name",
    "unpacked_folder",
    "venv_package",
    "venv_python",
]


def system_name() -> str:
    """`linux`, `windows` or `macos`; anything else counts as linux."""
    return {"win32": "windows", "cygwin": "windows", "darwin": "macos"}.get(sys.platform, "linux")


def can_run_rig() -> bool:
    """Whether the demo and the tests with a real OBS can run: they tap Linux's own video and sound devices."""
    return system_name() == "linux"


def venv_python(venv: Path) -> Path:
    """The interpreter inside a virtual environment."""
    return venv / "Scripts" / "python.exe" if system_name() == "windows" else venv / "bin" / "python"


# --------------------------------------------------------------------------------------------------------------
# Whose files these are


@dataclass(frozen=True)
class Account:
    """The person for whom programs are started.

    With `sudo python3 installer/bootstrap.py` only apt-get should act as root: an environment or a model that
    belongs to root could not be used or renewed by its owner afterwards.
    """

    env: Mapping[str, str]
    """The whole environment of programs started for this person."""
    popen: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments for `subprocess`."""


def owner_account(root: Path, env: Mapping[str, str] | None = None) -> Account:
    """Whoever called sudo, if the checkout is theirs; else whoever runs this.

    Args:
        root: the checkout.
        env: the environment; the process's own if None.
    """
    env = dict(os.environ if env is None else env)
    caller = env.get("SUDO_UID", "")
    if system_name() == "windows" or os.geteuid() != 0 or not caller.isdigit() or root.stat().st_uid != int(caller):
        return Account(env)
    import pwd

    person = pwd.getpwuid(int(caller))
    env.update(HOME=person.pw_dir, USER=person.pw_name, LOGNAME=person.pw_name)
    runtime = Path("/run/user") / caller
    if runtime.is_dir():
        env["XDG_RUNTIME_DIR"] = str(runtime)
    groups = os.getgrouplist(person.pw_name, person.pw_gid)
    return Account(env, {"user": person.pw_uid, "group": person.pw_gid, "extra_groups": groups})


# --------------------------------------------------------------------------------------------------------------
# What a Debian or Ubuntu machine needs


@dataclass(frozen=True)
class Need:
    """Something the machine must have, however it got there, and the Debian packages that bring it."""

    what: str
    packages: tuple[str, ...]
    present: Callable[[], bool]
    beside: bool = False
    """Not to be installed, because it would displace what is there, but to be unpacked beside the checkout."""


def unpacked_folder(root: Path) -> Path:
    """Where PulseAudio is unpacked on a machine whose sound is PipeWire's."""
    return root / "build" / "pulseaudio"


def _commands(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) for name in names)


def _files(*patterns: str) -> Callable[[], bool]:
    return lambda: all(any(Path("/").glob(pattern)) for pattern in patterns)


def _c_compiler() -> bool:
    return bool(shutil.which("gcc") or shutil.which("cc")) and Path("/usr/include/stdio.h").exists()


def venv_package() -> str:
    """The Debian package with this Python's `venv`."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"


def _can_make_venv() -> bool:
    from importlib.util import find_spec

    return find_spec("ensurepip") is not None and find_spec("venv") is not None


def _pulseaudio(root: Path) -> Need:
    launcher = unpacked_folder(root) / "bin" / "pulseaudio"
    return Need(
        "PulseAudio",
        ("pulseaudio",),
        lambda: bool(shutil.which("pulseaudio")) or launcher.exists(),
        beside=bool(shutil.which("pipewire")),
    )


def _needs(root: Path) -> list[Need]:
    return [
        Need("Python's venv", (venv_package(),), _can_make_venv),
        Need("OBS Studio", ("obs-studio",), _commands("obs")),
        Need("OBS plugins", ("obs-plugins",), _files("usr/lib*/**/obs-plugins/obs-ffmpeg.so")),
        _pulseaudio(root),
        Need("PulseAudio tools", ("pulseaudio-utils",), _commands("pactl", "parec")),
        Need("FFmpeg", ("ffmpeg",), _commands("ffmpeg", "ffprobe")),
        Need("PortAudio", ("libportaudio2",), _files("usr/lib*/**/libportaudio.so.2")),
        Need("a C compiler", ("gcc", "libc6-dev"), _c_compiler),
        Need("fonts", ("fonts-dejavu-core",), _files("usr/share/fonts/**/DejaVuSans.ttf")),
        Need("a display without a screen (Xvfb)", ("xvfb",), _commands("Xvfb")),
        Need("window tools", ("xdotool",), _commands("xdotool")),
    ]


def missing_needs(root: Path) -> list[Need]:
    """What this machine lacks.

    Args:
        root: the checkout.

    Returns:
        Nothing on Windows and macOS, where we install no software (see `manual_steps`).
    """
    return [need for need in _needs(root) if not need.present()] if system_name() == "linux" else []


# --------------------------------------------------------------------------------------------------------------
# What only the user can do


def python_advice() -> str:
    """Where to get a Python that fits this system."""
    if system_name() == "windows":
        return (
            "Get Python 3.12 from https://www.python.org/downloads/windows/ ('Windows installer (64-bit)'), tick "
            "'Add python.exe to PATH', then run:  py -3.12 installer\\bootstrap.py setup"
        )
    if system_name() == "macos":
        return (
            "Get Python 3.12 from https://www.python.org/downloads/macos/ ('macOS 64-bit universal2 installer'), "
            "then run:  python3.12 installer/bootstrap.py setup"
        )
    return "Install Python 3.10 to 3.14 with your distribution's package tool, and run this with it."


@dataclass(frozen=True)
class _Manual:
    what: str
    found: Callable[[], bool]
    steps: tuple[str, ...]


def _windows_steps() -> list[_Manual]:
    folders = [Path(os.environ.get(name, r"C:\Program Files")) for name in ("ProgramFiles", "ProgramFiles(x86)")]
    return [
        _Manual(
            "OBS Studio",
            lambda: any((folder / "obs-studio/bin/64bit/obs64.exe").exists() for folder in folders),
            (
                "Open https://obsproject.com/download and click 'Windows', then 'Download Installer'.",
                "Run the installer, start OBS once, close the wizard, and close OBS.",
                "Run this set-up again: it adds OBS Twin to OBS.",
            ),
        ),
        _Manual(
            "a virtual cable, which takes the twin's voice into Teams, Zoom or Meet (VB-CABLE)",
            lambda: any((folder / "VB/CABLE").exists() for folder in folders),
            (
                "Open https://vb-audio.com/Cable/ and click 'Download' under 'VB-CABLE Driver' for Windows.",
                "Unpack the zip, right-click 'VBCABLE_Setup_x64.exe', choose 'Run as administrator', then "
                "'Install Driver'; restart the computer.",
                "In OBS: Settings > Audio > Advanced > Monitoring Device: 'CABLE Input (VB-Audio Virtual Cable)'.",
                "In the meeting: microphone 'CABLE Output (VB-Audio Virtual Cable)', camera 'OBS Virtual Camera'.",
            ),
        ),
    ]


def _macos_steps() -> list[_Manual]:
    return [
        _Manual(
            "OBS Studio",
            lambda: any((base / "OBS.app").exists() for base in (Path("/Applications"), Path.home() / "Applications")),
            (
                "Open https://obsproject.com/download, click 'macOS', then 'Download Apple Silicon'.",
                "Drag OBS to Applications, start it once, allow what it asks for, and close it.",
                "Run this set-up again: it adds OBS Twin to OBS.",
            ),
        ),
        _Manual(
            "a virtual cable, which takes the twin's voice into Teams, Zoom or Meet (BlackHole 2ch)",
            lambda: any(Path("/Library/Audio/Plug-Ins/HAL").glob("BlackHole*.driver")),
            (
                "Open https://existential.audio/blackhole/ and ask for the installer of 'BlackHole 2ch' "
                "(or, with Homebrew: brew install blackhole-2ch); restart the computer.",
                "In OBS: Settings > Audio > Advanced > Monitoring Device: 'BlackHole 2ch'.",
                "In the meeting: microphone 'BlackHole 2ch', camera 'OBS Virtual Camera'.",
            ),
        ),
    ]


def manual_steps() -> list[str]:
    """What this script cannot install itself and has not found, as lines for the terminal; empty on Linux."""
    items = {"windows": _windows_steps, "macos": _macos_steps}.get(system_name(), list)()
    lines: list[str] = []
    for item in items:
        if item.found():
            continue
        lines.append(f"Still to install by you: {item.what}")
        lines += [f"  {number}. {step}" for number, step in enumerate(item.steps, 1)]
    return lines

"""A sound server for the demo on a desktop that runs PipeWire: unpacked beside the checkout, never installed.

Installing PulseAudio there would remove PipeWire's packages, and with them the desktop's sound. The demo and the
tests only need the program, which they start for themselves with a socket of their own.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from installer.commands import run_shown
from installer.errors import SetupError
from installer.platforms import Account, unpacked_folder
from installer.progress import Step

__all__ = ["libraries", "unpack_pulseaudio"]

PACKAGE = "pulseaudio"


def libraries() -> list[str]:
    """The libraries that the package needs, which may be installed as they displace nothing."""
    listed = subprocess.run(["apt-cache", "show", "--no-all-versions", PACKAGE], capture_output=True, text=True).stdout
    depends = re.search(r"^Depends: (.*)$", listed, re.MULTILINE)
    first_choices = [part.split("|")[0] for part in depends[1].split(",")] if depends else []
    names = [choice.split()[0].split(":")[0] for choice in first_choices if choice.split()]
    return [name for name in names if name.startswith("lib") and name != "libasound2-plugins"]


def unpack_pulseaudio(root: Path, step: Step, account: Account) -> None:
    """Fetch Debian's package with apt-get, which checks its signature, and unpack it under the checkout.

    Raises:
        SetupError: it could not be fetched or unpacked.
    """
    folder = unpacked_folder(root)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        got = run_shown(["apt-get", "-q", "download", PACKAGE], step, _show, account, cwd=Path(scratch))
        archive = next(Path(scratch).glob("*.deb"), None)
        if got.status != 0 or archive is None:
            raise SetupError(f"PulseAudio could not be fetched. Check the network, run this again.\n{got.complaints()}")
        tree = Path(scratch) / "tree"
        unpacked = run_shown(["dpkg-deb", "-x", str(archive), str(tree)], step, _show, account)
        if unpacked.status != 0:
            raise SetupError(f"PulseAudio could not be unpacked under {folder}.\n{unpacked.complaints()}")
        shutil.rmtree(folder, ignore_errors=True)
        tree.rename(folder)
    _write_launcher(folder)


def _write_launcher(folder: Path) -> None:
    """Put a `pulseaudio` into `<folder>/bin` that finds its own modules."""
    core = next(folder.glob("usr/lib/*/pulseaudio"))
    modules = next(folder.glob("usr/lib/**/pulse-*/modules"))
    launcher = folder / "bin" / PACKAGE
    launcher.parent.mkdir()
    launcher.write_text(
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={shlex.quote(f'{core}:{modules}')}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n"
        f'exec {shlex.quote(str(folder / "usr/bin" / PACKAGE))} --dl-search-path={shlex.quote(str(modules))} "$@"\n',
        encoding="utf-8",
    )
    launcher.chmod(0o755)


def _show(line: str, step: Step) -> None:
    step.show("PulseAudio, for the demo alone")

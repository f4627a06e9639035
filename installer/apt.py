"""Installs missing software with apt-get: adds only, never upgrades or removes what the user has chosen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from installer import unpacked
from installer.commands import Output, run_shown
from installer.errors import SetupError
from installer.platforms import Account, Need
from installer.progress import Step

__all__ = ["OLDEST_OBS", "install", "require_recent_obs"]

OLDEST_OBS = 28
"""The first OBS that brings obs-websocket along; the demo and the tests steer OBS through it."""
LOCK_WAIT_S = 180
APT = ("apt-get", "-y", "-q", "-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}", "-o", "Dpkg::Use-Pty=0")
INSTALL = (*APT, "install", "--no-install-recommends", "--no-upgrade", "--no-remove")
TOTAL_LINE = re.compile(r"^\d+ upgraded, (\d+) newly installed")
STAGE_LINE = re.compile(r"^(?:(Get):\d+ \S+ \S+ \S+ (\S+)|(Unpacking|Setting up) ([^ :]+))")
STAGES = 3
"""What apt-get does to each package: get, unpack, set up."""


def install(needs: Sequence[Need], root: Path, step: Step, account: Account) -> None:
    """Install the packages of `needs`.

    Args:
        needs: what is missing.
        root: the checkout, beside which goes what must not be installed.
        step: the step being shown.
        account: whose checkout it is.

    Raises:
        SetupError: no apt-get, no rights, or apt-get failed; with what to do.
    """
    packages = [package for need in needs if not need.beside for package in need.packages]
    beside = any(need.beside for need in needs)
    by_hand = f"sudo apt-get install --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        raise SetupError(
            "This machine lacks " + ", ".join(need.what for need in needs) + ", and it has no apt-get, so this "
            "script cannot install them. Install them with your distribution's package tool (Debian calls them "
            + ", ".join(package for need in needs for package in need.packages)
            + "), then run this again."
        )
    as_root = _as_root(by_hand)
    step.show("asking for the list of packages")
    # Whether the lists could be renewed is decided by what the installation then finds.
    listed = _run((*as_root, *APT, "update"), step, account)
    if "obs-studio" in packages:
        require_recent_obs()
    if beside:
        packages += unpacked.libraries()
    output = _run((*as_root, *INSTALL, *packages), step, account)
    if output.status != 0:
        raise SetupError(_explain(output, listed, by_hand))
    if beside:
        unpacked.unpack_pulseaudio(root, step, account)


def _as_root(by_hand: str) -> tuple[str, ...]:
    quiet = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
    if os.geteuid() == 0:
        return quiet
    if not shutil.which("sudo"):
        raise SetupError(
            "Installing software needs root, and this machine has no sudo. Ask whoever looks after it to run:\n"
            f"    {by_hand}\nthen run this again."
        )
    prompt = ["sudo", "-v"] if sys.stdin.isatty() else ["sudo", "-n", "-v"]
    if subprocess.run(prompt, check=False).returncode != 0:
        raise SetupError(
            "Installing software needs root, and sudo did not allow it. Run this in a terminal, where sudo can ask "
            f"for your password, or ask whoever looks after this machine to run:\n    {by_hand}\nthen run this again."
        )
    return ("sudo", "-n", *quiet)


def _run(command: Sequence[str], step: Step, account: Account) -> Output:
    # apt-get is root's: it must not be started as the person who called sudo.
    return run_shown(command, step, _AptLines().show, Account(account.env))


class _AptLines:
    """Turns apt-get's lines into progress. (Its own status pipe would not survive sudo.)"""

    def __init__(self) -> None:
        self._stages_total = 0
        self._stages_done = 0

    def show(self, line: str, step: Step) -> None:
        if total := TOTAL_LINE.match(line):
            self._stages_total = STAGES * int(total[1])
        elif (stage := STAGE_LINE.match(line)) and self._stages_total:
            self._stages_done += 1
            step.show(f"{stage[1] or stage[3]} {stage[2] or stage[4]}", self._stages_done / self._stages_total)


def require_recent_obs() -> None:
    """Look at the OBS that is installed, or else at the one that would be.

    Raises:
        SetupError: it is too old to be of use.
    """
    if shutil.which("obs"):
        command, pattern, where = ["obs", "--version"], r"OBS Studio - (\d+)\.", "This machine has"
    elif shutil.which("apt-cache"):
        command = ["apt-cache", "--no-all-versions", "show", "obs-studio"]
        pattern, where = r"(?m)^Version: (?:\d+:)?(\d+)\.", "This system offers"
    else:
        return
    said = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False).stdout
    version = re.search(pattern, said)
    if version and int(version[1]) < OLDEST_OBS:
        raise SetupError(
            f"{where} OBS {version[1]}; OBS Twin needs OBS {OLDEST_OBS} or newer. On Ubuntu, add the OBS project's own "
            "packages, and run this again:\n"
            "    sudo apt-get install software-properties-common\n"
            "    sudo add-apt-repository ppa:obsproject/obs-studio\n"
            "    sudo apt-get update && sudo apt-get install obs-studio"
        )


def _explain(output: Output, listed: Output, by_hand: str) -> str:
    if output.says("Could not get lock", "is held by process", "Unable to acquire the dpkg frontend lock"):
        return (
            "Another program is installing software at this moment (an update in the background, as a rule), and it "
            f"did not finish within {LOCK_WAIT_S} s. Wait for it to end and run this again."
        )
    if output.says("dpkg was interrupted"):
        return "An earlier installation was interrupted. Run:  sudo dpkg --configure -a   and then this again."
    if output.says("No space left on device", "You don't have enough free space"):
        return "The disk is full. OBS and its parts need about 1.5 GB. Make room and run this again."
    if output.says("remove is disabled"):
        return (
            "The missing software does not go together with something that is installed here, and apt-get would "
            f"have to remove that; this script removes nothing. See what it is with:\n    {by_hand} --simulate"
        )
    if output.says("Unable to locate package", "has no installation candidate"):
        if listed.status != 0:
            return (
                "The lists of packages could not be fetched, so the missing software was not found. Check the "
                f"network, then run this again. apt-get said:\n{listed.tail()}"
            )
        return (
            "This system's lists of packages do not have all that is needed. On Ubuntu, switch on 'universe' and run "
            f"this again:\n    sudo add-apt-repository universe\napt-get said:\n{output.tail(6)}"
        )
    if output.says("Temporary failure resolving", "Could not resolve", "Could not connect", "Failed to fetch"):
        said = output.complaints(3)
        return f"Packages could not be fetched. Check the network, then run this again. apt-get said:\n{said}"
    return f"apt-get could not install the missing software. Try:\n    {by_hand}\nIt said:\n{output.complaints()}"

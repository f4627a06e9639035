"""The private virtual environment: made once, filled from requirements.txt, renewed only when that changes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from installer.commands import Output, run_shown
from installer.errors import SetupError
from installer.platforms import Account, python_advice, unpacked_folder, venv_python
from installer.progress import Step

__all__ = ["Environment"]

NOTHING_TO_DO = "nothing to do"
"""What the steps that run in the environment print when all was there."""
STAMP_NAME = "obs-twin-setup.json"
ROOM_BYTES = 2_000_000_000
"""Free space that the packages need while they are unpacked; they end up at about 0.9 GB."""
NETWORK_PHRASES = (
    "Temporary failure in name resolution",
    "Failed to establish a new connection",
    "Connection refused",
    "Network is unreachable",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "getaddrinfo failed",
    "nodename nor servname",
)

ShowLine = Callable[[str, Step], None]


class Environment:
    """The environment in `<checkout>/.venv`.

    Args:
        root: the checkout.
        account: whose environment it is.
    """

    def __init__(self, root: Path, account: Account) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = venv_python(self.folder)
        self.account = account

    def alive(self) -> bool:
        """Whether the environment's Python starts, has pip, and is one that the project supports."""
        check = "import sys, importlib.util as u; sys.exit(sys.version_info < (3, 10) or not u.find_spec('pip'))"
        try:
            done = subprocess.run(
                [self.python, "-c", check], capture_output=True, check=False, timeout=60, env=dict(self.account.env)
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def create(self, step: Step) -> None:
        """Make the environment, in place of one whose Python has gone.

        Raises:
            SetupError: the checkout cannot be written to, the disk is full, or this Python cannot do it.
        """
        if not os.access(self.root, os.W_OK):
            raise SetupError(
                f"The folder {self.root} cannot be written to, and the environment goes into it (.venv). Copy the "
                "checkout to a folder of yours and run this from there."
            )
        self.require_room()
        step.show("making the environment")
        try:
            if self.folder.is_symlink() or self.folder.is_file():
                self.folder.unlink()
            elif self.folder.exists():
                shutil.rmtree(self.folder)
        except OSError as error:
            raise SetupError(
                f"The old environment {self.folder} could not be removed: {error}. Close programs that use it (OBS, "
                "editors), or delete that folder yourself, then run this again."
            ) from error
        made = self._run([sys.executable, "-m", "venv", str(self.folder)], step, _silent)
        if made.status == 0 and self.alive():
            return
        if made.says("No space left on device"):
            raise SetupError(
                "The disk is full. The environment needs about 2 GB while it is made. Make room, run again."
            )
        raise SetupError(
            f"Python {platform.python_version()} ({sys.executable}) could not make a virtual environment. "
            f"{python_advice()} It said:\n{made.tail()}"
        )

    def require_room(self) -> None:
        """Raise `SetupError` if the packages would not fit onto the disk."""
        free = shutil.disk_usage(self.root).free
        if free < ROOM_BYTES:
            raise SetupError(
                f"The disk of {self.root} has {free / 1e9:.1f} GB free; the Python packages need "
                f"{ROOM_BYTES / 1e9:.0f} GB while they are unpacked. Make room and run this again."
            )

    def packages_current(self) -> bool:
        """Whether the packages are those of requirements.txt."""
        return self._stamp().get("packages") == self._packages_digest()

    def training_current(self) -> bool:
        """Whether what training needs is there as well."""
        return self._stamp().get("training") == self._packages_digest()

    def install_training(self, step: Step) -> None:
        """Install what training needs (PyTorch): the tests train small models for real.

        Raises:
            SetupError: as `install_packages`.
        """
        self.require_room()
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        output = self._run([*pip, "--editable", f"{self.root}[training]"], step, _show_pip)
        if output.status != 0:
            raise SetupError(_explain(output))
        self.write_stamp(training=self._packages_digest())

    def install_packages(self, step: Step) -> None:
        """Install what requirements.txt names, and the `obs-twin` command.

        Installed packages that satisfy requirements.txt stay as they are.

        Raises:
            SetupError: no network, no package for this machine, full disk ...
        """
        self.require_room()
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        # Wheels only: building one would need compilers, and fails with pages of their messages.
        output = self._run([*pip, "--only-binary=:all:", "-r", str(self.root / "requirements.txt")], step, _show_pip)
        if output.status == 0:
            step.show("the obs-twin command")
            output = self._run([*pip, "--no-deps", "--editable", str(self.root)], step, _show_pip)
        if output.status != 0:
            raise SetupError(_explain(output))
        self.write_stamp(packages=self._packages_digest())

    def kernels_current(self) -> bool:
        """Whether the compiled kernels are those of the sources."""
        return self._stamp().get("kernels") == self._kernels_digest()

    def warm_kernels(self, step: Step) -> None:
        """Have numba compile the kernels now, so that the first frame does not wait for it.

        Raises:
            SetupError: one does not compile.
        """
        self._run_step("installer.warm", step, "The picture kernels could not be compiled")
        self.write_stamp(kernels=self._kernels_digest())

    def fetch_models(self, step: Step) -> None:
        """Fetch the models that are missing, each checked by its sha256.

        Raises:
            SetupError: no network, or not the right bytes.
        """
        self._run_step("installer.models", step, "The models could not be fetched. Check the network, run this again")

    def render_persona(self, step: Step) -> None:
        """Render the built-in twin's photos, voice and room, once.

        Raises:
            SetupError: it could not be done.
        """
        step.show("rendering her photos, voice and room (a minute or two, once)")
        self._run_step("installer.persona", step, "The built-in twin could not be rendered")

    def run(self, *arguments: str, cwd: Path | None = None) -> int:
        """Run the environment's Python with the terminal left to it.

        Returns:
            Its exit status.
        """
        tools = str(unpacked_folder(self.root) / "bin")
        path = os.pathsep.join([*filter(None, [self.account.env.get("PATH")]), tools])
        env = {**self.account.env, "PYTHONPATH": self._python_path(), "PATH": path}
        return subprocess.run(
            [str(self.python), *arguments], cwd=cwd, env=env, check=False, **self.account.popen
        ).returncode

    def command(self, name: str) -> Path:
        """The path of a command that lies in the environment."""
        return self.python.with_name(name + self.python.suffix)

    def write_stamp(self, **entries: str) -> None:
        """Remember what has been done."""
        text = json.dumps({**self._stamp(), **entries}, indent=1)
        (self.folder / STAMP_NAME).write_text(text + "\n", encoding="utf-8")

    def _stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads((self.folder / STAMP_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _packages_digest(self) -> str:
        return _digest([self.root / "requirements.txt", self.root / "pyproject.toml"])

    def _kernels_digest(self) -> str:
        sources = sorted((self.root / "obs_twin").rglob("*.py"))
        return _digest(path for path in sources if b"njit" in path.read_bytes())

    def _python_path(self) -> str:
        return os.pathsep.join(filter(None, [str(self.root), self.account.env.get("PYTHONPATH", "")]))

    def _run_step(self, module: str, step: Step, failure: str) -> None:
        output = self._run([str(self.python), "-m", module], step, _show_progress)
        if output.status != 0:
            raise SetupError(f"{failure}:\n{output.tail()}")
        if output.says(NOTHING_TO_DO):
            step.outcome = "already there"

    def _run(self, command: list[str], step: Step, show: ShowLine) -> Output:
        account = Account({**self.account.env, "PYTHONPATH": self._python_path()}, self.account.popen)
        return run_shown(command, step, show, account, cwd=self.root)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() if path.exists() else b"")
        digest.update(b"\0")
    return digest.hexdigest()


def _silent(line: str, step: Step) -> None:
    step.show()


def _show_progress(line: str, step: Step) -> None:
    """Lines of our own steps: `0.42 what` or just `what`. A library's own messages tell a user nothing."""
    if line.startswith(("INFO:", "WARNING:")):
        step.show()
        return
    progress = re.match(r"(?:(\d\.\d\d) )?(.+)", line)
    if progress:
        step.show(progress[2], float(progress[1]) if progress[1] else None)


def _show_pip(line: str, step: Step) -> None:
    shown = re.match(r"\s*(Collecting|Downloading|Using cached|Installing collected packages)\s*:?\s*(\S*)", line)
    if shown and shown[1].startswith("Installing"):
        step.show("unpacking the packages")
    elif shown:
        size = re.search(r"\(([0-9.]+ [kMG]?B)\)", line)
        step.show(f"{shown[1].lower()} {shown[2].rsplit('/', 1)[-1]}" + (f" ({size[1]})" if size else ""))


def _explain(output: Output) -> str:
    absent = re.search(r"No matching distribution found for (\S+)", output.text)
    if output.says(*NETWORK_PHRASES):
        return f"The Python packages could not be fetched. Check the network, then run this again.\n{output.tail(4)}"
    if output.says("No space left on device"):
        return "The disk is full. The Python packages need about 2 GB while they are unpacked. Make room, run again."
    if absent:
        return (
            f"There is no ready-made package {absent[1]} for Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}. OBS Twin runs on 64-bit Windows, on Linux (x86-64, ARM64) and "
            f"on Macs with Apple silicon, with Python 3.10 to 3.14. {python_advice()}"
        )
    return f"The Python packages could not be installed. pip said:\n{output.tail()}"

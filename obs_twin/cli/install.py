"""`obs-twin install`: adds the OBS Twin script to the user's own OBS, and takes it out again.

It edits at most two files, and only while OBS is closed: the scene collection, which lists the scripts to load, and
on Windows and macOS the ini file, which says from where OBS loads Python. Each is copied beside itself first, and
what was done is written to `obs-twin-install.json` in OBS's configuration folder for `obs-twin install --undo`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import obs_twin
from obs_twin.cli import obs_config, obs_process, obs_python
from obs_twin.cli.obs_config import Collection, ConfigError, ObsConfig

__all__ = ["Installer", "add_parser", "run"]

SCRIPT = Path(obs_twin.__path__[0]).resolve() / "obs_twin_script.py"
RECORD_NAME = "obs-twin-install.json"
PYTHON_SECTION, PYTHON_KEY = "Python", "Path64bit"


@dataclass(frozen=True)
class Edit:
    """One file that was edited."""

    kind: str
    """`script` or `python`."""
    file: str
    backup: str
    sha256_before: str
    sha256_after: str
    value: str
    """The script's path, or Python's folder."""
    replaced: str
    """What the value was before; empty if there was none."""


class Installer:
    """Adds the script to one OBS configuration, and takes it out.

    Args:
        config: OBS's configuration folder.
        script: the script to add.
        system: `windows`, `macos` or `linux`.
        say: prints one line for the user.
        is_running: whether OBS runs with that configuration.
        dry_run: say what would be done, and change nothing.
    """

    def __init__(
        self,
        config: ObsConfig,
        script: Path = SCRIPT,
        system: str = "linux",
        say: Callable[[str], None] = print,
        is_running: Callable[[Path], bool] = obs_process.obs_is_running,
        dry_run: bool = False,
    ) -> None:
        self._config = config
        self._script = script.as_posix()
        self._system = system
        self._say = say
        self._is_running = is_running
        self._dry_run = dry_run
        self._record_path = config.folder / RECORD_NAME

    def install(self, collection_name: str | None = None) -> None:
        """Add the script to a scene collection; doing it again changes nothing.

        Args:
            collection_name: which; the one that OBS will open next if None.

        Raises:
            ConfigError: OBS runs, or its files are not as expected; nothing has been changed.
        """
        self._require_closed()
        collection = self._config.collection(collection_name) if collection_name else self._config.current_collection()
        # Both new texts are made before either file is touched, so that a bad one changes nothing.
        planned = [plan for plan in (self._plan_script(collection), self._plan_python()) if plan is not None]
        if not planned:
            return
        if self._dry_run:
            self._say("Nothing was changed (--dry-run).")
            return
        edits = self._recorded()
        for kind, path, text, value, replaced in planned:
            edits.append(self._replace(kind, path, text, value, replaced))
            self._write_record(edits)
        self._say("Done. Start OBS: Tools > Scripts shows OBS Twin. To take it out again: obs-twin install --undo")

    def undo(self, force: bool = False) -> None:
        """Take out what `install` put in.

        Files that have not changed since get their old bytes back. OBS saves its files whenever it closes; those
        are refused, unless `force`, which takes only our own entry out of them and keeps everything newer.

        Raises:
            ConfigError: OBS runs, there is nothing to undo, or a file has changed since and `force` is not set.
        """
        self._require_closed()
        edits = self._recorded()
        if not edits:
            raise ConfigError(f"There is nothing to undo: no record of an installation in {self._config.folder}.")
        changed = self._changed_since(edits)
        if changed and not force:
            raise ConfigError(
                "OBS has saved its files since the installation, so putting the old ones back would lose work:\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nTo take out only OBS Twin's own entry and keep everything else: obs-twin install --undo --force"
            )
        if self._dry_run:
            for edit in edits:
                self._say(f"Would undo the edit of {edit.file}.")
            return
        for edit in reversed(edits):
            self._undo_one(edit)
        self._record_path.unlink(missing_ok=True)

    # ----------------------------------------------------------------------------------------------------------

    def _require_closed(self) -> None:
        if self._is_running(self._config.folder):
            raise ConfigError(
                "OBS is running, and would write over the change when it closes. Close OBS, then run this."
            )

    def _plan_script(self, collection: Collection) -> tuple[str, Path, str, str, str] | None:
        if not self._dry_run and not Path(self._script).is_file():
            raise ConfigError(f"The script {self._script} is not there; this copy of OBS Twin is not complete.")
        try:
            text = obs_config.read_text(collection.path)
            present = obs_config.script_paths(text)
            if self._script in present:
                self._say(f"The scene collection '{collection.name}' loads OBS Twin already.")
                return None
            moved = [path for path in present if path.replace("\\", "/").endswith("obs_twin/" + SCRIPT.name)]
            for path in moved:
                text = obs_config.remove_script(text, path)
            text = obs_config.add_script(text, self._script)
        except ConfigError as error:
            raise ConfigError(
                f"The scene collection '{collection.name}' was not changed ({collection.path}): {error}"
            ) from error
        where = f"{self._config.kind}, scene collection '{collection.name}'"
        self._say(f"{'Would add' if self._dry_run else 'Adding'} the script to {where}: {collection.path}")
        for path in moved:
            self._say(f"It takes the place of an older copy: {path}")
        return "script", collection.path, text, self._script, moved[0] if moved else ""

    def _plan_python(self) -> tuple[str, Path, str, str, str] | None:
        if self._system == "linux":
            return None
        version = self._config.version()
        newest = obs_python.newest_minor(version)
        if newest is None:
            self._say("Your OBS is older than 28; OBS Twin needs OBS 28 or newer: https://obsproject.com/download")
            return None
        ini = self._config.user_ini()
        text = obs_config.read_text(ini)
        before = obs_config.ini_get(text, PYTHON_SECTION, PYTHON_KEY)
        if before and (minor := obs_python.loadable_minor(Path(before), newest, self._system)):
            self._say(f"OBS loads Python 3.{minor} from {before}; that will do.")
            return None
        found = obs_python.find_python(newest, self._system)
        if found is None:
            name = f"OBS {version[0]}.{version[1]}" if version else "your OBS"
            self._say(
                f"No Python that {name} can load was found (it needs 3.{obs_python.OLDEST_MINOR} to 3.{newest}). "
                f"Get Python 3.{newest} from https://www.python.org/downloads/ (not from the Microsoft Store), then "
                "run this again."
            )
            return None
        folder, minor = found[0].as_posix(), found[1]
        self._say(f"{'Would tell' if self._dry_run else 'Telling'} OBS to load Python 3.{minor} from {folder} ({ini}).")
        edited = obs_config.ini_set(text, PYTHON_SECTION, PYTHON_KEY, folder)
        return "python", ini, edited, folder, before or ""

    def _replace(self, kind: str, path: Path, text: str, value: str, replaced: str) -> Edit:
        backup = _backup_path(path)
        before = path.read_bytes()
        after = text.encode("utf-8")
        try:
            shutil.copy2(path, backup)
            _write_atomically(path, after)
        except OSError as error:
            raise ConfigError(f"{path} could not be written: {error.strerror or error}. It was not changed.") from error
        self._say(f"The file as it was: {backup}")
        return Edit(kind, str(path), str(backup), _sha256(before), _sha256(after), value, replaced)

    def _changed_since(self, edits: list[Edit]) -> list[str]:
        """What stands against putting the old bytes back, one line a file."""
        lines = []
        expected = {edit.file: edit for edit in edits}  # the last edit of each file
        for edit in expected.values():
            path, backup = Path(edit.file), Path(edit.backup)
            if not path.is_file():
                lines.append(f"{path}: it has been deleted")
            elif _sha256(path.read_bytes()) != edit.sha256_after:
                lines.append(f"{path}: {_difference(backup, path)}")
            elif not backup.is_file() or _sha256(backup.read_bytes()) != edit.sha256_before:
                lines.append(f"{path}: its backup {backup} has been changed or deleted")
        return lines

    def _undo_one(self, edit: Edit) -> None:
        path, backup = Path(edit.file), Path(edit.backup)
        if not path.is_file():
            self._say(f"{path} has been deleted; nothing to take out.")
            return
        now = path.read_bytes()
        whole = backup.is_file() and _sha256(backup.read_bytes()) == edit.sha256_before
        if whole and _sha256(now) == edit.sha256_after:
            _write_atomically(path, backup.read_bytes())
            backup.unlink()
            self._say(f"{path} is as it was before.")
            return
        text = obs_config.read_text(path)
        if edit.kind == "script":
            try:
                edited = obs_config.remove_script(text, edit.value)
            except ConfigError as error:
                raise ConfigError(f"{path} was not changed: {error}") from error
        elif obs_config.ini_get(text, PYTHON_SECTION, PYTHON_KEY) != edit.value:
            edited = text
        elif edit.replaced:
            edited = obs_config.ini_set(text, PYTHON_SECTION, PYTHON_KEY, edit.replaced)
        else:
            edited = obs_config.ini_unset(text, PYTHON_SECTION, PYTHON_KEY)
        _write_atomically(path, edited.encode("utf-8"))
        kept = f" The older file stays at {backup}." if backup.is_file() else ""
        self._say(f"OBS Twin's entry is out of {path}.{kept}")

    def _recorded(self) -> list[Edit]:
        if not self._record_path.exists():
            return []
        try:
            record: dict[str, Any] = json.loads(obs_config.read_text(self._record_path))
            return [Edit(**edit) for edit in record["edits"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"The record of the installation is damaged: {self._record_path}. The files as they were lie beside "
                "OBS's own, with 'before-obs-twin' in their names. Delete the record to start anew."
            ) from error

    def _write_record(self, edits: list[Edit]) -> None:
        text = json.dumps({"edits": [asdict(edit) for edit in edits]}, indent=1, ensure_ascii=False)
        _write_atomically(self._record_path, (text + "\n").encode("utf-8"))


def _backup_path(path: Path) -> Path:
    # Not ".json" at the end, or OBS would show the copy as a scene collection of its own.
    stamp = time.strftime("%Y%m%d-%H%M%S")
    backup = path.with_name(f"{path.name}.before-obs-twin-{stamp}")
    number = 1
    while backup.exists():
        number += 1
        backup = path.with_name(f"{path.name}.before-obs-twin-{stamp}-{number}")
    return backup


def _write_atomically(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _difference(before: Path, now: Path) -> str:
    """What OBS has changed, as far as a person would recognise it."""
    try:
        old, new = (json.loads(obs_config.read_text(path).removeprefix("\ufeff")) for path in (before, now))
        names = [{str(source.get("name")) for source in parsed["sources"]} for parsed in (old, new)]
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError):
        return "its contents have changed"
    parts = []
    for word, difference in (("new", names[1] - names[0]), ("gone", names[0] - names[1])):
        if difference:
            parts.append(f"sources {word}: {', '.join(sorted(difference))}")
    return "; ".join(parts) or "the same sources, other settings"


# --------------------------------------------------------------------------------------------------------------


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `install` with the `obs-twin` command."""
    parser = subparsers.add_parser(
        "install",
        help="add OBS Twin to your OBS, or take it out again",
        description="Adds the OBS Twin script to your OBS's scene collection. Close OBS first.",
    )
    parser.add_argument("--undo", action="store_true", help="take out what an earlier 'install' put in")
    parser.add_argument("--force", action="store_true", help="with --undo: also when OBS has saved its files since")
    parser.add_argument(
        "--obs-config", type=Path, metavar="DIR", help="OBS's configuration folder, if not found by itself"
    )
    parser.add_argument("--collection", metavar="NAME", help="the scene collection (default: the one in use)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `obs-twin install`.

    Returns:
        The exit status: 0 if all went well or nothing was to do.

    Raises:
        ConfigError: it was refused.
    """
    installer = Installer(_chosen_config(options.obs_config), system=_system(), dry_run=options.dry_run)
    if options.undo:
        installer.undo(force=options.force)
    else:
        installer.install(options.collection)
    return 0


def _system() -> str:
    return {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")


def _chosen_config(given: Path | None) -> ObsConfig:
    if given is not None:
        for folder in (given, given / "obs-studio"):
            if (folder / "global.ini").is_file():
                return ObsConfig(folder.resolve(), "the folder that you gave")
        raise ConfigError(f"{given} is no configuration folder of OBS: it has no global.ini.")
    found = obs_config.find_configs(_system(), Path.home())
    if not found:
        raise ConfigError(
            "OBS's configuration was not found. Start OBS once, close its wizard, close OBS, and run this again. If "
            "OBS is portable, name its folder: obs-twin install --obs-config DIR (the folder with global.ini in it)."
        )
    for other in found[1:]:
        print(f"There is also {other.kind}; for that one: obs-twin install --obs-config '{other.folder}'")
    return found[0]

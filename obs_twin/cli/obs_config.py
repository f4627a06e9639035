"""OBS's own configuration: where it lies, and edits to its files that leave every other byte as it was.

Two kinds of file matter. `global.ini` (and `user.ini` since OBS 31) says which scene collection is in use and which
Python OBS loads; a scene collection is a JSON file that names the scripts to load. OBS reads its ini files without
regard to the case of sections and keys, keeps the first of two equal keys, and on Windows writes a byte order mark.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obs_twin.cli.errors import CommandError

__all__ = [
    "Collection",
    "ConfigError",
    "ObsConfig",
    "add_script",
    "find_configs",
    "ini_get",
    "ini_set",
    "ini_unset",
    "read_text",
    "remove_script",
    "script_paths",
]

SCRIPT_MODULE = "scripts-tool"
"""The name under which OBS's Scripts dialog saves its list in a scene collection."""


class ConfigError(CommandError):
    """OBS's configuration is not what was expected; the text says what was found and what to do."""


def read_text(path: Path) -> str:
    """The text of one of OBS's files, line ends and byte order mark included.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text (byte {error.start}), so it was not written by OBS. Start OBS once and close "
            "it, so that it writes the file anew."
        ) from error


# --------------------------------------------------------------------------------------------------------------
# ini files


def _section_of(line: str) -> str | None:
    header = re.match(r"\s*\[([^\]]*)\]", line)
    return header[1].strip().casefold() if header else None


def _find(text: str, section: str, key: str) -> tuple[list[str], int | None, int | None]:
    """Lines with their ends; the index of the key's line; the index after the section's last line with text."""
    lines = [line for line in re.split(r"(?<=\n)", text) if line]
    inside = False
    section_end: int | None = None
    for index, line in enumerate(lines):
        header = _section_of(line.lstrip("\ufeff"))
        if header is not None:
            inside = header == section.casefold()
        elif inside and "=" in line and line.split("=", 1)[0].strip().casefold() == key.casefold():
            return lines, index, section_end
        if inside and line.strip():
            section_end = index + 1
    return lines, None, section_end


def ini_get(text: str, section: str, key: str) -> str | None:
    """A value from one of OBS's ini files, or None."""
    lines, index, _ = _find(text, section, key)
    if index is None:
        return None
    value = lines[index].split("=", 1)[1].strip()
    return value.replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\") or None


def ini_set(text: str, section: str, key: str, value: str) -> str:
    """The ini file's text with one value set; every other line as it was."""
    end = "\r\n" if "\r\n" in text else "\n"
    escaped = value.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
    lines, index, section_end = _find(text, section, key)
    if index is not None:
        name = lines[index].split("=", 1)[0]
        lines[index] = f"{name}={escaped}{end}"
        return "".join(lines)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if section_end is not None:
        lines.insert(section_end, f"{key}={escaped}{end}")
    else:
        lines.append(f"{end if lines else ''}[{section}]{end}{key}={escaped}{end}")
    return "".join(lines)


def ini_unset(text: str, section: str, key: str) -> str:
    """The ini file's text without one value; every other line as it was."""
    lines, index, _ = _find(text, section, key)
    if index is not None:
        del lines[index]
    return "".join(lines)


# --------------------------------------------------------------------------------------------------------------
# Scene collections: JSON, edited in place so that numbers, order and layout stay exactly as OBS wrote them

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


@dataclass(frozen=True)
class _Child:
    """One member of an object or element of an array, as offsets into the text."""

    key: str | None
    start: int
    value_start: int
    end: int


def _children(text: str, start: int) -> tuple[list[_Child], int]:
    """The children of the object or array at `start`, and the offset of its closing bracket."""
    is_object = text[start] == "{"
    children: list[_Child] = []
    at = _skip_space(text, start + 1)
    while text[at] not in "}]":
        begin, key = at, None
        if is_object:
            key, at = _DECODER.raw_decode(text, at)
            at = _skip_space(text, _skip_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        children.append(_Child(key, begin, at, end))
        at = _skip_space(text, end)
        if text[at] == ",":
            at = _skip_space(text, at + 1)
    return children, at


@dataclass(frozen=True)
class _Layout:
    """How the file is laid out: one line, or indented."""

    newline: str
    unit: str

    def render(self, value: Any, depth: int) -> str:
        if not self.unit:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text = json.dumps(value, ensure_ascii=False, indent=self.unit)
        return text.replace("\n", self.newline + self.unit * depth)

    def line(self, depth: int) -> str:
        return self.newline + self.unit * depth if self.unit else ""


def _layout(text: str, top: int) -> _Layout:
    indented = re.compile(r"\{(\r?\n)([ \t]+)\"").match(text, top)
    return _Layout(indented[1], indented[2]) if indented else _Layout("", "")


def _insert(text: str, container: int, depth: int, layout: _Layout, rendered: str) -> str:
    """Put a rendered member or element at the end of the container at offset `container`."""
    children, close = _children(text, container)
    if children:
        at = children[-1].end
        return text[:at] + "," + layout.line(depth) + rendered + text[at:]
    return text[: container + 1] + layout.line(depth) + rendered + layout.line(depth - 1) + text[close:]


def _parse(text: str) -> tuple[dict[str, Any], int]:
    """The collection as a dict, and where in the text it starts."""
    start = 1 if text.startswith("\ufeff") else 0
    try:
        parsed = json.loads(text[start:])
    except ValueError as error:
        raise ConfigError(
            f"it is not valid JSON ({error}). OBS keeps the version before in the same folder, with '.bak' at the "
            "end of its name; start OBS once and close it, and it repairs the file."
        ) from error
    modules = parsed.get("modules", {}) if isinstance(parsed, dict) else None
    scripts = modules.get(SCRIPT_MODULE, []) if isinstance(modules, dict) else None
    if not isinstance(scripts, list) or not all(isinstance(script, dict) for script in scripts):
        raise ConfigError("it is JSON, but not laid out like one of OBS's scene collections.")
    return parsed, _skip_space(text, start)


def _scripts(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    scripts: list[dict[str, Any]] = parsed.get("modules", {}).get(SCRIPT_MODULE, [])
    return scripts


def script_paths(text: str) -> list[str]:
    """The scripts that a scene collection loads, as written in it.

    Raises:
        ConfigError: the text is not a scene collection.
    """
    return [str(script.get("path", "")) for script in _scripts(_parse(text)[0])]


def add_script(text: str, path: str) -> str:
    """The scene collection's text with one more script at the end of its list; all else as it was.

    Args:
        text: the file's text.
        path: the script, absolute, with forward slashes as OBS writes them.

    Raises:
        ConfigError: the text is not a scene collection.
    """
    parsed, top = _parse(text)
    entry = {"path": path, "settings": {}}
    layout = _layout(text, top)
    modules = next((child for child in _children(text, top)[0] if child.key == "modules"), None)
    if modules is None:
        value: Any = {SCRIPT_MODULE: [entry]}
        edited = _insert(text, top, 1, layout, _member("modules", value, 1, layout))
    else:
        listed = next((child for child in _children(text, modules.value_start)[0] if child.key == SCRIPT_MODULE), None)
        if listed is None:
            edited = _insert(text, modules.value_start, 2, layout, _member(SCRIPT_MODULE, [entry], 2, layout))
        else:
            edited = _insert(text, listed.value_start, 3, layout, layout.render(entry, 3))
    parsed.setdefault("modules", {}).setdefault(SCRIPT_MODULE, []).append(entry)
    return _checked(edited, parsed)


def remove_script(text: str, path: str) -> str:
    """The scene collection's text without one script; all else as it was.

    Raises:
        ConfigError: the text is not a scene collection.
    """
    parsed, top = _parse(text)
    if path not in script_paths(text):
        return text
    index = script_paths(text).index(path)
    modules = next(child for child in _children(text, top)[0] if child.key == "modules")
    listed = next(child for child in _children(text, modules.value_start)[0] if child.key == SCRIPT_MODULE)
    elements, close = _children(text, listed.value_start)
    if len(elements) == 1:
        edited = text[: listed.value_start + 1] + text[close:]
    elif index == 0:
        edited = text[: elements[0].start] + text[elements[1].start :]
    else:
        edited = text[: elements[index - 1].end] + text[elements[index].end :]
    del _scripts(parsed)[index]
    return _checked(edited, parsed)


def _member(key: str, value: Any, depth: int, layout: _Layout) -> str:
    return f'"{key}":{" " if layout.unit else ""}{layout.render(value, depth)}'


def _checked(edited: str, expected: dict[str, Any]) -> str:
    """The edited text, provided that it says what was meant and nothing else."""
    if json.loads(edited.removeprefix("\ufeff")) != expected:
        raise ConfigError("it is laid out in a way that this program cannot edit safely.")
    return edited


# --------------------------------------------------------------------------------------------------------------
# The configuration folder


@dataclass(frozen=True)
class Collection:
    """One scene collection."""

    name: str
    path: Path


@dataclass(frozen=True)
class ObsConfig:
    """One of OBS's configuration folders (the one that holds `global.ini`)."""

    folder: Path
    kind: str
    """`OBS`, `OBS (Flatpak)`, `OBS (Snap)`, or `the folder that you gave`."""

    def version(self) -> tuple[int, int] | None:
        """The OBS that used this configuration last, or None if it does not say."""
        value = self._value("General", "LastVersion")
        if value is None or not value.isdigit():
            return None
        return int(value) >> 24, int(value) >> 16 & 0xFF

    def user_ini(self) -> Path:
        """The ini file that holds the choice of collection and of Python: `user.ini` since OBS 31."""
        newer = self.folder / "user.ini"
        return newer if newer.is_file() else self.folder / "global.ini"

    def python_path(self) -> str | None:
        """The folder from which OBS loads Python (Windows and macOS), or None."""
        return ini_get(read_text(self.user_ini()), "Python", "Path64bit")

    def collections(self) -> list[Collection]:
        """All scene collections, by name."""
        found = [Collection(_name_in(path), path) for path in sorted(self._scenes_folder().glob("*.json"))]
        return sorted(found, key=lambda collection: collection.name.casefold())

    def collection(self, name: str) -> Collection:
        """The scene collection called `name`, as in OBS's menu.

        Raises:
            ConfigError: there is none.
        """
        known = self.collections()
        exact = [collection for collection in known if name in (collection.name, collection.path.stem)]
        alike = [collection for collection in known if collection.name.casefold() == name.casefold()]
        if exact or alike:
            return (exact or alike)[0]
        names = ", ".join(collection.name for collection in known) or "none"
        raise ConfigError(f"There is no scene collection called {name!r} in {self.folder}. There are: {names}.")

    def current_collection(self) -> Collection:
        """The scene collection that OBS will open next.

        Raises:
            ConfigError: OBS has not been started yet, or what it names is not there.
        """
        name = self._value("Basic", "SceneCollection")
        file_name = self._value("Basic", "SceneCollectionFile")
        if file_name:
            stem = file_name[:-5] if file_name.casefold().endswith(".json") else file_name
            path = self._scenes_folder() / f"{stem}.json"
            if path.is_file():
                return Collection(name or _name_in(path), path)
        if name and any(collection.name == name for collection in self.collections()):
            return self.collection(name)
        raise ConfigError(
            f"OBS's configuration in {self.folder} names no scene collection that is there (expected "
            f"{self._scenes_folder() / ((file_name or 'Untitled') + '.json')}). Start OBS once, close its wizard, "
            "close OBS, and run this again; or name a collection with --collection."
        )

    def _scenes_folder(self) -> Path:
        # OBS 31 can keep scene collections elsewhere.
        elsewhere = self._value("Locations", "SceneCollections")
        if elsewhere and (folder := Path(elsewhere) / "obs-studio/basic/scenes").is_dir():
            return folder
        return self.folder / "basic" / "scenes"

    def _value(self, section: str, key: str) -> str | None:
        """A value as OBS would see it: from user.ini where there is one, else from global.ini."""
        for name in ("user.ini", "global.ini"):
            path = self.folder / name
            if path.is_file() and (value := ini_get(read_text(path), section, key)) is not None:
                return value
        return None


def _name_in(path: Path) -> str:
    try:
        parsed = json.loads(read_text(path).removeprefix("\ufeff"))
    except (ConfigError, ValueError):
        return path.stem
    name = parsed.get("name") if isinstance(parsed, dict) else None
    return name if isinstance(name, str) and name else path.stem


def find_configs(system: str, home: Path, env: Mapping[str, str] | None = None) -> list[ObsConfig]:
    """OBS's configuration folders on this machine, the one used last first.

    Args:
        system: `windows`, `macos` or `linux`.
        home: the user's home folder.
        env: the environment; the process's own if None.
    """
    env = os.environ if env is None else env
    if system == "windows":
        places = [(Path(env.get("APPDATA") or home / "AppData/Roaming") / "obs-studio", "OBS")]
    elif system == "macos":
        places = [(home / "Library/Application Support/obs-studio", "OBS")]
    else:
        places = [
            (Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "obs-studio", "OBS"),
            (home / ".var/app/com.obsproject.Studio/config/obs-studio", "OBS (Flatpak)"),
            (home / "snap/obs-studio/current/.config/obs-studio", "OBS (Snap)"),
        ]
    found = [ObsConfig(folder, kind) for folder, kind in places if (folder / "global.ini").is_file()]
    return sorted(found, key=lambda config: config.user_ini().stat().st_mtime, reverse=True)

"""`obs-twin install`: edits of OBS's files that can be taken back, and never half done."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obs_twin.cli import install, obs_config, obs_process, obs_python
from obs_twin.cli.install import Installer
from obs_twin.cli.obs_config import ConfigError, ObsConfig, find_configs

GLOBAL_INI = "[General]\nLastVersion=486539266\n\n[Basic]\nSceneCollection=My Show\nSceneCollectionFile=My_Show\n"
COLLECTION = {
    "current_scene": "Scene",
    "name": "My Show",
    "sources": [{"name": "Kamera é", "volume": 1.0, "sync": 0}],
    "modules": {"scripts-tool": [{"path": "/opt/other.py", "settings": {"x": 1}}], "auto-scene-switcher": {"a": 1}},
    "version": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An OBS configuration as OBS 29 leaves it."""
    folder = tmp_path / "obs-studio"
    (folder / "basic/scenes").mkdir(parents=True)
    (folder / "global.ini").write_text(GLOBAL_INI)
    (folder / "basic/scenes/My_Show.json").write_text(json.dumps(COLLECTION, indent=4, ensure_ascii=False))
    return folder


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A checkout's script."""
    script = tmp_path / "checkout/obs_twin/obs_twin_script.py"
    script.parent.mkdir(parents=True)
    script.write_text("")
    return script


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make(folder: Path, script: Path, said: list[str]) -> Callable[..., Installer]:
    def make(**arguments: Any) -> Installer:
        settings: dict[str, Any] = {"script": script, "say": said.append, "is_running": lambda _: False}
        return Installer(ObsConfig(folder, "OBS"), **{**settings, **arguments})

    return make


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _collection(folder: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((folder / "basic/scenes/My_Show.json").read_text())
    return parsed


def test_install_adds_only_the_script(folder: Path, script: Path, make: Callable[..., Installer]) -> None:
    before = (folder / "basic/scenes/My_Show.json").read_text()
    make().install()
    expected = json.loads(before)
    expected["modules"]["scripts-tool"].append({"path": script.as_posix(), "settings": {}})
    after = (folder / "basic/scenes/My_Show.json").read_text()
    assert list(json.loads(after)) == list(expected)
    assert json.loads(after) == expected
    same = next(at for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
    assert after.endswith(before[same:])


def test_second_install_changes_nothing(folder: Path, make: Callable[..., Installer], said: list[str]) -> None:
    make().install()
    before = _files(folder)
    make().install()
    assert _files(folder) == before
    assert "already" in said[-1]


def test_undo_restores_every_byte(folder: Path, make: Callable[..., Installer]) -> None:
    before = _files(folder)
    make().install()
    make().undo()
    assert _files(folder) == before


def test_undo_refuses_what_obs_has_saved_since(folder: Path, script: Path, make: Callable[..., Installer]) -> None:
    make().install()
    path = folder / "basic/scenes/My_Show.json"
    parsed = _collection(folder)
    parsed["sources"].append({"name": "New source"})
    path.write_text(json.dumps(parsed))
    saved = _files(folder)
    with pytest.raises(ConfigError, match="sources new: New source") as refusal:
        make().undo()
    assert "--undo --force" in str(refusal.value)
    assert _files(folder) == saved
    make().undo(force=True)
    parsed["modules"]["scripts-tool"].pop()
    assert _collection(folder) == parsed
    assert not (folder / install.RECORD_NAME).exists()


def test_undo_without_installation_says_so(make: Callable[..., Installer]) -> None:
    with pytest.raises(ConfigError, match="nothing to undo"):
        make().undo()


def test_refuses_while_obs_runs(folder: Path, make: Callable[..., Installer]) -> None:
    before = _files(folder)
    for action in (lambda i: i.install(), lambda i: i.undo(force=True)):
        with pytest.raises(ConfigError, match="Close OBS"):
            action(make(is_running=lambda _: True))
    assert _files(folder) == before


def test_dry_run_changes_nothing(folder: Path, make: Callable[..., Installer], said: list[str]) -> None:
    before = _files(folder)
    make(dry_run=True).install()
    assert _files(folder) == before
    assert any("Would add" in line for line in said)


def test_moved_checkout_is_replaced(folder: Path, script: Path, make: Callable[..., Installer]) -> None:
    parsed = _collection(folder)
    parsed["modules"]["scripts-tool"].insert(0, {"path": "/old/obs_twin/obs_twin_script.py", "settings": {}})
    (folder / "basic/scenes/My_Show.json").write_text(json.dumps(parsed))
    make().install()
    paths = [entry["path"] for entry in _collection(folder)["modules"]["scripts-tool"]]
    assert paths == ["/opt/other.py", script.as_posix()]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"name": "My Show", ', "not valid JSON"),
        (b"[1, 2]", "not laid out"),
        (b'{"modules": {"scripts-tool": "x"}}', "not laid out"),
        (b'{"modules": 3}', "not laid out"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"", "not valid JSON"),
    ],
)
def test_bad_collection_is_left_alone(folder: Path, make: Callable[..., Installer], content: bytes, words: str) -> None:
    (folder / "basic/scenes/My_Show.json").write_bytes(content)
    before = _files(folder)
    with pytest.raises(ConfigError, match=words):
        make().install()
    assert _files(folder) == before


def test_bad_ini_is_left_alone(folder: Path, make: Callable[..., Installer]) -> None:
    (folder / "global.ini").write_bytes(b"[Basic]\nSceneCollectionFile=\xff\n")
    with pytest.raises(ConfigError, match=r"global\.ini is not UTF-8"):
        make().install()


def test_named_collection(folder: Path, make: Callable[..., Installer]) -> None:
    other = folder / "basic/scenes/Untitled.json"
    other.write_text('{"name":"Untitled","modules":{}}')
    make().install("untitled")
    assert obs_config.script_paths(other.read_text())
    with pytest.raises(ConfigError, match="There are: My Show, Untitled"):
        make().install("Nobody")


def test_obs_never_started(tmp_path: Path) -> None:
    (tmp_path / "global.ini").write_text("[General]\n")
    with pytest.raises(ConfigError, match="Start OBS once"):
        ObsConfig(tmp_path, "OBS").current_collection()


def test_obs31_keeps_the_choice_in_user_ini(folder: Path) -> None:
    (folder / "global.ini").write_text(GLOBAL_INI.replace("My_Show", "Gone"))
    (folder / "user.ini").write_bytes(
        b"\xef\xbb\xbf[basic]\r\nscenecollection=My Show\r\nSceneCollectionFile=My_Show.json\r\n"
    )
    config = ObsConfig(folder, "OBS")
    assert config.current_collection().path.name == "My_Show.json"
    assert config.user_ini().name == "user.ini"
    assert config.version() == (29, 0)


def test_obs31_scene_collections_elsewhere(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "disk/obs-studio/basic/scenes"
    elsewhere.mkdir(parents=True)
    (elsewhere / "My_Show.json").write_text('{"name":"My Show"}')
    with (folder / "global.ini").open("a") as ini:
        ini.write(f"[Locations]\nSceneCollections={tmp_path / 'disk'}\n")
    assert ObsConfig(folder, "OBS").current_collection().path.parent == elsewhere


def test_windows_python_is_set_and_taken_back(
    folder: Path, tmp_path: Path, make: Callable[..., Installer], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "Python310"
    home.mkdir()
    for minor in (10, 12):
        (home / f"python3{minor}.dll").touch()
    monkeypatch.setattr(obs_python, "_usual_folders", lambda system: [home])
    text = "\ufeff" + GLOBAL_INI.replace("\n", "\r\n")
    (folder / "global.ini").write_bytes(text.encode())
    before = _files(folder)
    make(system="windows").install()
    edited = (folder / "global.ini").read_bytes().decode()
    assert edited == text + f"\r\n[Python]\r\nPath64bit={home.as_posix()}\r\n"
    make(system="windows").undo()
    assert _files(folder) == before


def test_a_python_that_obs_can_load_is_kept(
    folder: Path, tmp_path: Path, make: Callable[..., Installer], said: list[str]
) -> None:
    library = tmp_path / "Python.framework/Versions/3.10/lib/libpython3.10.dylib"
    library.parent.mkdir(parents=True)
    library.touch()
    with (folder / "global.ini").open("a") as ini:
        ini.write(f"\n[Python]\nPath64bit={tmp_path}\n")
    before = (folder / "global.ini").read_bytes()
    make(system="macos").install()
    assert (folder / "global.ini").read_bytes() == before
    assert any("Python 3.10" in line for line in said)


@pytest.mark.parametrize(
    ("version", "minor"), [((27, 2), None), ((28, 1), 10), ((29, 0), 10), ((29, 1), 11), ((30, 1), 12), (None, 12)]
)
def test_newest_python_of_each_obs(version: tuple[int, int] | None, minor: int | None) -> None:
    assert obs_python.newest_minor(version) == minor


def test_finds_flatpak_and_prefers_the_one_used_last(tmp_path: Path) -> None:
    native = tmp_path / ".config/obs-studio"
    flatpak = tmp_path / ".var/app/com.obsproject.Studio/config/obs-studio"
    for age, place in enumerate((flatpak, native)):
        place.mkdir(parents=True)
        (place / "global.ini").touch()
        os.utime(place / "global.ini", (1000 - age, 1000 - age))
    assert [config.folder for config in find_configs("linux", tmp_path, {})] == [flatpak, native]
    assert find_configs("windows", tmp_path, {"APPDATA": str(tmp_path / ".config")})[0].folder == native
    assert find_configs("macos", tmp_path, {}) == []


def _process(proc: Path, pid: int, comm: str, env: dict[str, str]) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(comm + "\n")
    (proc / str(pid) / "cmdline").write_bytes(comm.encode() + b"\0")
    (proc / str(pid) / "environ").write_bytes(b"\0".join(f"{k}={v}".encode() for k, v in env.items()))


def test_only_an_obs_with_this_configuration_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(obs_process, "PROC", tmp_path / "proc")
    monkeypatch.setattr(obs_process.sys, "platform", "linux")
    mine = tmp_path / "home/.config/obs-studio"
    mine.mkdir(parents=True)
    _process(tmp_path / "proc", 10, "obs", {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "x")})
    _process(tmp_path / "proc", 11, "bash", {"HOME": str(tmp_path / "home")})
    assert not obs_process.obs_is_running(mine)
    _process(tmp_path / "proc", 12, "obs", {"HOME": str(tmp_path / "home")})
    assert obs_process.obs_is_running(mine)


def test_command_line(folder: Path, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "SCRIPT", script)
    parser = argparse.ArgumentParser()
    install.add_parser(parser.add_subparsers())

    def run(*arguments: str) -> int:
        options = parser.parse_args(["install", "--obs-config", *arguments])
        return int(options.run(options))

    assert run(str(folder.parent), "--dry-run") == 0
    with pytest.raises(ConfigError, match=r"no global\.ini"):
        run(str(folder / "basic"))
    with pytest.raises(ConfigError, match="nothing to undo"):
        run(str(folder), "--undo")


# ---- the editors, on anything that may lie in those files

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries({"path": st.text(min_size=1)}, optional={"settings": JSON})
SCENES = st.builds(
    lambda rest, modules: {**rest, **modules},
    st.dictionaries(st.text(max_size=5), JSON, max_size=4).map(lambda d: {k: d[k] for k in d if k != "modules"}),
    st.just({})
    | st.fixed_dictionaries(
        {
            "modules": st.fixed_dictionaries({"m": JSON}, optional={"scripts-tool": st.lists(ENTRY, max_size=3)})
            | st.just({})
        }
    ),
)
PATH = "/there/obs_twin/obs_twin_script.py"


@given(
    SCENES,
    st.sampled_from([None, 1, 4, "\t"]),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_editing_scripts_touches_nothing_else(
    scenes: dict[str, Any], indent: int | str | None, ascii_only: bool, newline: str, mark: str
) -> None:
    text = mark + json.dumps(scenes, indent=indent, ensure_ascii=ascii_only).replace("\n", newline)
    edited = obs_config.add_script(text, PATH)
    assert obs_config.script_paths(edited) == [*obs_config.script_paths(text), PATH]
    back = json.loads(obs_config.remove_script(edited, PATH).removeprefix("\ufeff"))
    scenes.setdefault("modules", {}).setdefault("scripts-tool", [])
    assert back == scenes
    assert list(back) == list(scenes)


@given(st.text(max_size=60), st.text(alphabet="abc/:. é", min_size=1, max_size=12).map(str.strip).filter(bool))
def test_ini_value_comes_back(text: str, value: str) -> None:
    edited = obs_config.ini_set(text, "Python", "Path64bit", value)
    assert obs_config.ini_get(edited, "python", "path64BIT") == value


def test_ini_edit_keeps_every_other_line() -> None:
    text = "[General]\r\nA=1\r\n\r\n[Basic]\r\nProfile=x\r\n"
    assert obs_config.ini_set(text, "general", "B", "2") == text.replace("A=1\r\n", "A=1\r\nB=2\r\n")
    assert obs_config.ini_unset(text, "GENERAL", "a") == text.replace("A=1\r\n", "")
    assert obs_config.ini_get(text, "Basic", "A") is None

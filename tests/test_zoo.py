"""The model zoo: the list, fetching, checking, and what is said when something is wrong."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obs_twin.link.paths import user_dirs
from obs_twin.zoo import fetch as fetch_module
from obs_twin.zoo.catalogue import LIST_PATH, PackageSource, read_catalogue
from obs_twin.zoo.fetch import Progress
from obs_twin.zoo.provider import available_providers, open_onnx, open_tflite
from obs_twin.zoo.store import ModelError, ModelStore, sha256_of

FIRST, SECOND = b"first model" * 100, b"second model" * 50


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of the network, with one wheel in it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    write_wheel(folder)
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path, first: bytes = FIRST) -> None:
    info = "zoo_test_models-1.0.dist-info"
    with zipfile.ZipFile(folder / "zoo_test_models-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("zoo_test_models/first.tflite", first)
        wheel.writestr("zoo_test_models/second.tflite", SECOND)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: zoo-test-models\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def entry(name: str, content: bytes, **package: object) -> dict[str, Any]:
    source = {"index": "pypi", "package": "zoo-test-models", "version": "1.0", "bytes": 5000}
    return {
        "name": name,
        "what": "a test",
        "licence": "CC0-1.0",
        "author": "nobody",
        "upstream": "https://example.invalid/a-page",
        "file": f"{name}.tflite",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "package": source | {"member": f"zoo_test_models/{name}.tflite"} | package,
    }


@pytest.fixture
def store(tmp_path: Path, wheels: Path) -> ModelStore:
    return make_store(tmp_path, [entry("first", FIRST), entry("second", SECOND)])


def make_store(tmp_path: Path, entries: list[dict[str, Any]]) -> ModelStore:
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"format": 1, "models": entries}))
    return ModelStore(tmp_path / "cache", models)


def leftovers(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").rglob("*")} - {"first.tflite", "second.tflite"}


def test_fetch_then_path(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="obs-twin models fetch first"):
        store.path("first")
    assert [status.state for status in store.list()] == ["missing", "missing"]
    downloads: list[str] = []
    pip_download = fetch_module._pip_download

    def counted(source: PackageSource, work: Path, title: str, progress: Progress | None) -> Path:
        downloads.append(title)
        return pip_download(source, work, title, progress)

    monkeypatch.setattr(fetch_module, "_pip_download", counted)
    seen: list[tuple[str, int, int]] = []
    paths = store.fetch(progress=lambda what, done, total: seen.append((what, done, total)))
    assert [path.read_bytes() for path in paths] == [FIRST, SECOND]
    assert downloads == ["zoo-test-models 1.0"]  # one download serves both
    assert seen[-1][1] == seen[-1][2]
    assert [status.state for status in store.verify()] == ["ready", "ready"]
    assert leftovers(tmp_path) == set()
    store.fetch()
    assert len(downloads) == 1
    paths[0].write_bytes(b"x")
    assert store.fetch(["first"])[0].read_bytes() == FIRST
    assert len(downloads) == 2


def test_path_is_checked_once_and_again_after_a_change(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.fetch()
    fresh = ModelStore(store.path("first").parent, store._list_path)
    count = 0

    def counted(path: Path) -> str:
        nonlocal count
        count += 1
        return sha256_of(path)

    monkeypatch.setattr("obs_twin.zoo.store.sha256_of", counted)
    for _ in range(5):
        path = fresh.path("first")
    assert count == 1
    raw = bytearray(FIRST)
    raw[7] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ModelError, match=r"has been changed: expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"):
        fresh.path("first")
    path.write_bytes(FIRST[:-1])
    with pytest.raises(ModelError, match=r"truncated: expected 1100 bytes, found 1099"):
        fresh.path("first")
    assert {status.state for status in fresh.list()} == {"damaged", "ready"}


def test_wrong_bytes_in_the_package(store: ModelStore, wheels: Path, tmp_path: Path) -> None:
    for other, words in ((FIRST[:-5], "truncated"), (FIRST + b"x", "not the right file"), (FIRST[::-1], "changed")):
        write_wheel(wheels, other)
        with pytest.raises(ModelError, match=words):
            store.fetch(["first"])
        assert leftovers(tmp_path) == set()
        assert not (tmp_path / "cache" / "first.tflite").exists()


def test_no_network_and_no_package(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in wheels.iterdir():
        path.unlink()
    store = make_store(tmp_path, [entry("first", FIRST)])
    with pytest.raises(ModelError) as caught:
        store.fetch()
    message = str(caught.value)
    assert "'first' could not be fetched" in message
    assert "from a package: zoo-test-models 1.0 was not found" in message
    assert "a page to read" in message
    assert "network" in message
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(ModelError, match="no connection to the package registry"):
        store.fetch()
    assert leftovers(tmp_path) == set()


def test_leftovers_of_a_killed_fetch_are_swept(store: ModelStore, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "fetch-old").mkdir(parents=True)
    (cache / "first.tflite.1.part").write_bytes(b"x")
    (cache / "second.tflite.2.part").write_bytes(b"young")
    for old in (cache / "fetch-old", cache / "first.tflite.1.part"):
        os.utime(old, (1, 1))
    store.fetch(["first"])
    assert leftovers(tmp_path) == {"second.tflite.2.part"}


def test_a_member_that_is_not_there(tmp_path: Path, wheels: Path) -> None:
    store = make_store(tmp_path, [entry("first", FIRST, member="zoo_test_models/other.tflite")])
    with pytest.raises(ModelError, match=r"no file 'zoo_test_models/other\.tflite'"):
        store.fetch()


def test_a_package_may_be_the_model(tmp_path: Path, wheels: Path) -> None:
    content = next(wheels.iterdir()).read_bytes()
    store = make_store(tmp_path, [entry("first", content, member=None)])
    assert store.fetch()[0].read_bytes() == content


def test_full_disk(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("obs_twin.zoo.fetch.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ModelError, match="too full"):
        store.fetch()


def test_a_disk_that_fills_up_while_storing(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("obs_twin.zoo.store.os.replace", full)
    with pytest.raises(ModelError, match=r"No space left on device.*OBS_TWIN_CACHE"):
        store.fetch()


def test_pip_messages() -> None:
    def fault(said: str) -> str:
        return fetch_module._pip_fault(said, "x 1.0")

    assert "ensurepip" in fault("/usr/bin/python3: No module named pip")
    assert "disk became full" in fault("ERROR: Could not install: [Errno 28] No space left on device")
    assert "no connection" in fault("WARNING: Retrying ... NewConnectionError")
    assert fault("noise\nERROR: No matching distribution").endswith("ERROR: No matching distribution")
    assert fault("").endswith("no message")


def test_a_model_of_the_project_lies_beside_the_list(tmp_path: Path) -> None:
    item = entry("first", FIRST) | {"package": None, "upstream": ""}
    store = make_store(tmp_path, [item])
    with pytest.raises(ModelError):
        store.fetch()
    (tmp_path / "first.tflite").write_bytes(FIRST)
    assert store.fetch() == (tmp_path / "first.tflite",)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 9, "models": []}', '{"format": 1, "models": [{"name": "x"}]}', "\xff"]
)
def test_a_bad_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"models\.json"):
        ModelStore(tmp_path, path)


def test_the_real_list() -> None:
    entries = read_catalogue(LIST_PATH)
    for name in ("face_detection_short_range", "face_landmark", "iris_landmark", "selfie_segmentation_landscape"):
        assert name in entries
    for item in entries.values():
        assert len(item.sha256) == 64
        assert item.bytes > 0
        assert item.licence
        assert item.upstream.startswith("https://") or item.package is None
        assert dataclasses.is_dataclass(item)


def test_unknown_name(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="first, second"):
        store.path("third")


# --- opening ------------------------------------------------------------------------------------------------


def add_one_model() -> bytes:
    """An ONNX model y = x + 1, written byte by byte as protobuf, so that no converter is needed."""

    def field(number: int, content: bytes | int | str) -> bytes:
        if isinstance(content, int):
            return bytes([number << 3, content])
        raw = content.encode() if isinstance(content, str) else content
        return bytes([number << 3 | 2, len(raw)]) + raw

    one = field(1, 1) + field(2, 1) + field(9, np.array([1], np.float32).tobytes()) + field(8, "one")
    node = field(1, "x") + field(1, "one") + field(2, "y") + field(4, "Add")

    def value(name: str) -> bytes:
        shape = field(1, field(2, "n"))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))

    graph = field(1, node) + field(2, "g") + field(5, one) + field(11, value("x")) + field(12, value("y"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


def test_onnx_says_which_provider_ran(tmp_path: Path) -> None:
    path = tmp_path / "add.onnx"
    path.write_bytes(add_one_model())
    model = open_onnx(path, providers=["NoSuchProvider", "CUDAExecutionProvider"])
    assert model.inputs == {"x": (None,)}
    assert list(model.outputs) == ["y"]
    assert model.provider.endswith("not run yet")
    (y,) = model.run({"x": np.array([1, 2], np.float32)})
    assert y.tolist() == [2, 3]
    assert model.provider.startswith("ONNX Runtime")
    assert "not run" not in model.provider
    with pytest.raises(ModelError, match=r"add\.onnx failed while running"):
        model.run({"z": np.array([1], np.float32)})
    assert "CPUExecutionProvider" in available_providers()


@pytest.mark.parametrize("content", [b"", b"hello", add_one_model()[:-10], add_one_model()[:20]])
def test_damaged_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        open_onnx(path)


def test_damaged_tflite(tmp_path: Path) -> None:
    path = tmp_path / "bad.tflite"
    for content in (b"", b"hello world", b"\x1c\0\0\0TFL3" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.tflite"):
            open_tflite(path)
    with pytest.raises(ModelError, match="obs-twin models fetch"):
        open_tflite(tmp_path / "absent.tflite")


def test_a_real_tflite_and_its_truncated_copy(tmp_path: Path) -> None:
    store = ModelStore()
    path = store.fetch(["face_landmark"])[0]
    model = open_tflite(path)
    mesh, flag = model.run(np.zeros((1, 192, 192, 3), np.float32))
    assert mesh.size == 1404
    assert flag.size == 1
    assert model.provider == "LiteRT, CPU"
    with pytest.raises(ModelError, match=r"\(1, 192, 192, 3\)"):
        model.run(np.zeros((1, 10, 10, 3), np.float32))
    # LiteRT itself may crash on a truncated file, so this is tried in a process of its own.
    short = tmp_path / "short.tflite"
    short.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    script = (
        f"from obs_twin.zoo.provider import open_tflite; from pathlib import Path; open_tflite(Path({str(short)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ModelError" in done.stderr


# --- the user's folders -------------------------------------------------------------------------------------


def test_folders() -> None:
    home = {"HOME": "/home/ada", "USERPROFILE": "/home/ada"}
    linux = user_dirs(home, "linux")
    assert linux.packs == Path("/home/ada/.local/share/obs-twin/twins")
    assert linux.models == Path("/home/ada/.cache/obs-twin/models")
    assert linux.state == Path("/home/ada/.local/state/obs-twin")
    moved = user_dirs(home | {"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "relative"}, "linux")
    assert moved.config == Path("/c/obs-twin")
    assert moved.data == linux.data
    flatpak = home | {"FLATPAK_ID": "com.obsproject.Studio", "XDG_DATA_HOME": "/home/ada/.var/app/x/data"}
    assert user_dirs(flatpak, "linux") == linux
    assert user_dirs(home, "darwin").data == Path("/home/ada/Library/Application Support/obs-twin/data")
    windows = user_dirs({"APPDATA": "/r", "LOCALAPPDATA": "/l"}, "win32")
    assert windows.config == Path("/r/obs-twin/config")
    assert windows.cache == Path("/l/obs-twin/cache")
    thrown_away = user_dirs({"OBS_TWIN_HOME": "/t", "OBS_TWIN_CACHE": "/shared"}, "linux")
    assert thrown_away.state == Path("/t/state")
    assert thrown_away.cache == Path("/shared")

"""Models that are cut from fetched ones: built once, cached under their own name, built anew when anything changes."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from obs_twin.zoo import derive
from obs_twin.zoo.derive import Derived, derived_path, sources_of
from obs_twin.zoo.fetch import fetch_entries
from obs_twin.zoo.provider import open_onnx
from obs_twin.zoo.store import ModelError, ModelStore
from obs_twin.zoo.whisper_encoder_onnx import CHANGES, WEIGHTS, read_weights


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """A store with one model, "source", that lies there."""
    content = b"the source"
    entry = {
        "name": "source",
        "what": "a test",
        "licence": "CC0-1.0",
        "author": "nobody",
        "upstream": "https://example.invalid/a-page",
        "file": "source.bin",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "package": None,
    }
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"format": 1, "models": [entry]}))
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "source.bin").write_bytes(content)
    return ModelStore(cache, models)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A derived model "upper" of the source; the list counts how often it was built."""
    counted: list[int] = []

    def build(sources: Mapping[str, Path]) -> bytes:
        counted.append(1)
        return sources["source"].read_bytes().upper()

    monkeypatch.setattr(derive, "DERIVED", {"upper": Derived("a test", ("source",), 1, build)})
    return counted


def test_built_once_and_rebuilt_when_damaged(store: ModelStore, builds: list[int]) -> None:
    path = derived_path("upper", store)
    assert path.read_bytes() == b"THE SOURCE"
    assert derived_path("upper", store) == path
    assert len(builds) == 1
    path.write_bytes(b"THE SO")
    assert derived_path("upper", store).read_bytes() == b"THE SOURCE"
    assert len(builds) == 2


def test_a_new_version_replaces_the_old_file(
    store: ModelStore, builds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = derived_path("upper", store)
    newer = Derived("a test", ("source",), 2, lambda sources: b"newer")
    monkeypatch.setattr(derive, "DERIVED", {"upper": newer})
    new = derived_path("upper", store)
    assert new != old
    assert new.read_bytes() == b"newer"
    assert not old.exists()


def test_faults_are_told_in_words(store: ModelStore, builds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"no derived model called 'lower'.*upper"):
        derived_path("lower", store)

    def broken(sources: Mapping[str, Path]) -> bytes:
        raise ValueError("no such tensor")

    monkeypatch.setattr(derive, "DERIVED", {"upper": Derived("a test", ("source",), 1, broken)})
    with pytest.raises(ModelError, match=r"cannot be built from source .*no such tensor"):
        derived_path("upper", store)
    (store.cache_dir / "source.bin").unlink()
    with pytest.raises(ModelError, match="not on this machine"):
        derived_path("upper", store)


def test_sources_of_names() -> None:
    assert sources_of(["silero_vad", "whisper_taps", "silero_vad"]) == ["silero_vad", *WEIGHTS, CHANGES]


def test_an_installed_package_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    entry = ModelStore().entry("hibari_tts")
    path = fetch_entries([entry], tmp_path)["hibari_tts"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


def test_hibari_decoder_gives_the_same_spectra_as_the_whole_voice() -> None:
    decoder = open_onnx(derived_path("hibari_decoder"), providers=[])
    frames = 24
    rng = np.random.default_rng(0)
    feeds = {
        "content": rng.standard_normal((1, 128, frames)).astype(np.float32),
        "f0_hz": np.full((1, frames), 200, np.float32),
        "energy": np.full((1, frames), 4, np.float32),
    }
    spectra = decoder.run(feeds)
    assert list(decoder.outputs) == ["lh", "theta", "ln", "lr", "phi"]
    assert all(part.shape == (1, 601, frames) and np.isfinite(part).all() for part in spectra)


def test_whisper_taps_count_of_frames() -> None:
    encoder = open_onnx(derived_path("whisper_taps"), providers=[])
    mel = np.random.default_rng(0).standard_normal((1, 80, 132)).astype(np.float32)
    past = {name: np.zeros((1, 7, 512), np.float32) for name in encoder.inputs if name.startswith("past_")}
    *taps, key = encoder.run({"mel": mel, "first": np.array([20]), **past}, ["layer_3", "last", "k0"])
    assert len(past) == 12
    assert {tap.shape for tap in (*taps, key)} == {(1, 132 // 2 - 2, 512)}


def test_whisper_weights_that_are_cut_short_or_others_are_refused() -> None:
    name = b"encoder/conv1/bias\0"
    numbers = np.arange(4, dtype=np.float16)
    head = struct.pack("<IH5sIIH19s", 6, 5, b"Spec\0", 3, 1, len(name), name)
    content = head + struct.pack("<BIBI", 1, 4, 4, numbers.nbytes) + numbers.tobytes()
    assert read_weights(content)["encoder/conv1/bias"].tolist() == [0, 1, 2, 3]
    for wrong in (content[:-1], content[:30], b"", struct.pack("<I", 5) + content[4:]):
        with pytest.raises(ValueError, match="CTranslate2"):
            read_weights(wrong)

"""`obs-twin twin new --dfm`: a model brought along becomes a signed pack that draws."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from obs_twin.cli.dfm import _FACE_TYPES
from obs_twin.cli.main import main
from obs_twin.face.dfm.align import FACE_TYPES
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import open_face
from obs_twin.link.paths import user_dirs
from obs_twin.twin.pack import list_packs, open_pack
from tests.dfm_models import write
from tests.test_face_perceive import new_perceiver


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    """Made before the home folder is another one, since its networks lie there."""
    return new_perceiver()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def new(monkeypatch: pytest.MonkeyPatch, *options: str | Path, answers: str = "ada  lovelace\ni AGREE\n") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    fixed = ("--subject", "Ada Lovelace", "--operator", "Grace Hopper")
    return main(["twin", "new", "ada", *fixed, *map(str, options)])


def test_a_model_becomes_a_pack_with_consent(
    perceiver: FacePerceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "trained.dfm", side=96, morph=1)
    assert new(monkeypatch, "--dfm", path, "--face-type", "full") == 0
    shown = capsys.readouterr().out
    assert "A 96 x 96 AMP model" in shown
    assert "Face type: full" in shown
    assert "It was tried on ONNX Runtime" in shown
    (info,) = list_packs()
    assert (info.face_kind, info.problem) == ("dfm", "")
    with open_pack(user_dirs().packs / "ada") as pack:
        assert pack.kind("face") == "dfm"
        assert pack.record is not None
        twin = open_face("dfm", pack.paths("face"), perceiver)
        assert "96 x 96" in twin.description  # type: ignore[attr-defined]
        assert twin._model.layout.face_type == "full"  # type: ignore[attr-defined]
        (pack.folder / "face" / "model.dfm").write_bytes(b"another")
    assert main(["twin", "verify", "ada"]) != 0


def test_without_consent_there_is_no_twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "trained.dfm")
    assert new(monkeypatch, "--dfm", path, answers="ada lovelace\nno\n") != 0
    assert not list_packs()


def test_what_is_no_model_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.dfm"
    broken.write_bytes(np.random.default_rng(0).bytes(5000))
    whole = write(tmp_path / "whole.dfm")
    cases = {
        "was not accepted": ("--dfm", broken),
        "--face-type belongs": ("--face-type", "head", "--voice-target", whole),
        "one face": ("--dfm", whole, "--photo", broken),
    }
    for words, options in cases.items():
        assert new(monkeypatch, *options) != 0
        assert words in capsys.readouterr().err
    assert not list_packs()


def test_the_face_types_are_those_of_the_model() -> None:
    assert _FACE_TYPES == FACE_TYPES

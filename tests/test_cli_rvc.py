"""`obs-twin twin new --rvc`: a voice brought along, shown, agreed to, and opened from the pack."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from obs_twin.cli.main import main
from obs_twin.link.paths import user_dirs
from obs_twin.twin.pack import open_pack
from obs_twin.voice.registry import open_voice
from tests import rvc_models as models


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    np.save(tmp_path / "total_fea.npy", np.zeros((20, 768), np.float32))
    return {
        "rvc": models.synthesizer(tmp_path / "ada_v2.onnx", models.W_OKADA),
        "content": models.content(tmp_path / "vec-768-layer-12.onnx"),
        "rmvpe": models.rmvpe(tmp_path / "rmvpe.onnx", mel=True, salience=True, threshold=False),
        "index": tmp_path / "total_fea.npy",
    }


def new(monkeypatch: pytest.MonkeyPatch, answers: str, *options: str | Path) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    return main(["twin", "new", "ada", "--subject", "Ada Lovelace", "--operator", "Grace Hopper", *map(str, options)])


def test_an_rvc_voice_is_bound_agreed_to_and_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: dict[str, Path]
) -> None:
    given = [text for name, path in files.items() for text in (f"--{name}", path)]
    signed = "Ada Lovelace\nI agree\n"
    assert new(monkeypatch, signed, *given, "--pitch", "12", "--f0-method", "rmvpe", "--index-rate", "0.5") == 0
    shown = capsys.readouterr().out
    for words in ("RVC v2, with pitch, 40000 Hz", "feats float32", "hears 220 Hz", "Index: 20 frames", "my voice"):
        assert words in shown
    with open_pack(user_dirs().packs / "ada") as pack:
        assert pack.kind("voice") == "rvc"
        by_role = {path.stem: path for path in pack.paths("voice")}
        voice = open_voice("rvc", by_role, sample_rate_hz=48_000, delay_budget_ms=410)
        assert "rmvpe" in voice.provider
        assert voice._set.pitch == 12  # type: ignore[attr-defined]


def test_what_is_not_accepted_makes_no_twin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(files["rvc"].read_bytes()[:500])
    for options, words in (
        (["--rvc", files["rvc"]], "--content FILE.onnx"),
        (["--pitch", "12"], "a face or a voice"),
        (["--rvc", cut, "--content", files["content"]], "truncated"),
        (["--rvc", files["content"], "--content", files["rvc"]], "Expected the inputs"),
        (["--rvc", files["rvc"], "--content", tmp_path / "none.onnx"], "cannot be read"),
        (["--rvc", files["rvc"], "--content", files["content"], "--protect", "3"], "from 0 to 0.5"),
        ([], "a face or a voice"),
    ):
        assert new(monkeypatch, "", *options) == 1
        assert words in capsys.readouterr().err
    assert new(monkeypatch, "no\n", "--rvc", files["rvc"], "--content", files["content"]) == 1
    assert not (user_dirs().packs / "ada").exists()

"""`obs-twin twin new --voice`: from recordings to a pack that opens, and what is refused on the way."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from obs_twin.cli.main import main
from obs_twin.link.paths import user_dirs
from obs_twin.twin.pack import open_pack
from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, SAMPLE_RATE_HZ, speak
from obs_twin.voice.listening import ENCODER
from obs_twin.voice.registry import open_voice
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import sources_of
from obs_twin.zoo.store import ModelStore, sha256_of

torch = pytest.importorskip("torch")

TEXTS = (
    "Every morning the harbour wakes up slowly, and the first boats go out before the sun has risen.",
    "Nobody had expected that the small museum would stay open through such a long winter.",
)
CONSENT = "I agree that a digital twin of my voice is made, and that it is used."
ADA = ("new", "ada", "--subject", "Ada Lovelace", "--operator", "Grace Hopper")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A throw-away home that shares the fetched models."""
    cache = user_dirs().cache
    try:
        ModelStore().fetch(["silero_vad", "resemblyzer", "dnsmos_p835", *sources_of([ENCODER]), "hibari_tts"])
        ModelStore().path("voice_adapter")
    except ModelError as error:
        pytest.skip(f"a model cannot be had: {error}")
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OBS_TWIN_CACHE", str(cache))
    return tmp_path / "home"


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for index, text in enumerate(TEXTS):
        soundfile.write(str(folder / f"{index}.flac"), speak(text).samples, SAMPLE_RATE_HZ)
    return folder


@pytest.fixture
def his(tmp_path: Path) -> Path:
    speech = speak(CONSENT, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio)
    soundfile.write(str(tmp_path / "his.wav"), speech.samples, SAMPLE_RATE_HZ)
    return tmp_path / "his.wav"


def run(monkeypatch: pytest.MonkeyPatch, answers: str, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    return main(["twin", *map(str, arguments)])


def test_a_voice_is_learnt_signed_and_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recordings: Path, tmp_path: Path
) -> None:
    spoken = tmp_path / "consent.wav"
    soundfile.write(str(spoken), speak(CONSENT).samples, SAMPLE_RATE_HZ)
    answers = "I agree\nAda Lovelace\nI agree\n"
    options = ("--voice", recordings, "--minutes", "0.05", "--consent-audio", spoken)
    assert run(monkeypatch, answers, *ADA, *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "from 2 recordings" in shown
    assert "one minute of quiet reading would help" in shown
    assert "Likeness" in shown
    assert "the same voice" in shown
    assert "recordings of my voice" in shown
    with open_pack(user_dirs().packs / "ada") as pack:
        assert pack.kind("voice") == "neural"
        files = {path.stem: path for path in pack.paths("voice")}
        assert set(files) == {"decoder", "target", "enrolment", "sample"}
        assert pack.record is not None
        assert pack.record.clip is not None
        assert pack.record.clip.sha256 == sha256_of(spoken)
        assert json.loads(files["enrolment"].read_text())["adapter_sha256"]
        assert soundfile.info(str(files["sample"])).duration > 5
        voice = open_voice("neural", files, sample_rate_hz=48_000, delay_budget_ms=400)
        sound = np.concatenate([voice.push(np.zeros(24_000, np.float32)), voice.flush()])
        assert len(sound) == 24_000
    assert not (user_dirs().state / "enrolment" / "ada").exists()


def test_without_consent_there_is_no_voice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recordings: Path, his: Path
) -> None:
    options = ("--voice", recordings, "--minutes", "0.05")
    assert run(monkeypatch, "no\n", *ADA, *options) == 1
    assert "not agreed" in capsys.readouterr().err
    assert run(monkeypatch, "I agree\n", *ADA, *options, "--consent-audio", his) == 1
    assert "only the person whose voice it is can agree" in capsys.readouterr().err
    assert not (user_dirs().packs / "ada").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "a face or a voice"),
        (("--minutes", "3"), "a face or a voice"),
        (("--voice", "x.wav", "--voice-target", "x.json"), "one voice"),
        (("--voice", "x.wav", "--minutes", "0"), "--minutes should be"),
        (("--voice", "x.wav", "--clip", "a.wav", "--consent-audio", "b.wav"), "not both"),
        (("--voice", "absent.wav"), "no file or folder"),
    ],
)
def test_wrong_options_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert run(monkeypatch, "I agree\n", *ADA, *options) == 1
    assert words in capsys.readouterr().err
    assert not (user_dirs().packs / "ada").exists()


def test_training_asks_for_pytorch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recordings: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(monkeypatch, "I agree\n", *ADA, "--voice", recordings) == 1
    assert "pip install torch==" in capsys.readouterr().err

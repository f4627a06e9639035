"""The target's statistics: measured, stored, and refused when they make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, speak
from obs_twin.voice.model import VoiceModelError, VoiceSettings
from obs_twin.voice.registry import open_voice
from obs_twin.voice.target import VoiceTarget, analyse

TEXT = "The morning train was late, so we walked along the river and talked about the weather."


@pytest.fixture(scope="module")
def woman() -> VoiceTarget:
    speech = speak(TEXT)
    return analyse(speech.samples, speech.sample_rate_hz)


def test_pitch_and_spectrum_tell_two_speakers_apart(woman: VoiceTarget) -> None:
    speech = speak(TEXT, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio)
    man = analyse(speech.samples, speech.sample_rate_hz)
    assert 160 < woman.f0_hz < 240
    assert 90 < man.f0_hz < 135
    assert 0.8 < man.formant_hz / woman.formant_hz < 0.95
    assert np.abs(np.subtract(woman.cepstrum_mean, man.cepstrum_mean)).max() > 0.1


def test_the_rate_of_the_recording_does_not_matter(woman: VoiceTarget) -> None:
    import soxr

    speech = speak(TEXT)
    other = analyse(soxr.resample(speech.samples, speech.sample_rate_hz, 44_100), 44_100)
    assert other.f0_hz == pytest.approx(woman.f0_hz, rel=0.02)
    assert np.abs(np.subtract(woman.cepstrum_mean, other.cepstrum_mean)).max() < 0.2


def test_loudness_does_not_matter(woman: VoiceTarget) -> None:
    speech = speak(TEXT)
    quiet = analyse(speech.samples * np.float32(0.1), speech.sample_rate_hz)
    assert quiet.cepstrum_mean == pytest.approx(woman.cepstrum_mean, abs=0.05)


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(48_000), np.full(48_000, np.nan), np.random.default_rng(0).normal(0, 0.1, 48_000)]
)
def test_too_little_speech_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(VoiceModelError, match="too little speech"):
        analyse(samples.astype(np.float32), 24_000)


def test_saved_and_loaded_it_is_the_same(woman: VoiceTarget, tmp_path: Path) -> None:
    woman.save(tmp_path / "target.json")
    assert VoiceTarget.load(tmp_path / "target.json") == woman


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something else"}, "is not a voice target"),
        ({"version": 99}, "version 99"),
        ({"log_f0_mean": None}, "log_f0_mean must be a number"),
        ({"formant_hz": 1e9}, "formant_hz must be a number from"),
        ({"log_f0_mean": 40.0}, "log_f0_mean must be a number from"),
        ({"log_f0_deviation": float("nan")}, "log_f0_deviation"),
        ({"cepstrum_mean": [1.0, 2.0]}, "cepstrum_mean must be a list of"),
        ({"cepstrum_deviation": ["a"] * 24}, "cepstrum_deviation must be a number"),
        ({"cepstrum_mean": 5}, "cepstrum_mean must be a list"),
    ],
)
def test_a_damaged_file_is_refused_in_words(
    woman: VoiceTarget, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "target.json"
    woman.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(VoiceModelError, match=message):
        VoiceTarget.load(path)


def test_a_missing_key_is_named(woman: VoiceTarget, tmp_path: Path) -> None:
    path = tmp_path / "target.json"
    woman.save(path)
    document = json.loads(path.read_text())
    del document["log_f0_mean"]
    path.write_text(json.dumps(document))
    with pytest.raises(VoiceModelError, match="lacks log_f0_mean"):
        VoiceTarget.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "target.json"
    path.write_bytes(content)
    with pytest.raises(VoiceModelError):
        VoiceTarget.load(path)


def test_opening_says_what_is_wrong(woman: VoiceTarget, tmp_path: Path) -> None:
    path = tmp_path / "target.json"
    woman.save(path)
    files = {"target": path}
    assert open_voice("world", files, sample_rate_hz=48_000, delay_budget_ms=300).sample_rate_hz == 48_000
    with pytest.raises(VoiceModelError, match='unknown kind of voice "magic"'):
        open_voice("magic", files, sample_rate_hz=48_000, delay_budget_ms=300)
    with pytest.raises(VoiceModelError, match='needs the file "target"'):
        open_voice("world", {}, sample_rate_hz=48_000, delay_budget_ms=300)
    with pytest.raises(VoiceModelError, match="cannot read"):
        open_voice("world", {"target": tmp_path / "none.json"}, sample_rate_hz=48_000, delay_budget_ms=300)
    with pytest.raises(VoiceModelError, match="raise the delay"):
        open_voice("world", files, sample_rate_hz=48_000, delay_budget_ms=100)
    with pytest.raises(VoiceModelError, match="sample rate"):
        open_voice("world", files, sample_rate_hz=100, delay_budget_ms=300)


@pytest.mark.parametrize(
    "wrong", [{"pitch_semitones": 40.0}, {"formant_ratio": float("nan")}, {"timbre_strength": 2.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VoiceModelError, match="must be between"):
        VoiceSettings(**wrong)  # type: ignore[arg-type]

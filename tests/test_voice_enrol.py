"""Enrolment: what is chosen from recordings, and what a short training makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, SAMPLE_RATE_HZ, speak
from obs_twin.voice.activity import SpeechDetector
from obs_twin.voice.enrol.bandwidth import bandwidth_hz
from obs_twin.voice.enrol.reading import find_recordings, read_recording
from obs_twin.voice.enrol.sample import advice
from obs_twin.voice.enrol.selection import OTHER_VOICE, check_spoken_consent, require_same_person, select
from obs_twin.voice.enrol.speech import find_speech
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.speaker import SpeakerEmbedder
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.store import ModelStore

TEXTS = (
    "Every morning the harbour wakes up slowly, and the first boats go out before the sun has risen.",
    "Nobody had expected that the small museum would stay open through such a long winter.",
    "She put the letters back into their box, closed the lid, and went down to the kitchen.",
)


@pytest.fixture(scope="module")
def store() -> ModelStore:
    found = ModelStore()
    try:
        found.fetch(["silero_vad", "resemblyzer"])
    except ModelError as error:
        pytest.skip(f"a model cannot be had: {error}")
    return found


@pytest.fixture(scope="module")
def detector(store: ModelStore) -> SpeechDetector:
    return SpeechDetector(store.path("silero_vad"))


@pytest.fixture(scope="module")
def embedder(store: ModelStore) -> SpeakerEmbedder:
    return SpeakerEmbedder(store.path("resemblyzer"))


@pytest.fixture(scope="module")
def woman() -> list[F32]:
    return [speak(text).samples for text in TEXTS]


@pytest.fixture(scope="module")
def man() -> F32:
    return speak(TEXTS[0], pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio).samples


def write(path: Path, samples: F32, rate_hz: int = SAMPLE_RATE_HZ) -> Path:
    soundfile.write(str(path), samples, rate_hz)
    return path


def test_reading(tmp_path: Path) -> None:
    tone = (0.3 * np.sin(np.arange(44100) * 2 * np.pi * 440 / 44100)).astype(np.float32)
    one_sided = write(tmp_path / "left.wav", np.stack([tone, np.zeros_like(tone)], 1), 44100)
    recording = read_recording(one_sided)
    assert recording.rate_hz == 44100
    assert len(recording.samples) == 24000
    assert np.abs(recording.samples).max() == pytest.approx(0.3, abs=0.01)
    assert not recording.clipped.any()
    loud = read_recording(write(tmp_path / "loud.flac", np.clip(tone * 6, -0.99, 0.99), 44100))
    assert loud.clipped.mean() > 0.3
    compressed = read_recording(write(tmp_path / "tone.mp3", tone, 44100))
    assert compressed.duration_s == pytest.approx(1.0, abs=0.1)
    assert len(find_recordings([tmp_path])) == 3


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(VoiceModelError, match="no recording in it"):
        find_recordings([tmp_path])
    with pytest.raises(VoiceModelError, match="no file or folder"):
        find_recordings([tmp_path / "absent.wav"])
    for name in ("broken.wav", "broken.m4a", "notes.txt"):
        (tmp_path / name).write_bytes(b"this is no sound" * 20)
        with pytest.raises(VoiceModelError, match=name.replace(".", r"\.")):
            read_recording(tmp_path / name)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(VoiceModelError, match="empty"):
        read_recording(tmp_path / "empty.wav")


def test_speech_is_found_and_judged(tmp_path: Path, woman: list[F32], detector: SpeechDetector) -> None:
    random = np.random.default_rng(0)
    hiss = (random.standard_normal(SAMPLE_RATE_HZ * 2) * 1e-3).astype(np.float32)
    clean = np.concatenate([hiss, woman[0], hiss])
    stretches = find_speech(read_recording(write(tmp_path / "clean.wav", clean)), detector)
    found_s = sum(stretch.duration_s for stretch in stretches)
    assert found_s == pytest.approx(len(woman[0]) / SAMPLE_RATE_HZ, abs=1.0)
    assert stretches[0].start_s == pytest.approx(2.0, abs=0.4)
    assert all(stretch.fault == "" and stretch.snr_db > 25 for stretch in stretches)
    noisy = clean + random.standard_normal(len(clean)).astype(np.float32) * 0.02
    assert all("noisy" in s.fault for s in find_speech(read_recording(write(tmp_path / "n.wav", noisy)), detector))
    clipped = np.clip(clean * 12, -0.9, 0.9)
    assert any("too loud" in s.fault for s in find_speech(read_recording(write(tmp_path / "c.wav", clipped)), detector))
    assert find_speech(read_recording(write(tmp_path / "hiss.wav", hiss)), detector) == []


def test_other_people_are_left_out(
    tmp_path: Path, woman: list[F32], man: F32, detector: SpeechDetector, embedder: SpeakerEmbedder
) -> None:
    pause = np.zeros(SAMPLE_RATE_HZ, np.float32)
    write(tmp_path / "a.wav", np.concatenate([woman[0], pause, man, pause]))
    write(tmp_path / "b.wav", np.concatenate([woman[1], pause, woman[2]]))
    (tmp_path / "c.wav").write_bytes(b"nothing")
    selection = select([tmp_path], detector, embedder)
    assert selection.used_s == pytest.approx(sum(map(len, woman)) / SAMPLE_RATE_HZ, rel=0.25)
    assert {reason for _, reason in selection.left_out} == {OTHER_VOICE}
    text = "\n".join(selection.describe())
    assert "from 2 recordings" in text
    assert "another voice" in text
    assert "a.wav at 0:" in text
    assert "c.wav" in text
    # Known to be the man, his voice is what is looked for, and there is too little of it.
    with pytest.raises(VoiceModelError, match="usable speech"):
        select([tmp_path], detector, embedder, known=embedder.embed(man, SAMPLE_RATE_HZ))


def test_spoken_consent(
    tmp_path: Path, woman: list[F32], man: F32, detector: SpeechDetector, embedder: SpeakerEmbedder
) -> None:
    voice = embedder.embed_speaker([woman[0], woman[1]], SAMPLE_RATE_HZ)
    hers, his = write(tmp_path / "hers.wav", woman[2]), write(tmp_path / "his.wav", man)
    assert require_same_person(check_spoken_consent(hers, detector, embedder), voice, hers) > 0.8
    with pytest.raises(VoiceModelError, match="another voice"):
        require_same_person(check_spoken_consent(his, detector, embedder), voice, his)
    silent = write(tmp_path / "silent.wav", np.zeros(SAMPLE_RATE_HZ * 4, np.float32))
    with pytest.raises(VoiceModelError, match=r"0\.0 s of speech"):
        check_spoken_consent(silent, detector, embedder)


def test_bandwidth(woman: list[F32]) -> None:
    import soxr

    narrow = soxr.resample(soxr.resample(woman[0], SAMPLE_RATE_HZ, 8000), 8000, SAMPLE_RATE_HZ)
    assert 3500 < bandwidth_hz([narrow]) < 4500
    assert bandwidth_hz(woman) > 8000


def test_advice() -> None:
    assert advice(90, 40, 12000, 0.9, []) == []
    assert "20 s of speech is little" in advice(20, 40, 12000, 0.9, [])[0]
    assert "quieter room" in " ".join(advice(90, 16, 12000, 0.9, []))
    assert "4.0 kHz" in " ".join(advice(90, 40, 4000, 0.9, []))
    assert "level down" in " ".join(advice(90, 40, 12000, 0.9, ["distorted (recorded too loud)"]))

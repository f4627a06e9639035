"""`obs-twin convert` and `obs-twin say`: behind the consent gate, with the notice, marked in the metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from obs_twin.cli.convert import read_mono
from obs_twin.cli.errors import CommandError
from obs_twin.cli.main import main
from obs_twin.engine.notices import spoken_notice
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.twin.log import SessionLog
from obs_twin.twin.make import PartFiles, write_pack
from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, speak
from obs_twin.voice.frames import FRAME_HOP, WORK_RATE_HZ
from obs_twin.voice.pitch import track
from obs_twin.voice.target import VoiceTarget, analyse


@pytest.fixture(scope="module")
def woman(tmp_path_factory: pytest.TempPathFactory) -> Path:
    speech = speak("The morning train was late, so we walked along the river and talked about the weather.")
    path = tmp_path_factory.mktemp("voice") / "target.json"
    analyse(speech.samples, speech.sample_rate_hz).save(path)
    return path


@pytest.fixture(autouse=True)
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, woman: Path) -> None:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    part = PartFiles("voice", "world", {"voice/target.json": woman}, "test")
    folder = ensure(user_dirs().packs) / "nova"
    write_pack(folder, name="nova", display_name="Nova", subject_kind="synthetic", parts=[part])


@pytest.fixture(scope="module")
def man() -> tuple[np.ndarray, int]:
    speech = speak("Everybody knows that numbers never lie.", pitch_ratio=ACTOR_SPEAKER.pitch_ratio)
    return speech.samples, speech.sample_rate_hz


def f0_hz(x: np.ndarray, rate: int) -> float:
    import soxr

    sound = soxr.resample(x, rate, WORK_RATE_HZ)
    found = track(sound, 0.0, len(sound) // FRAME_HOP)
    return float(np.exp(np.mean(np.log(found[found > 0]))))


def test_convert_keeps_the_time_and_marks_the_file(
    tmp_path: Path, man: tuple[np.ndarray, int], woman: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.flac", tmp_path / "out.wav"
    stereo = np.stack([man[0], 0.5 * man[0]], axis=1)
    soundfile.write(source, stereo, man[1])
    assert main(["convert", str(source), str(out), "--twin", "nova", "--no-notice", "rehearsal"]) == 0
    sound, rate = soundfile.read(out, dtype="float32")
    assert rate == 48_000
    assert len(sound) == 2 * len(man[0])
    assert f0_hz(sound, rate) == pytest.approx(VoiceTarget.load(woman).f0_hz, rel=0.12)
    with soundfile.SoundFile(out) as file:
        assert "AI MODIFIED" in file.comment
        assert "Nova" in file.comment
    assert "AI MODIFIED" in capsys.readouterr().out
    events = [event["event"] for event in SessionLog().events()]
    assert events == ["start", "override", "restore", "stop"]


def test_the_notice_comes_first_unless_a_reason_is_stated(tmp_path: Path, man: tuple[np.ndarray, int]) -> None:
    source, out = tmp_path / "in.wav", tmp_path / "out.ogg"
    soundfile.write(source, man[0][: man[1]], man[1])
    assert main(["convert", str(source), str(out), "--twin", "nova"]) == 0
    info = soundfile.info(out)
    expected = len(spoken_notice("Nova", True, 48_000)) / 48_000 + 0.6 + 1.0
    assert info.duration == pytest.approx(expected, abs=0.02)
    assert main(["convert", str(source), str(out), "--twin", "nova", "--no-notice", " "]) == 1


def test_without_consent_nothing_is_converted(
    tmp_path: Path, woman: Path, man: tuple[np.ndarray, int], capsys: pytest.CaptureFixture[str]
) -> None:
    part = PartFiles("voice", "world", {"voice/target.json": woman}, "test")
    write_pack(user_dirs().packs / "ada", name="ada", display_name="Ada", subject_kind="person", parts=[part])
    soundfile.write(tmp_path / "in.wav", man[0], man[1])
    for command in (
        ["convert", str(tmp_path / "in.wav"), str(tmp_path / "out.wav")],
        ["say", "hello", "-o", "out.wav"],
    ):
        assert main([*command, "--twin", "ada"]) == 1
        assert "no consent record" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


def test_say_speaks_in_the_twins_pitch(tmp_path: Path, woman: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "said.wav"
    text = "Good morning, everybody. Shall we begin?"
    assert main(["say", text, "--twin", "nova", "-o", str(out), "--no-notice", "rehearsal", "--pitch", "-4"]) == 0
    sound, rate = soundfile.read(out, dtype="float32")
    assert 2.0 < len(sound) / rate < 6.0
    assert f0_hz(sound, rate) == pytest.approx(VoiceTarget.load(woman).f0_hz * 2 ** (-4 / 12), rel=0.12)
    assert main(["say", "...", "--twin", "nova", "-o", str(out)]) == 1
    assert "nothing to say" in capsys.readouterr().err
    assert main(["say", text, "--twin", "nova", "-o", str(tmp_path / "said.xyz")]) == 1
    assert "ends in .wav" in capsys.readouterr().err
    assert main(["say", text, "--twin", "nova", "--speed", "9", "-o", str(out)]) == 1


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 384_000])
@pytest.mark.parametrize("channels", [1, 6])
def test_every_recording_is_read(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "in.wav"
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    soundfile.write(path, np.repeat(wave[:, None], channels, axis=1), rate, subtype="PCM_16")
    sound, read_rate = read_mono(path)
    assert read_rate == (rate if 44_100 <= rate <= 192_000 else 48_000)
    assert len(sound) == read_rate
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_what_is_no_recording_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    path.write_bytes(b"not a recording")
    with pytest.raises(CommandError, match="no recording that can be read"):
        read_mono(path)
    soundfile.write(path, np.zeros(0), 48_000)
    with pytest.raises(CommandError, match="is empty"):
        read_mono(path)
    with pytest.raises(CommandError):
        read_mono(tmp_path / "absent.wav")

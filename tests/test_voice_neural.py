"""The neural converter as a stream: nothing shifted, nothing lost, no babble, and really another voice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.bench.contours import contours, envelope_correlation, f0_correlation, loudest_dbfs
from obs_twin.bench.quiet import quiet_clips
from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, speak
from obs_twin.voice.frames import FRAME_HOP, WORK_RATE_HZ
from obs_twin.voice.model import F32, VoiceModel, VoiceModelError, VoiceSettings
from obs_twin.voice.neural import NeuralVoice, open_neural
from obs_twin.voice.pitch import track
from obs_twin.voice.registry import open_voice
from obs_twin.voice.target import VoiceTarget, analyse
from obs_twin.zoo.store import ModelStore

from .test_voice_world import cut, lag_ms

RATE = 48_000
BUDGET_MS = 410.0  # D = 0.5 s


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A twin pack's voice files: those of the built-in woman."""
    speech = speak("The morning train was late, so we walked along the river and talked about the weather.")
    path = tmp_path_factory.mktemp("neural") / "target.json"
    analyse(speech.samples, speech.sample_rate_hz).save(path)
    return {"target": path}


@pytest.fixture(scope="module")
def man() -> F32:
    """A man's voice, 48 kHz, with a second of silence before and after."""
    text = "Everybody at the office knows that numbers never lie."
    speech = speak(text, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio)
    return np.pad(np.asarray(soxr.resample(speech.samples, speech.sample_rate_hz, RATE), np.float32), RATE)


def voice(files: dict[str, Path], rate: int = RATE, budget_ms: float = BUDGET_MS, **kw: float | bool) -> NeuralVoice:
    return open_neural(files, sample_rate_hz=rate, delay_budget_ms=budget_ms, settings=VoiceSettings(**kw))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def converted(files: dict[str, Path], man: F32) -> F32:
    return cut(voice(files), man, [1024])


def f0_hz(x: F32) -> np.ndarray:
    sound = soxr.resample(x.astype(np.float64), RATE, WORK_RATE_HZ)
    found = track(sound, 0.0, len(sound) // FRAME_HOP)
    return found[found > 0]


def test_the_lookahead_fits_the_budget(files: dict[str, Path]) -> None:
    for budget_ms in (210.0, 410.0, 1410.0, 4910.0):
        model = voice(files, budget_ms=budget_ms)
        assert isinstance(model, VoiceModel)
        assert model.lookahead_samples / RATE * 1000 <= budget_ms
        assert "CPU" in model.provider


def test_as_many_samples_as_came_in_at_the_same_place(man: F32, converted: F32) -> None:
    assert len(converted) == len(man)
    assert abs(lag_ms(man, converted, RATE)) < 12.0


def test_it_speaks_with_the_targets_pitch_and_the_actors_melody(
    files: dict[str, Path], man: F32, converted: F32
) -> None:
    target = VoiceTarget.load(files["target"])
    assert np.median(f0_hz(man)) < 140
    assert np.median(f0_hz(converted)) == pytest.approx(target.f0_hz, rel=0.12)
    before, after = contours(man, RATE), contours(converted, RATE)
    assert f0_correlation(before, after) > 0.8
    assert envelope_correlation(before, after) > 0.85


def test_it_is_as_loud_as_the_actor(man: F32, converted: F32) -> None:
    assert 20 * np.log10(converted.std() / man.std()) == pytest.approx(0.0, abs=4.0)


def test_before_and_after_the_words_there_is_silence(converted: F32) -> None:
    assert loudest_dbfs(converted[: int(0.75 * RATE)], RATE) < -55
    assert loudest_dbfs(converted[-RATE // 2 :], RATE) < -55


def test_no_clicks(converted: F32) -> None:
    """Above 8 kHz the voice has no steps: no sample there stands out from its surroundings."""
    spectrum = np.fft.rfft(converted)
    spectrum[: len(spectrum) * 2 // 3] = 0
    rest = np.abs(np.fft.irfft(spectrum, len(converted)))
    assert rest.max() < 0.01  # a step of 0.1 leaves 0.03


@settings(deadline=None, max_examples=3)
@given(sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=5).filter(any))
def test_cuts_are_not_heard(files: dict[str, Path], man: F32, sizes: list[int]) -> None:
    part = man[RATE // 2 : 2 * RATE]
    whole = cut(voice(files), part, [len(part)])
    np.testing.assert_array_equal(cut(voice(files), part, sizes), whole)


def test_the_same_sound_gives_the_same_voice_after_flush_and_reset(files: dict[str, Path], man: F32) -> None:
    part = man[RATE // 2 : 2 * RATE]
    model = voice(files)
    first = cut(model, part, [1024])
    assert len(cut(model, part, [1024])) == len(first)
    model.push(part[:20_000])
    model.reset()
    again = cut(model, part, [1024])
    assert len(again) == len(first)
    # What was learnt of the actor is kept: louder or softer by a little, but no other words.
    assert np.corrcoef(np.abs(first[RATE // 2 :]), np.abs(again[RATE // 2 :]))[0, 1] > 0.4


def test_noises_become_silence(files: dict[str, Path]) -> None:
    for name, x in quiet_clips(RATE).items():
        assert loudest_dbfs(cut(voice(files), x[: 3 * RATE], [4800]), RATE) < -55, name


def test_other_rates(files: dict[str, Path], man: F32) -> None:
    for rate in (44_100, 16_000):
        x = np.asarray(soxr.resample(man[RATE : 2 * RATE], RATE, rate), np.float32)
        assert len(cut(voice(files, rate), x, [441])) == len(x)


def test_strange_input_is_survived(files: dict[str, Path]) -> None:
    x = np.concatenate([np.full(9000, np.nan), np.full(9000, 50.0), np.full(9000, -np.inf)]).astype(np.float32)
    y = cut(voice(files), x, [1024])
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= 1.0
    assert len(cut(voice(files), np.zeros(0, np.float32), [1])) == 0


def test_refusals_say_what_to_do(files: dict[str, Path], tmp_path: Path) -> None:
    for budget_ms in (100.0, -5.0):
        with pytest.raises(VoiceModelError, match="raise the delay"):
            voice(files, budget_ms=budget_ms)
    with pytest.raises(VoiceModelError, match="sample rate"):
        voice(files, rate=4000)
    wrong = tmp_path / "decoder.onnx"
    wrong.write_bytes(b"no network")
    with pytest.raises(VoiceModelError, match=r"decoder\.onnx"):
        voice({**files, "decoder": wrong})
    with pytest.raises(VoiceModelError, match='needs the file "target"'):
        open_voice("neural", {}, sample_rate_hz=RATE, delay_budget_ms=BUDGET_MS)


def test_a_decoder_of_another_shape_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(VoiceModelError, match=r"is not a decoder of the neural voice: expected inputs content"):
        voice({**files, "decoder": ModelStore().path("silero_vad")})

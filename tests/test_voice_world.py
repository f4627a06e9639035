"""The light converter as a stream: nothing shifted, nothing lost, no clicks, and really another voice."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.twin.synthetic.speech import ACTOR_SPEAKER, speak
from obs_twin.voice.frames import FRAME_HOP, WORK_RATE_HZ
from obs_twin.voice.model import F32, VoiceModel, VoiceSettings
from obs_twin.voice.pitch import track
from obs_twin.voice.target import VoiceTarget, analyse
from obs_twin.voice.world import WorldVoice

RATE = 48_000
D_MS = 300


def cut(model: VoiceModel, x: F32, sizes: list[int]) -> F32:
    """Stream ``x`` in pushes of the given sizes, over and over."""
    parts = []
    at = index = given = 0
    while at < len(x):
        size = sizes[index % len(sizes)]
        parts.append(model.push(x[at : at + size]))
        at += size
        index += 1
        given += len(parts[-1])
        assert 0 <= min(at, len(x)) - given <= model.lookahead_samples
    parts.append(model.flush())
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def woman() -> VoiceTarget:
    speech = speak("The morning train was late, so we walked along the river and talked about the weather.")
    return analyse(speech.samples, speech.sample_rate_hz)


@pytest.fixture(scope="module")
def man() -> F32:
    """A man's voice, 48 kHz, with a second of silence before and after."""
    text = "Everybody at the office knows that numbers never lie, but people sometimes do."
    speech = speak(text, pitch_ratio=ACTOR_SPEAKER.pitch_ratio, formant_ratio=ACTOR_SPEAKER.formant_ratio)
    return np.pad(np.asarray(soxr.resample(speech.samples, speech.sample_rate_hz, RATE), np.float32), RATE)


def voice(target: VoiceTarget, rate: int = RATE, d_ms: float = D_MS, **kw: float | bool) -> WorldVoice:
    return WorldVoice(target, sample_rate_hz=rate, delay_budget_ms=d_ms, settings=VoiceSettings(**kw))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def converted(woman: VoiceTarget, man: F32) -> F32:
    return cut(voice(woman), man, [1024])


def envelope(x: F32, rate: int) -> np.ndarray:
    hop = rate // 200
    return np.asarray(np.sqrt((x[: len(x) // hop * hop].reshape(-1, hop) ** 2).mean(axis=1)))


def lag_ms(a: F32, b: F32, rate: int) -> float:
    """How much later the loudness of b is than that of a."""
    ea, eb = (np.log(envelope(x, rate) + 1e-3) for x in (a, b))
    ea, eb = ea - ea.mean(), eb - eb.mean()
    correlation = np.correlate(eb, ea, "full")
    peak = int(np.argmax(correlation))
    left, middle, right = correlation[peak - 1 : peak + 2]
    return float(5 * (peak + 0.5 * (left - right) / (left - 2 * middle + right) - (len(ea) - 1)))


def test_the_lookahead_fits_the_delay(woman: VoiceTarget) -> None:
    for d_ms in (300, 500, 1500, 5000):
        model = voice(woman, d_ms=d_ms)
        assert isinstance(model, VoiceModel)
        assert model.lookahead_samples / RATE * 1000 <= d_ms - 80


def f0_hz(x: F32) -> float:
    """The usual pitch of 48 kHz sound."""
    sound = soxr.resample(x, RATE, WORK_RATE_HZ)
    f0 = track(sound, 0.0, len(sound) // FRAME_HOP)
    return float(np.exp(np.mean(np.log(f0[f0 > 0]))))


def test_pitch_becomes_the_targets(woman: VoiceTarget, converted: F32, man: F32) -> None:
    assert f0_hz(man) < 135
    # The very first sentence starts without knowing the actor; from then on they are known.
    assert f0_hz(converted) == pytest.approx(woman.f0_hz, rel=0.2)
    model = voice(woman)
    cut(model, man, [4800])
    assert f0_hz(cut(model, man, [4800])) == pytest.approx(woman.f0_hz, rel=0.1)


def test_words_stay_where_they_were(converted: F32, man: F32) -> None:
    assert len(converted) == len(man)
    assert abs(lag_ms(man, converted, RATE)) < 4


def test_the_actors_own_sound_is_not_in_it(converted: F32, man: F32) -> None:
    a, b = man - man.mean(), converted - converted.mean()
    size = 1 << 20
    cross = np.fft.irfft(np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size))
    assert np.abs(cross).max() / np.sqrt((a**2).sum() * (b**2).sum()) < 0.3


def test_loudness_is_the_actors(converted: F32, man: F32) -> None:
    rms = np.sqrt(np.mean(man**2))
    assert 0.5 < np.sqrt(np.mean(converted**2)) / rms < 2
    assert np.abs(converted).max() < 1.2


def test_silence_stays_silent(woman: VoiceTarget, converted: F32) -> None:
    assert not converted[: int(0.9 * RATE)].any()
    assert not converted[-int(0.4 * RATE) :].any()
    assert not cut(voice(woman), np.zeros(RATE, np.float32), [480]).any()


def test_the_rooms_noise_becomes_silence(woman: VoiceTarget) -> None:
    noise = 0.003 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    out = cut(voice(woman), noise, [480])
    assert not out[2 * RATE :].any()


def test_no_clicks_where_blocks_join(woman: VoiceTarget, converted: F32, man: F32) -> None:
    """Another delay cuts the sound into blocks elsewhere; a click would be in the one and not in the other."""
    other = cut(voice(woman, d_ms=220), man, [1024])

    def roughness(x: F32) -> np.ndarray:
        """Level of the second difference, each 5 ms."""
        return envelope(np.diff(x, n=2), RATE)

    a, b = roughness(converted), roughness(other)
    loud = max(np.percentile(a, 99), np.percentile(b, 99))
    assert a.max() < 3 * loud
    assert b.max() < 3 * loud
    assert abs(np.log(np.mean(a**2) / np.mean(b**2))) < 0.3


@pytest.mark.parametrize("sizes", [[1], [10_000], [441, 17, 4800]])
def test_push_sizes_do_not_matter(woman: VoiceTarget, man: F32, converted: F32, sizes: list[int]) -> None:
    part = man[: int(1.3 * RATE)] if sizes == [1] else man
    out = cut(voice(woman), part, sizes)
    same = len(part) - RATE // 4 if sizes == [1] else len(part)
    assert np.abs(out[:same] - converted[:same]).max() < 1e-3


@settings(max_examples=8, deadline=None)
@given(
    rate=st.integers(8_000, 96_000),
    sizes=st.lists(st.integers(1, 10_000), min_size=1, max_size=4),
    count=st.integers(0, 60_000),
    d_ms=st.sampled_from([300, 1500]),
)
def test_as_many_samples_come_out_as_went_in(
    woman: VoiceTarget, rate: int, sizes: list[int], count: int, d_ms: int
) -> None:
    t = np.arange(count) / rate
    x = (0.2 * np.sign(np.sin(2 * np.pi * 120 * t))).astype(np.float32)
    model = voice(woman, rate, d_ms)
    for _ in range(2):  # and again after a flush
        assert len(cut(model, x, [*sizes, 997])) == count


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_bursts_stay_in_place_at_any_rate(woman: VoiceTarget, rate: int) -> None:
    x = np.zeros(4 * rate, np.float32)
    t = np.arange(int(0.15 * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 130 * h * t) / h for h in range(1, 12)) * np.hanning(len(t))
    starts = [int(begin * rate) for begin in (0.5, 1.13, 2.02, 3.377)]
    for start in starts:
        x[start : start + len(t)] = 0.2 * np.asarray(tone, np.float32)
    out = cut(voice(woman, rate), x, [rate // 50])
    for start in starts:
        around = slice(start - rate // 10, start + rate // 3)
        times_ms = np.arange(around.stop - around.start) / rate * 1000
        before, after = (float((times_ms * y[around] ** 2).sum() / (y[around] ** 2).sum()) for y in (x, out))
        assert abs(after - before) < 4


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 99),
    bad=st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0]), min_size=1, max_size=9),
)
def test_broken_samples_do_no_harm(woman: VoiceTarget, man: F32, seed: int, bad: list[float]) -> None:
    rng = np.random.default_rng(seed)
    x = 8 * man[RATE : 2 * RATE].copy()
    x[rng.integers(0, len(x), len(bad) * 200)] = np.tile(np.array(bad, np.float32), 200)
    out = cut(voice(woman), x, [1024])
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1.0


def test_after_a_reset_it_starts_afresh(woman: VoiceTarget, man: F32) -> None:
    model = voice(woman)
    model.push(man[RATE : 2 * RATE])
    model.reset()
    out = cut(model, man, [1024])
    assert len(out) == len(man)
    assert abs(lag_ms(man, out, RATE)) < 4


def test_settings_change_pitch(woman: VoiceTarget, converted: F32, man: F32) -> None:
    lower = cut(voice(woman, pitch_semitones=-5.0), man, [4800])
    assert f0_hz(lower) / f0_hz(converted) == pytest.approx(2 ** (-5 / 12), rel=0.05)

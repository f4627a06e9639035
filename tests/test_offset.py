"""The calibration's maths, on speech-like sound, flashes and beeps of known times."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.engine.offset import FollowOffset, audio_delay_s, beep_times, flash_times, pair_offsets_ms

RATE = 16_000
F32 = npt.NDArray[np.float32]


def babble(seconds: float, seed: int, rate: int = RATE) -> F32:
    """Noise and buzz that comes in syllables, as speech does."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    sound = np.zeros(count)
    at = 0
    while at < count:
        length = int(rate * rng.uniform(0.08, 0.3))
        t = np.arange(min(length, count - at)) / rate
        f0 = rng.uniform(90, 220)
        buzz = sum(np.cos(2 * np.pi * f0 * h * t + rng.uniform(0, 6)) / h for h in range(1, 12))
        noise = rng.standard_normal(len(t))
        tone = buzz if rng.random() < 0.7 else noise
        sound[at : at + len(t)] += tone * np.sin(np.pi * t / max(t[-1], 1e-3)) * rng.uniform(0.3, 1)
        at += length + int(rate * rng.uniform(0.02, 0.25))
    return np.asarray(0.1 * sound + 1e-4 * rng.standard_normal(count), np.float32)


def delayed(x: F32, delay: int) -> F32:
    return np.concatenate([np.zeros(delay, np.float32), x])[: len(x)] if delay >= 0 else np.pad(x[-delay:], (0, -delay))


@settings(max_examples=12, deadline=None)
@given(delay_ms=st.integers(-900, 900), seed=st.integers(0, 50), gain=st.floats(0.02, 3))
def test_a_known_delay_is_found(delay_ms: int, seed: int, gain: float) -> None:
    sent = babble(6, seed)
    heard = np.float32(gain) * delayed(sent, delay_ms * RATE // 1000)
    delay_s, confidence = audio_delay_s(sent, heard, RATE, 1.0)
    assert delay_s * 1000 == pytest.approx(delay_ms, abs=0.3)
    assert confidence > 0.6


def test_a_delay_survives_a_real_path() -> None:
    """Other rate inside, clock 100 ppm off, band limit, noise, gain control and a jump of a jitter buffer."""
    sent = babble(10, 3)
    far = soxr.resample(soxr.resample(sent, RATE, 8000), 8000 * (1 - 1e-4), RATE)[: len(sent)]
    heard = delayed(np.asarray(far, np.float32), int(0.31 * RATE))
    heard[-RATE:] = delayed(heard, 160)[-RATE:]
    heard = heard * np.linspace(0.2, 1.0, len(heard), dtype=np.float32)
    heard += 0.003 * np.random.default_rng(1).standard_normal(len(heard)).astype(np.float32)
    delay_s, confidence = audio_delay_s(sent, heard, RATE, 1.0)
    assert delay_s == pytest.approx(0.3105, abs=0.002)
    assert confidence > 0.5


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_sound_is_not_believed(seed: int) -> None:
    _, confidence = audio_delay_s(babble(6, seed), babble(6, seed + 100), RATE, 1.0)
    assert confidence < 0.5


@pytest.mark.parametrize("heard", [np.zeros(RATE), np.full(RATE, np.nan), np.zeros(3), np.full(RATE, np.inf)])
def test_nothing_heard_is_no_delay(heard: F32) -> None:
    assert audio_delay_s(babble(1, 0), np.asarray(heard, np.float32), RATE, 0.5)[1] == 0.0


def test_impossible_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="positive range"):
        audio_delay_s(babble(1, 0), babble(1, 0), RATE, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    fps=st.sampled_from([15.0, 25.0, 29.97, 30.0, 60.0]),
    phase=st.floats(0, 1),
    period_s=st.floats(0.6, 1.5),
    noise=st.floats(0, 1.5),
)
def test_flashes_are_timed_below_a_frame(fps: float, phase: float, period_s: float, noise: float) -> None:
    """A camera integrates: a flash that begins within a frame lights it in part."""
    frame_s = 1 / fps
    begins = (np.arange(12) + 0.5 + phase) * period_s
    ends = begins + 0.12
    times = np.arange(int(fps * 20)) * frame_s
    lit = sum(
        np.clip(np.minimum(times + frame_s, e) - np.maximum(times, b), 0, None) / frame_s
        for b, e in zip(begins, ends, strict=True)
    )
    luma = 20 + 200 * np.asarray(lit) + noise * np.random.default_rng(0).standard_normal(len(times))
    found = flash_times(luma, np.round(times * 1e9).astype(np.int64)) / 1e9
    assert len(found) == 12
    assert np.abs(found - begins).max() < 0.1 * frame_s + 0.0005


def test_no_flash_in_a_flickering_picture() -> None:
    luma = 90 + 1.5 * np.random.default_rng(0).standard_normal(300)
    assert len(flash_times(luma, np.arange(300, dtype=np.int64) * 33_000_000)) == 0
    assert len(flash_times(np.full(10, np.nan), np.arange(10, dtype=np.int64))) == 0
    with pytest.raises(ValueError, match="as many times"):
        flash_times(np.zeros(3), np.zeros(4, np.int64))


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([16_000, 44_100, 48_000]),
    begin_s=st.floats(0.1, 0.6),
    tone_hz=st.floats(500, 3000),
    gain=st.floats(0.02, 1.0),
    noise=st.floats(0, 0.01),
)
def test_beeps_are_timed(rate: int, begin_s: float, tone_hz: float, gain: float, noise: float) -> None:
    t = np.arange(5 * rate) / rate
    begins = begin_s + np.arange(4) * 1.0
    x = noise * gain * np.random.default_rng(0).standard_normal(len(t))
    for begin in begins:
        inside = (t >= begin) & (t < begin + 0.06)
        x[inside] += gain * np.sin(2 * np.pi * tone_hz * (t[inside] - begin))
    found = beep_times(x.astype(np.float32), rate, 7_000_000_000)
    assert len(found) == 4
    assert np.abs((found - 7_000_000_000) / 1e9 - begins).max() < 0.0012


def test_no_beep_in_noise_or_silence() -> None:
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    assert len(beep_times(noise * np.float32(0.1), 48_000, 0)) == 0
    assert len(beep_times(np.zeros(48_000, np.float32), 48_000, 0)) == 0
    assert len(beep_times(np.full(48_000, np.nan, np.float32), 48_000, 0)) == 0


@settings(max_examples=60, deadline=None)
@given(
    offset_ms=st.floats(-400, 400),
    missing=st.sets(st.integers(0, 11), max_size=5),
    extra_s=st.lists(st.floats(0, 12), max_size=3),
    seed=st.integers(0, 99),
)
def test_flashes_and_beeps_are_paired(offset_ms: float, missing: set[int], extra_s: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    flash = np.cumsum(rng.uniform(0.9, 1.3, 12))
    beep = flash + offset_ms / 1000 + rng.normal(0, 0.002, 12)
    beep = np.concatenate([np.delete(beep, sorted(missing)), extra_s])
    offsets = pair_offsets_ms((flash * 1e9).astype(np.int64), (beep * 1e9).astype(np.int64))
    assert len(offsets) >= 12 - len(missing)
    median = np.median(offsets)
    assert median == pytest.approx(offset_ms, abs=6)
    assert np.median(np.abs(offsets - median)) < 20


def test_without_pairs_there_is_no_offset() -> None:
    none = np.zeros(0, np.int64)
    assert len(pair_offsets_ms(none, np.array([5], np.int64))) == 0


@settings(max_examples=60, deadline=None)
@given(
    start=st.floats(-200, 200),
    steps=st.lists(
        st.tuples(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 1), st.integers(-5, 3_000)),
        max_size=60,
    ),
)
def test_following_never_jumps(start: float, steps: list[tuple[float, float, int]]) -> None:
    follow = FollowOffset(start)
    now_ns, before = 0, follow.at(0)
    for estimate, confidence, wait_ms in steps:
        follow.add(estimate, confidence)
        later_ns = now_ns + wait_ms * 1_000_000
        offset = follow.at(later_ns)
        assert math.isfinite(offset)
        assert abs(offset - before) <= 10 * max(wait_ms, 0) / 1000 + 1e-9
        now_ns, before = max(now_ns, later_ns), offset


@settings(max_examples=30, deadline=None)
@given(truth=st.floats(-150, 150), seed=st.integers(0, 99))
def test_following_arrives_in_spite_of_outliers(truth: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    follow = FollowOffset(0.0)
    for second in range(60):
        outlier = rng.random() < 0.2
        follow.add(truth + rng.normal(0, 1.5) + (rng.uniform(-400, 400) if outlier else 0), 0.9)
        follow.at(second * 1_000_000_000)
    assert follow.at(60_000_000_000) == pytest.approx(truth, abs=5 + 4)


def test_small_changes_and_unsure_estimates_change_nothing() -> None:
    follow = FollowOffset(70.0)
    for second in range(30):
        follow.add(73.0, 0.9)
        follow.add(-300.0, 0.2)
        assert follow.at(second * 1_000_000_000) == 70.0

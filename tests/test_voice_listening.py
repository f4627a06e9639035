"""What the ear hears: the mel spectrum, features that lie where the sound does, and streams of any length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.voice import listening
from obs_twin.voice.listening import FEATURE_WIDTH, LEAST_SAMPLES, Ear, at_frames, log_mel
from obs_twin.voice.neural_grid import HEAR_RATE_HZ
from obs_twin.zoo.derive import derived_path

F32 = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear(derived_path("whisper_taps"))


def noise(seconds: float, seed: int = 0) -> F32:
    return 0.05 * np.random.default_rng(seed).standard_normal(int(seconds * HEAR_RATE_HZ)).astype(np.float32)


def likeness(a: F32, b: F32) -> float:
    return float(np.corrcoef(a[:, 512:].ravel(), b[:, 512:].ravel())[0, 1])


def test_a_tone_is_loudest_in_the_mel_band_of_its_frequency() -> None:
    t = np.arange(HEAR_RATE_HZ) / HEAR_RATE_HZ
    loudest = []
    for hz in (250, 1000, 4000):
        tone = np.sin(2 * np.pi * hz * t).astype(np.float32)
        loudest.append(int(log_mel(tone, 0, 10, 40).mean(1).argmax()))
    # 80 bands, 45.245 mels: 250 Hz is 3.75, 1 kHz 15 and 4 kHz 35.16 of them.
    assert loudest == pytest.approx([3.75 * 81 / 45.245 - 1, 15 * 81 / 45.245 - 1, 35.16 * 81 / 45.245 - 1], abs=0.75)


def test_tokens_are_moved_to_the_grid_of_25_ms() -> None:
    times_s = np.arange(20, 120)[:, None] * 0.02
    found = at_frames(times_s.astype(np.float32), 20, 40, 60)[:, 0]
    assert found == pytest.approx((np.arange(40, 60) + 0.5) * 0.025, abs=1e-5)


@pytest.mark.parametrize("samples", [LEAST_SAMPLES, 36_000])
@pytest.mark.parametrize("block", [(3, 2), (4, 9), (60, 80)])
def test_every_25_ms_have_features(ear: Ear, samples: int, block: tuple[int, int]) -> None:
    features = ear.features(noise(samples / HEAR_RATE_HZ), *block)
    assert features.shape == (samples // 400, FEATURE_WIDTH)
    assert np.isfinite(features).all()


def test_features_change_where_the_sound_does(ear: Ear) -> None:
    sound = noise(2.0, 1)
    changed = sound.copy()
    changed[16_000:17_600] += 0.3 * np.sin(np.arange(1600) * 0.4).astype(np.float32)
    difference = np.abs(ear.features(changed, 4, 9) - ear.features(sound, 4, 9)).mean(axis=1)
    assert difference[40:44].min() > 0.2  # 1.0 to 1.1 s
    assert difference[:26].max() == 0.0  # 13 frames before, where it has not been heard


def test_more_of_what_comes_next_makes_a_stream_more_like_the_whole(ear: Ear) -> None:
    sound = np.cumsum(noise(4.0, 2)) * 0.1
    sound = (sound / np.abs(sound).max()).astype(np.float32)
    whole = ear.features(sound, 160, 0)
    near, far = (likeness(ear.features(sound, 4, right), whole) for right in (2, 20))
    assert near < far


def test_a_stream_goes_on_when_whispers_numbers_run_out(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = noise(6.0, 3) * np.repeat(np.random.default_rng(4).uniform(0, 1, 60), 1600).astype(np.float32)
    monkeypatch.setattr(listening, "MEMORY_TOKENS", 60)
    endless = ear.features(sound, 4, 9)
    monkeypatch.setattr(listening, "LIFE_TOKENS", 200)
    renewed = ear.features(sound, 4, 9)
    assert renewed.shape == endless.shape
    assert (renewed[:150] == endless[:150]).all()
    assert likeness(renewed[170:], endless[170:]) > 0.5


def test_the_longest_blocks_fit_into_whispers_numbers(ear: Ear) -> None:
    assert ear.features(noise(40.0, 5), 60, 80).shape == (1600, FEATURE_WIDTH)

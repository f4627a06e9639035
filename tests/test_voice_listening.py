"""What the ear hears: the mel spectrum, and features that lie where the sound does."""

from __future__ import annotations

import numpy as np
import pytest

from obs_twin.voice.listening import FEATURE_WIDTH, LEAST_SAMPLES, Ear, at_frames, log_mel
from obs_twin.voice.neural_grid import HEAR_RATE_HZ
from obs_twin.zoo.derive import derived_path


@pytest.fixture(scope="module")
def ear() -> Ear:
    return Ear(derived_path("whisper_taps"))


def test_a_tone_is_loudest_in_the_mel_band_of_its_frequency() -> None:
    t = np.arange(HEAR_RATE_HZ) / HEAR_RATE_HZ
    loudest = [
        int(log_mel(np.sin(2 * np.pi * hz * t).astype(np.float32))[0].mean(1).argmax()) for hz in (250, 1000, 4000)
    ]
    # 80 bands, 45.245 mels: 250 Hz is 3.75, 1 kHz 15 and 4 kHz 35.16 of them.
    assert loudest == pytest.approx([3.75 * 81 / 45.245 - 1, 15 * 81 / 45.245 - 1, 35.16 * 81 / 45.245 - 1], abs=0.75)
    assert log_mel(np.zeros(2000, np.float32)).shape == (1, 80, 12)


def test_tap_frames_are_moved_to_the_grid_of_25_ms() -> None:
    times_s = np.arange(100)[:, None] * 0.02
    assert at_frames(times_s.astype(np.float32), 60)[:, 0] == pytest.approx((np.arange(60) + 0.5) * 0.025, abs=1e-5)


@pytest.mark.parametrize("samples", [LEAST_SAMPLES, 36_000])
def test_every_25_ms_have_features(ear: Ear, samples: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    features = ear.features(noise)
    assert features.shape == (samples // 400, FEATURE_WIDTH)
    assert np.isfinite(features).all()


def test_features_change_where_the_sound_does(ear: Ear) -> None:
    rng = np.random.default_rng(1)
    sound = 0.01 * rng.standard_normal(32_000).astype(np.float32)
    changed = sound.copy()
    changed[16_000:17_600] += 0.3 * np.sin(np.arange(1600) * 0.4).astype(np.float32)
    difference = np.abs(ear.features(changed) - ear.features(sound)).mean(axis=1)
    assert 40 <= int(difference.argmax()) < 45  # 1.0 to 1.1 s

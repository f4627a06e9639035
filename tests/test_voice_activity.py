"""The neural voice's gate: words are let through from their first sound on, everything else is silence."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from obs_twin.bench.quiet import quiet_clips
from obs_twin.twin.synthetic.speech import speak
from obs_twin.voice.activity import BLOCK_SAMPLES, HOLD_STEPS, LOOKAHEAD_STEPS, SpeechDetector, SpeechGate
from obs_twin.voice.model import F32
from obs_twin.voice.neural_grid import HEAR_RATE_HZ
from obs_twin.zoo.store import ModelStore


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector(ModelStore().fetch(["silero_vad"])[0])


def probabilities(detector: SpeechDetector, x: F32, size: int = 4000) -> np.ndarray:
    detector.reset()
    return np.array([p for at in range(0, len(x), size) for p in detector.push(x[at : at + size])])


def test_speech_is_found_where_it_is(detector: SpeechDetector) -> None:
    speech = speak("Nobody told me that the river was this cold.")
    x = np.asarray(soxr.resample(speech.samples, speech.sample_rate_hz, HEAR_RATE_HZ), np.float32)
    found = probabilities(detector, np.pad(x, HEAR_RATE_HZ))
    second = HEAR_RATE_HZ // BLOCK_SAMPLES
    assert found[: second - 4].max() < 0.3
    assert np.median(found[second + 4 : -second - 8]) > 0.9
    assert len(found) == (len(x) + 2 * HEAR_RATE_HZ) // BLOCK_SAMPLES


def test_it_does_not_matter_how_the_sound_is_cut(detector: SpeechDetector) -> None:
    x = np.random.default_rng(0).standard_normal(20_000).astype(np.float32) * 0.1
    assert np.array_equal(probabilities(detector, x, 4000), probabilities(detector, x, 333))


def test_noises_are_no_speech(detector: SpeechDetector) -> None:
    for name, x in quiet_clips(HEAR_RATE_HZ).items():
        assert probabilities(detector, x[: 4 * HEAR_RATE_HZ]).max() < 0.4, name


def test_the_gate_opens_before_the_word_and_holds_after_it() -> None:
    steps = 200
    probability = np.zeros(steps + LOOKAHEAD_STEPS)
    probability[100:110] = 0.9
    gains = SpeechGate().gains(probability, steps)
    assert not gains[: 100 - LOOKAHEAD_STEPS].any()
    assert gains[100 - LOOKAHEAD_STEPS + 2] == 1.0
    assert (gains[100 - LOOKAHEAD_STEPS + 2 : 110 + HOLD_STEPS - 2] == 1.0).all()
    assert not gains[110 + HOLD_STEPS + 10 :].any()


def test_the_gate_goes_on_from_call_to_call() -> None:
    probability = np.random.default_rng(1).random(300 + LOOKAHEAD_STEPS) ** 6
    whole = SpeechGate().gains(probability, 300)
    gate = SpeechGate()
    parts = [gate.gains(probability[at : at + 30 + LOOKAHEAD_STEPS], 30) for at in range(0, 300, 30)]
    assert np.array_equal(whole, np.concatenate(parts))

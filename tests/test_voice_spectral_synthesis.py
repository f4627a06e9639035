"""The continuous synthesis: the same as the package's whole-utterance one, however it is cut."""

from __future__ import annotations

import numpy as np
from hibari import dsp
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.voice.decoder import BINS, Spectra
from obs_twin.voice.model import F32, F64
from obs_twin.voice.neural_grid import MAKE_RATE_HZ, MAKE_STEP
from obs_twin.voice.spectral_synthesis import AHEAD_STEPS, TAIL_SAMPLES, SpectralSynthesiser

STEPS = 60


def spectra(noise: bool) -> Spectra:
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal((BINS, STEPS)).astype(np.float32) for _ in range(5)]
    parts[2] += 0.0 if noise else -100.0
    return Spectra(*parts)


def pitch() -> F64:
    """Rising, with a pause; unvoiced at first, because the package lets a voice begin before the first step."""
    f0_hz = np.linspace(90.0, 300.0, STEPS + AHEAD_STEPS)
    f0_hz[:2] = 0.0
    f0_hz[20:30] = 0.0
    return f0_hz


def synthesise(parts: Spectra, sizes: list[int]) -> F32:
    made = SpectralSynthesiser()
    f0_hz = pitch()
    sound, at, index = [], 0, 0
    while at < STEPS:
        size = min(sizes[index % len(sizes)], STEPS - at)
        index += 1
        piece = Spectra(*(part[:, at : at + size] for part in parts))
        sound.append(made.add(made.shape(piece, f0_hz[at : at + size + AHEAD_STEPS])))
        at += size
    sound.append(made.rest(4))
    return np.concatenate(sound)


def test_it_is_the_packages_synthesis() -> None:
    parts = spectra(noise=False)
    expected = dsp.synth(*parts, pitch()[:STEPS].astype(np.float32), np.random.default_rng(0))
    sound = synthesise(parts, [STEPS])
    inside = slice(3 * MAKE_STEP, len(expected) - 4 * MAKE_STEP)  # the package tapers its ends otherwise
    assert np.abs(sound[inside] - expected[inside]).max() < 2e-3 * np.abs(expected).max()


@settings(deadline=None, max_examples=15)
@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=6))
def test_cuts_are_not_heard(sizes: list[int]) -> None:
    parts = spectra(noise=True)
    whole, cut = synthesise(parts, [STEPS]), synthesise(parts, sizes)
    assert len(whole) == len(cut)
    np.testing.assert_allclose(cut, whole, atol=1e-4 * np.abs(whole).max())


def test_a_guess_beyond_the_chunk_may_change() -> None:
    """The phase goes on from what the chunk itself held."""
    made = SpectralSynthesiser()
    one = Spectra(*(np.zeros((BINS, 8), np.float32) for _ in range(5)))
    made.shape(one, np.full(8 + AHEAD_STEPS, 100.0))
    before = made._phase
    other = SpectralSynthesiser()
    other.shape(one, np.concatenate([np.full(8 + 1, 100.0), [400.0]]))
    assert other._phase == before
    turns = (8 * MAKE_STEP - MAKE_STEP / 2) * 100.0 / MAKE_RATE_HZ
    assert 0 <= (before - turns) % 1.0 < 0.7


def test_rest_is_silence_after_the_windows_have_rung_out() -> None:
    made = SpectralSynthesiser()
    parts = spectra(noise=True)
    made.add(made.shape(parts, pitch()))
    after = made.rest(8)
    assert after[: 2 * TAIL_SAMPLES].any()
    assert not after[2 * TAIL_SAMPLES :].any()

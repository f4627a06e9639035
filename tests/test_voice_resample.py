"""The streaming resampler: exact positions, exact counts, clean, and the same however the stream is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.voice.resample import AlignedResampler

RATES = st.one_of(st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000]), st.integers(8_000, 96_000))


@settings(max_examples=40, deadline=None)
@given(rate=RATES, sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=8), to_work=st.booleans())
def test_counts_delay_and_cuts(rate: int, sizes: list[int], to_work: bool) -> None:
    pair = (rate, 24_000) if to_work else (24_000, rate)
    x = np.random.default_rng(0).standard_normal(sum(sizes)).astype(np.float32)
    whole, cut = AlignedResampler(*pair), AlignedResampler(*pair)
    expected = np.concatenate([whole.push(x), whole.flush()])
    assert len(expected) == round(len(x) * pair[1] / pair[0])
    parts, taken, given = [], 0, 0
    for size in sizes:
        parts.append(cut.push(x[taken : taken + size]))
        taken += size
        given += len(parts[-1])
        assert taken / pair[0] - given / pair[1] <= cut.delay_s + 1e-9
    parts.append(cut.flush())
    assert np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_phase(rate: int) -> None:
    """There and back again: no shift, hardly an error."""
    t = np.arange(rate) / rate
    x = np.sin(2 * np.pi * 997 * t).astype(np.float32)
    there, back = AlignedResampler(rate, 24_000), AlignedResampler(24_000, rate)
    work = np.concatenate([there.push(x), there.flush()])
    ideal = np.sin(2 * np.pi * 997 * np.arange(len(work)) / 24_000)
    inner = slice(500, -500)
    assert np.abs(work - ideal)[inner].max() < 2e-4
    y = np.concatenate([back.push(work), back.flush()])
    assert len(y) == len(x)
    assert np.abs(y - x)[inner].max() < 4e-4


def test_what_the_lower_rate_cannot_hold_is_removed() -> None:
    t = np.arange(48_000) / 48_000
    x = np.sin(2 * np.pi * 15_000 * t).astype(np.float32)
    down = AlignedResampler(48_000, 24_000)
    assert np.abs(np.concatenate([down.push(x), down.flush()])[500:-500]).max() < 1e-3

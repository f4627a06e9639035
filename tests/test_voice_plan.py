"""The slider: every delay has a plan that fits, and more delay never gives less."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obs_twin.voice.model import VoiceModelError
from obs_twin.voice.plan import PLANS, plan_for, price_list

ENGINE_MS = 90.0


@given(delay_ms=st.integers(300, 5000))
def test_every_delay_of_the_slider_has_a_plan_that_fits(delay_ms: int) -> None:
    plan = plan_for(delay_ms - ENGINE_MS)
    assert plan.budget_ms <= delay_ms - ENGINE_MS
    assert plan.lookahead_ms < delay_ms - ENGINE_MS


def test_more_delay_hears_more() -> None:
    for shorter, longer in itertools.pairwise(PLANS):
        assert longer.budget_ms > shorter.budget_ms
        assert longer.right_frames > shorter.right_frames
    assert min(PLANS, key=lambda plan: plan.cost) is PLANS[-1]


def test_costs_stay_within_what_was_promised() -> None:
    assert all(plan.cost <= 0.25 for plan in PLANS)


def test_too_short_a_delay_is_refused_in_words() -> None:
    with pytest.raises(VoiceModelError, match=r"has to hear \d+ ms ahead.*raise the delay"):
        plan_for(100)


def test_the_price_list_speaks_plainly() -> None:
    lines = price_list((100, 300, 1500), ENGINE_MS, slower=2.0)
    assert len(lines) == 2
    assert lines[0].startswith("0.3 s: ")
    assert "% of one core" in lines[1]

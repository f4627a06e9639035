"""The content clocks go forward whatever OBS's timestamps do."""

from hypothesis import given
from hypothesis import strategies as st

from obs_twin.link.clock import MAX_STEP_NS, FrameClock, SampleClock, Slew

FRAME_NS = 33_333_333


@given(st.lists(st.integers(min_value=-(10**10), max_value=10**10), min_size=1, max_size=200))
def test_frame_clock_is_strictly_increasing_for_any_steps(steps: list[int]) -> None:
    clock, stamp, wall, last = FrameClock(), 10**12, 5 * 10**9, -1
    for step in steps:
        stamp += step
        wall += FRAME_NS
        time_ns = clock.advance(stamp, wall)
        assert time_ns > last
        last = time_ns


@given(st.lists(st.integers(min_value=1_000_000, max_value=MAX_STEP_NS), min_size=2, max_size=100))
def test_frame_clock_follows_the_sources_own_stamps(steps: list[int]) -> None:
    clock, stamp = FrameClock(), 77
    first = clock.advance(stamp, 123)
    for step in steps:
        stamp += step
        assert clock.advance(stamp, 123) - first == stamp - 77


def test_frame_clock_bridges_a_jump_with_the_time_that_really_passed() -> None:
    clock = FrameClock()
    before = clock.advance(9_000_000_000, 1_000_000_000)
    assert clock.advance(0, 1_040_000_000) - before == 40_000_000
    assert clock.advance(FRAME_NS, 1_070_000_000) - before == 40_000_000 + FRAME_NS


@given(
    st.integers(min_value=8000, max_value=96000),
    st.lists(st.tuples(st.integers(1, 4096), st.integers(-40_000_000, 40_000_000)), min_size=1, max_size=100),
)
def test_sample_clock_takes_jitter_as_continuous(rate_hz: int, packets: list[tuple[int, int]]) -> None:
    clock, taken = SampleClock(rate_hz), 0
    # Jitter of less than half the tolerance at each end can never add up to a hole.
    for count, jitter_ns in packets:
        stamp_ns = 10**12 + taken * 10**9 // rate_hz + jitter_ns * 7 // 10
        assert clock.advance(stamp_ns, count) == (taken, 0)
        taken += count


@given(st.integers(min_value=80, max_value=1900))
def test_sample_clock_makes_a_hole_as_long_as_the_timestamps_say(hole_ms: int) -> None:
    clock = SampleClock(48_000)
    clock.advance(0, 480)
    start, hole = clock.advance(10_000_000 + hole_ms * 1_000_000, 480)
    assert hole == hole_ms * 48
    assert start == 480 + hole
    # And goes on from there.
    assert clock.advance(20_000_000 + hole_ms * 1_000_000, 480) == (start + 480, 0)


def test_sample_clock_goes_on_after_a_jump_back() -> None:
    clock = SampleClock(48_000)
    clock.advance(10**12, 480)
    assert clock.advance(0, 480) == (480, 0)
    assert clock.advance(10_000_000, 480) == (960, 0)


@given(st.floats(-200e6, 200e6), st.lists(st.integers(1, 200_000_000), min_size=1, max_size=50))
def test_slew_never_exceeds_its_speed_and_arrives(target: float, steps_ns: list[int]) -> None:
    slew, now_ns, last = Slew(0.0, 10e6), 0, 0.0
    slew.at(now_ns)
    slew.target = target
    for step_ns in steps_ns:
        now_ns += step_ns
        value = slew.at(now_ns)
        assert abs(value - last) <= 10e6 * step_ns / 1e9 + 1e-6
        assert abs(value) <= abs(target)
        last = value
    assert slew.at(now_ns + 60 * 10**9) == target

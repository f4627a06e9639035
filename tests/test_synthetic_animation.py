"""The actor's movements follow the phones, and loop."""

from itertools import pairwise

import numpy as np

from obs_twin.twin.synthetic.animation import lip_units, perform

PHONES = [
    ("sil", 0.0, 0.5),
    ("m", 0.5, 0.6),
    ("ɑ", 0.6, 0.9),
    ("p", 0.9, 1.0),
    ("u", 1.0, 1.3),
    ("f", 1.3, 1.4),
    ("sil", 1.4, 2.5),
]


def _at(time_s: float) -> dict[str, float]:
    return lip_units(PHONES, np.array([time_s], np.float32))[0]


def test_lips_meet_for_m_and_p_and_the_jaw_opens_for_a() -> None:
    open_a = _at(0.76).get("jawOpen", 0.0)
    assert open_a > 0.25
    for closure in (0.55, 0.95):
        assert _at(closure).get("jawOpen", 0.0) < 0.4 * open_a
        assert _at(closure)["mouthPressLeft"] > 0.15


def test_lips_round_for_u_before_it_is_heard() -> None:
    assert _at(1.15)["mouthPucker"] > 0.35
    assert _at(0.97).get("mouthPucker", 0.0) > 0.03  # coarticulation


def test_lower_lip_meets_the_teeth_for_f() -> None:
    assert _at(1.35)["mouthRollLower"] > 0.25


def test_the_mouth_rests_in_silence() -> None:
    assert sum(_at(2.2).values()) < 0.05


def test_a_performance_loops_blinks_and_stays_in_range() -> None:
    seconds, fps = 8.0, 30
    rng = np.random.default_rng(1)
    voice = (rng.normal(0, 0.1, int(seconds * 48_000)) * (np.sin(np.arange(int(seconds * 48_000)) / 9000) > 0)).astype(
        np.float32
    )
    poses = perform(PHONES, voice, 48_000, seconds, fps, seed=3)
    assert len(poses) == 240
    step = max(abs(b.yaw - a.yaw) for a, b in pairwise(poses))
    assert abs(poses[0].yaw - poses[-1].yaw) < 2 * step
    assert max(abs(p.yaw) for p in poses) < 22
    assert max(p.units["eyeBlinkLeft"] for p in poses) > 0.9
    assert np.mean([p.units["eyeBlinkLeft"] > 0.5 for p in poses]) < 0.12
    assert poses[0].units["eyeBlinkLeft"] == 0
    assert poses == perform(PHONES, voice, 48_000, seconds, fps, seed=3)

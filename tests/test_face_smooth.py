"""Steadying: less jitter, no lag, quick blinks, bridged gaps."""

from __future__ import annotations

import numpy as np
import pytest

from obs_twin.face.appearance import Appearance
from obs_twin.face.observation import FaceObservation, head_frame
from obs_twin.face.smooth import MAX_GAP_NS, smooth
from obs_twin.face.topology import LEFT_EYE, RIGHT_EYE
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

FRAME_NS = 33_333_333
APPEARANCE = Appearance(
    np.full((468, 3), 120, np.float32),
    np.full((2, 3), 60, np.float32),
    0.3,
    1.0,
    np.full(3, 0.01, np.float32),
    np.zeros(2, np.float32),
)


@pytest.fixture(scope="module")
def resting() -> np.ndarray:
    found = new_perceiver().perceive(draw_face(DrawnFace()))
    assert found is not None
    return found.landmarks


def observed(landmarks: np.ndarray) -> FaceObservation:
    return FaceObservation.measured(landmarks.astype(np.float32), 1.0, (0, 0, 1, 1), APPEARANCE)


def smoothed(frames: list[FaceObservation | None], times: list[int], reach: int = 7) -> list[FaceObservation | None]:
    out = []
    for i in range(len(frames)):
        low, high = max(i - reach, 0), i + reach + 1
        out.append(smooth(frames[low:high], times[low:high], i - low))
    return out


def even(count: int) -> list[int]:
    return [10_000_000_000 + i * FRAME_NS for i in range(count)]


def wobble(tracks: list[FaceObservation | None]) -> float:
    places = np.stack([t.landmarks[:, :2] for t in tracks if t is not None])
    return float(np.sqrt(np.mean(np.diff(places, 2, axis=0) ** 2)))


def test_jitter_of_a_still_face_falls(resting: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    frames = [observed(resting + rng.normal(0, 0.4, resting.shape)) for _ in range(30)]
    after = smoothed(list(frames), even(30))
    assert wobble(after) < 0.4 * wobble(list(frames))


@pytest.mark.parametrize("times", [even(30), [10**10 + int(i * FRAME_NS + (i % 3) * 9e6) for i in range(30)]])
def test_a_moving_head_is_not_held_back(resting: np.ndarray, times: list[int]) -> None:
    speed = np.array([180.0, -60.0, 0.0])  # pixels a second
    frames = [observed(resting + speed * ((t - times[0]) / 1e9)) for t in times]
    for before, after in zip(frames, smoothed(list(frames), times), strict=True):
        assert after is not None
        assert np.abs(after.landmarks - before.landmarks).max() < 0.2


def test_a_blink_keeps_its_depth_and_its_frame(resting: np.ndarray) -> None:
    perceiver = new_perceiver()
    frames = []
    for i in range(16):
        frames.append(perceiver.perceive(draw_face(DrawnFace(eye_open=0.05 if i in (8, 9) else 1.0))))
    before = np.array([min(f.eye_opening) for f in frames if f is not None])
    after = np.array([min(f.eye_opening) for f in smoothed(list(frames), even(16)) if f is not None])
    assert after[8:10].min() < before[8:10].min() + 0.03
    assert after[5] > before[5] - 0.04
    assert after[12] > before[12] - 0.04


def test_lids_that_close_halfway_for_one_frame_are_not_held_open(resting: np.ndarray) -> None:
    half = resting.copy()
    for eye in (RIGHT_EYE, LEFT_EYE):
        upper, lower = eye[15:8:-1], eye[1:8]
        half[upper] += (half[lower] - half[upper]) * 0.5
    rng = np.random.default_rng(2)
    frames = [observed((half if i == 8 else resting) + rng.normal(0, 0.3, resting.shape)) for i in range(17)]
    after = smoothed(list(frames), even(17))
    before = np.array([np.mean(f.eye_opening) for f in frames if f is not None])
    steady = np.array([np.mean(f.eye_opening) for f in after if f is not None])
    rest = np.delete(before, 8).mean()
    assert rest - steady[8] > 0.85 * (rest - before[8])
    assert np.delete(steady, 8).std() < 0.6 * np.delete(before, 8).std()


def test_a_sudden_start_does_not_leak_into_the_frames_before(resting: np.ndarray) -> None:
    frames = [observed(resting + np.array([0.0 if i < 10 else 25.0, 0, 0])) for i in range(20)]
    after = smoothed(list(frames), even(20))
    for i in (8, 9, 10, 11):
        assert after[i] is not None
        assert np.abs(after[i].landmarks - frames[i].landmarks).max() < 1.0  # type: ignore[union-attr]


def test_a_short_gap_is_bridged_on_the_way(resting: np.ndarray) -> None:
    frames: list[FaceObservation | None] = [observed(resting + np.array([4.0 * i, 0, 0])) for i in range(16)]
    truth = [f.landmarks for f in frames if f is not None]
    frames[6:10] = [None] * 4
    after = smoothed(frames, even(16))
    for i in range(6, 10):
        assert after[i] is not None
        assert np.abs(after[i].landmarks - truth[i]).max() < 1.5  # type: ignore[union-attr]


def test_a_long_gap_an_end_and_another_face_are_not_bridged(resting: np.ndarray) -> None:
    count = MAX_GAP_NS // FRAME_NS + 4
    frames: list[FaceObservation | None] = [observed(resting), *[None] * count, observed(resting)]
    assert smooth(frames, even(len(frames)), 5) is None
    assert smooth([observed(resting), None], even(2), 1) is None
    assert smooth([None, observed(resting)], even(2), 0) is None
    assert smooth([None], [0], 0) is None
    elsewhere = observed(resting + np.array([300.0, 0, 0]))
    assert smooth([observed(resting), None, elsewhere], even(3), 1) is None


def test_a_jump_to_another_face_is_not_averaged(resting: np.ndarray) -> None:
    here, there = observed(resting), observed(resting + np.array([300.0, 0, 0]))
    after = smooth([here, here, here, there, there], even(5), 2)
    assert after is not None
    np.testing.assert_allclose(after.landmarks, here.landmarks, atol=0.05)


def test_light_is_averaged_on_both_sides(resting: np.ndarray) -> None:
    frames = []
    for i in range(15):
        look = APPEARANCE._replace(tones=np.full((468, 3), 100 + 2.0 * i, np.float32))
        frames.append(FaceObservation.measured(resting, 1.0, (0, 0, 1, 1), look))
    after = smooth(frames, even(15), 7)
    assert after is not None
    assert after.appearance.tones.mean() == pytest.approx(114, abs=0.5)


def test_points_and_head_agree(resting: np.ndarray) -> None:
    seen = observed(resting)
    rebuilt = seen.head.origin + seen.head.scale * seen.local @ seen.head.rotation.T
    np.testing.assert_allclose(rebuilt, resting, atol=0.01)
    np.testing.assert_allclose(head_frame(resting).rotation, seen.head.rotation)

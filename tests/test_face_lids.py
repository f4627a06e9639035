"""Lids: eyes shut when the actor's are, at every width of eye, and without a jump on the way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from obs_twin.face.atlas import Atlas, build_atlas
from obs_twin.face.expressions import Expressions
from obs_twin.face.lids import is_shut, shut_contour
from obs_twin.face.neutral import NeutralTracker
from obs_twin.face.observation import FaceObservation, FloatArray, opening_ratio
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import TargetPhoto, photo_from
from obs_twin.face.shape import TargetShape, lids_lowered
from obs_twin.face.topology import LEFT_EYE, MESH_POINTS, RIGHT_EYE
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

FACE = DrawnFace(brow=(10, 15, 20), face_width=0.66)


@pytest.fixture(scope="module")
def perceiver() -> FacePerceiver:
    return new_perceiver()


@pytest.fixture(scope="module")
def photo(perceiver: FacePerceiver) -> TargetPhoto:
    return photo_from(draw_face(FACE, (600, 640), (300, 320), 380), perceiver)


@pytest.fixture(scope="module")
def blinking(photo: TargetPhoto) -> Callable[[float], FaceObservation]:
    """The face with its eyes open by a share of their rest."""
    seen = photo.observation

    def at(share: float) -> FaceObservation:
        landmarks = seen.landmarks.copy()
        for eye in (RIGHT_EYE, LEFT_EYE):
            upper, lower = eye[15:8:-1], eye[1:8]
            landmarks[upper] += (landmarks[lower] - landmarks[upper]) * np.float32(1 - share)
        return FaceObservation.measured(landmarks, 1.0, seen.box, seen.appearance, seen.local)

    return at


def openings(points: FloatArray) -> FloatArray:
    return np.array([opening_ratio(points[eye, :2]) for eye in (RIGHT_EYE, LEFT_EYE)])


@pytest.mark.parametrize("wider", [0.6, 1.0, 1.5])
def test_lids_meet_when_the_actor_s_meet(
    photo: TargetPhoto, blinking: Callable[[float], FaceObservation], wider: float
) -> None:
    target = photo.observation.local[:MESH_POINTS].copy()
    for eye in (RIGHT_EYE, LEFT_EYE):
        upper, lower = eye[15:8:-1], eye[1:8]
        target[upper] = target[lower] + (target[upper] - target[lower]) * np.float32(wider)
    shape = TargetShape(target)
    rest = openings(shape.on(blinking(1.0), 1.0))
    seen = [blinking(share) for share in np.linspace(0.1, 1.0, 19)]
    curve = np.array([openings(lids_lowered(shape.on(face, 1.0), face)) for face in seen])
    assert curve[0].max() < 0.02  # the networks see a shut eye as a fifth open
    assert curve[4].max() < 0.02
    np.testing.assert_allclose(curve[-1], rest, rtol=0.02)
    assert (np.diff(curve, axis=0) > -1e-4).all()
    assert max((b - a).max() for a, b in pairwise(curve)) < 0.2 * rest.max()


def test_eyes_move_together_but_a_wink_is_a_wink(
    photo: TargetPhoto, blinking: Callable[[float], FaceObservation]
) -> None:
    shape = TargetShape(photo.observation.local[:MESH_POINTS])
    rest = openings(shape.on(blinking(1.0), 1.0))

    def drawn(right: float, left: float) -> FloatArray:
        face, other = blinking(right), blinking(left)
        landmarks = face.landmarks.copy()
        landmarks[LEFT_EYE] = other.landmarks[LEFT_EYE]
        mixed = FaceObservation.measured(landmarks, 1.0, face.box, face.appearance, face.neutral)
        return openings(lids_lowered(shape.on(mixed, 1.0), mixed)) / rest

    nearly = drawn(0.85, 0.95)
    apart = [drawn(share, share).mean() for share in (0.85, 0.95)]
    assert nearly[0] < nearly[1]
    assert nearly[1] - nearly[0] < 0.4 * (apart[1] - apart[0])
    wink = drawn(0.25, 1.0)
    assert wink[0] < 0.05
    assert wink[1] > 0.9


def test_eyes_open_wider_than_at_rest(photo: TargetPhoto, blinking: Callable[[float], FaceObservation]) -> None:
    shape = TargetShape(photo.observation.local[:MESH_POINTS])
    rest, wide = (openings(lids_lowered(shape.on(face, 1.0), face)) for face in (blinking(1.0), blinking(1.1)))
    assert (wide > 1.15 * rest).all()
    assert (wide < 1.4 * rest).all()


@pytest.mark.parametrize("yaw_deg", [-40.0, 25.0, 40.0])
def test_a_turned_eye_is_not_a_wide_one(
    photo: TargetPhoto, blinking: Callable[[float], FaceObservation], yaw_deg: float
) -> None:
    face = blinking(1.0)
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]], np.float32)
    middle = face.landmarks.mean(0)
    landmarks = (face.landmarks - middle) @ turn.T + middle
    turned = FaceObservation.measured(landmarks, 1.0, face.box, face.appearance, face.neutral)
    assert abs(turned.yaw_deg) > 20
    points = TargetShape(photo.observation.local[:MESH_POINTS]).on(turned, 1.0)
    assert (openings(lids_lowered(points, turned)) <= 1.01 * openings(points)).all()


def test_a_shut_eye_has_a_lid_of_skin_with_lashes_along_its_edge(
    photo: TargetPhoto, blinking: Callable[[float], FaceObservation]
) -> None:
    atlas = build_atlas([photo])
    expressions = Expressions(atlas)
    closed, at_rest = (expressions.texture(0, blinking(share)).astype(np.int64) for share in (0.2, 1.0))
    changed = np.argwhere(closed != at_rest)
    assert len(changed)
    low, high = changed.min(0), changed.max(0)
    eyes = atlas.points[np.concatenate([RIGHT_EYE, LEFT_EYE])][:, ::-1]
    reach = 0.12 * atlas.head_px
    assert (low > eyes.min(0) - reach).all()
    assert (high < eyes.max(0) + reach).all()
    for upper, fold in ((159, 27), (386, 257)):
        way = np.linspace(0.4, 1.0, 13)[:, None]
        x, y = np.round(atlas.points[fold] + (atlas.points[upper] - atlas.points[fold]) * way).astype(int).T
        lid = _picture(expressions, atlas, blinking(0.2))[y, x].astype(float).sum(1)
        assert lid[-2:].min() < 0.5 * lid[:4].mean()
        assert lid[:4].std() < 0.1 * lid[:4].mean()


def test_each_eye_is_shut_alone(photo: TargetPhoto) -> None:
    face = photo.observation.local
    for right in (True, False):
        assert not is_shut(face, right, 0.16)
        assert is_shut(shut_contour(face, right), right, 0.16)
        assert not is_shut(shut_contour(face, right), not right, 0.16)


def test_blinks_are_not_learnt_as_rest(blinking: Callable[[float], FaceObservation]) -> None:
    tracker = NeutralTracker()
    for share in [1.0] * 20 + [0.2] * 6 + [1.0] * 20 + [0.2] * 6:
        tracker.update(blinking(share))
    assert tracker.shape is not None
    assert openings(tracker.shape).min() > 0.93 * openings(blinking(1.0).local).min()
    # Eyes that stay narrow are that face's rest.
    for _ in range(600):
        tracker.update(blinking(0.6))
    assert openings(tracker.shape).max() < 0.8 * openings(blinking(1.0).local).max()


def _picture(expressions: Expressions, atlas: Atlas, observation: FaceObservation) -> np.ndarray:
    """The atlas's largest level as the expression needs it, unpacked."""
    texture = expressions.texture(0, observation)
    return texture.view(np.uint8).reshape(*atlas.levels[0].shape[:2], 4)[..., :3]

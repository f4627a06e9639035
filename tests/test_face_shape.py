"""The target's shape on the actor: what counts as shape, and what as pose."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from obs_twin.face.observation import FaceObservation
from obs_twin.face.shape import TargetShape, laid_over
from obs_twin.face.topology import MESH_POINTS, OVAL
from tests.drawn_face import DrawnFace, draw_face
from tests.test_face_perceive import new_perceiver

F32 = npt.NDArray[np.float32]
FIXED = np.array([33, 133, 362, 263, 168, 4, 2], np.int32)


@pytest.fixture(scope="module")
def seen() -> FaceObservation:
    found = new_perceiver().perceive(draw_face(DrawnFace(), (640, 480), (320, 240), 300))
    assert found is not None
    return replace(found, neutral=found.local)


def turned(face: F32, degrees: tuple[float, float, float], scale: float = 1.0) -> F32:
    rotation, _ = cv2.Rodrigues(np.radians(np.array(degrees)))
    return np.asarray(scale * face @ rotation.T.astype(np.float32) + np.array([0.02, -0.01, 0.03]), np.float32)


def test_a_face_is_laid_over_itself_however_it_was_turned(seen: FaceObservation) -> None:
    face = seen.local[:MESH_POINTS]
    np.testing.assert_allclose(laid_over(turned(face, (5, -4, 2), 1.1), face, FIXED), face, atol=1e-4)


def test_a_mirrored_face_is_turned_but_never_mirrored_back(seen: FaceObservation) -> None:
    face = seen.local[:MESH_POINTS]
    mirrored = face * np.array([-1, 1, 1], np.float32)
    laid = laid_over(mirrored, face, FIXED)
    handed = [np.linalg.det(points[[33, 263, 152]] - points[4]) for points in (face, mirrored, laid)]
    assert handed[1] * handed[0] < 0
    assert handed[2] * handed[1] > 0


def test_one_point_or_a_mistaken_size_leaves_a_face(seen: FaceObservation) -> None:
    face = seen.local[:MESH_POINTS]
    assert np.isfinite(laid_over(np.zeros_like(face), face, FIXED)).all()
    huge = laid_over(face, face * np.float32(10), FIXED)
    assert np.ptp(huge[:, 0]) == pytest.approx(1.25 * np.ptp(face[:, 0]), rel=1e-3)


def test_the_same_face_photographed_from_a_little_below_changes_nothing(seen: FaceObservation) -> None:
    shape = TargetShape(turned(seen.local[:MESH_POINTS], (4, 0, 0), 1.05))
    moved = shape.on(seen, 1.0) - seen.landmarks[:MESH_POINTS]
    assert np.abs(moved).max() < 0.02 * seen.head.scale


def test_features_follow_the_target_further_than_the_outline(seen: FaceObservation) -> None:
    target = seen.local[:MESH_POINTS].copy()
    target[:, 0] *= np.float32(0.9)
    target[FIXED] = seen.local[FIXED]
    full, part = (
        np.abs(TargetShape(target).on(seen, amount) - seen.landmarks[:MESH_POINTS])[:, 0] for amount in (1.0, 0.5)
    )
    mouth_corner = 61
    assert part[mouth_corner] / full[mouth_corner] == pytest.approx(0.75, abs=0.03)
    np.testing.assert_allclose(part[OVAL] / np.maximum(full[OVAL], 1e-6), 0.5, atol=0.1)

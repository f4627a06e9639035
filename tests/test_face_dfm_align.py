"""The network's square: where DeepFaceLab would cut it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from obs_twin.face.dfm import align
from obs_twin.face.dfm.align import FACE_TYPES, face_matrix, inverse, similarity, type_coverage

FloatArray = npt.NDArray[np.float32]


def mean_landmarks(scale: float = 1.0) -> FloatArray:
    """A mesh whose alignment points lie exactly on the mean face, `scale` pixels large, the others anywhere."""
    points = np.random.default_rng(5).random((468, 3)).astype(np.float32) * np.float32(scale)
    points[align._MESH, :2] = align._MEAN_FACE * scale
    return points


def placed(matrix: npt.NDArray[np.float64], x: float, y: float) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64] = matrix[:, :2] @ np.array([x, y]) + matrix[:, 2]
    return out


# DeepFaceLab: half the square's diagonal is (margin * sqrt(2) + 0.5) of the mean square's diagonal, around its middle,
# which moves up by 7 % of its side for the whole face and by half of it for the head.
SQUARES = {
    "half": (1.0, 0.5),
    "mid_full": (2 * (0.0675 * 2**0.5 + 0.5), 0.5),
    "full": (2 * (0.2109375 * 2**0.5 + 0.5), 0.5),
    "whole_face": (2 * (0.40 * 2**0.5 + 0.5), 0.43),
    "head": (2 * (0.70 * 2**0.5 + 0.5), 0.0),
}


@pytest.mark.parametrize("face_type", FACE_TYPES)
def test_the_square_of_each_face_type_is_deepfacelab_s(face_type: str) -> None:
    side, middle_y = SQUARES[face_type]
    assert type_coverage(face_type) == pytest.approx(side)
    matrix = face_matrix(mean_landmarks(100.0), 224, face_type)
    np.testing.assert_allclose(placed(matrix, 50, 100 * middle_y), [112, 112], atol=1e-4)
    np.testing.assert_allclose(placed(matrix, 50 - 50 * side, 100 * middle_y - 50 * side), [0, 0], atol=1e-4)
    np.testing.assert_allclose(placed(matrix, 50 + 50 * side, 100 * middle_y + 50 * side), [224, 224], atol=1e-4)


def test_a_whole_face_lies_where_others_who_know_deepfacelab_put_it() -> None:
    """Eyes, nose and mouth within 4 % of the five-point template that other programs use for such models."""
    matrix = face_matrix(mean_landmarks(100.0), 1000, "whole_face")
    mean = align._MEAN_FACE * 100
    eyes = [mean[19:25].mean(0), mean[25:31].mean(0)]
    for point, template in zip(
        [*eyes, mean[13], mean[31], mean[32]],
        [(353, 393), (628, 393), (487, 540), (388, 688), (598, 688)],
        strict=True,
    ):
        assert np.linalg.norm(placed(matrix, *point) - template) < 40


@given(
    scale=st.floats(0.2, 8),
    angle=st.floats(-3.1, 3.1),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    face_type=st.sampled_from(FACE_TYPES),
)
def test_the_square_follows_the_face(scale: float, angle: float, shift: tuple[float, float], face_type: str) -> None:
    points = mean_landmarks(100.0)
    points[:, :2] += np.random.default_rng(1).normal(0, 2, (468, 2))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ turn.T + shift
    before, after = face_matrix(points, 96, face_type), face_matrix(moved, 96, face_type)
    for x, y in ((0.0, 0.0), (100.0, 0.0), (30.0, 80.0)):
        np.testing.assert_allclose(placed(after, *(turn @ (x, y) + shift)), placed(before, x, y), atol=0.02)


def test_coverage_and_offsets_move_the_square() -> None:
    points = mean_landmarks(100.0)
    np.testing.assert_allclose(
        face_matrix(points, 224, "half", coverage=type_coverage("full")), face_matrix(points, 224, "full")
    )
    base = face_matrix(points, 100, "half")
    moved = face_matrix(points, 100, "half", x_offset=0.1, y_offset=0.2)
    np.testing.assert_allclose(placed(moved, 60, 70), placed(base, 50, 50), atol=1e-6)


@given(st.integers(0, 1000))
def test_similarity_is_the_best_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(12, 2)), rng.normal(size=(12, 2))

    def error(matrix: npt.NDArray[np.float64]) -> float:
        return float(np.square(source @ matrix[:, :2].T + matrix[:, 2] - target).sum())

    best = similarity(source, target)
    assert best[0, 0] == best[1, 1]
    assert best[0, 1] == -best[1, 0]
    for _ in range(5):
        a, b, x, y = rng.normal(0, 0.05, 4)
        assert error(best) <= error(best + np.array([[a, -b, x], [b, a, y]])) + 1e-9


def test_inverse_undoes() -> None:
    matrix = face_matrix(mean_landmarks(80.0), 64, "head")
    x, y = placed(matrix, 12, 34)
    np.testing.assert_allclose(placed(inverse(matrix), x, y), [12, 34], atol=1e-6)

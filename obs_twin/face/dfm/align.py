"""The square that a DFM network looks at: a face laid onto DeepFaceLab's mean face.

DeepFaceLab cuts every face, in training and in use, by one rule: the least-squares similarity (Umeyama 1991) between
33 of its 68 landmarks and a mean face in a unit square; around that square a margin whose width is the *face type*;
and for the two largest types a shift upwards, to hold more forehead. A network only works on faces that are cut as
those were that it learnt from, so the numbers below are DeepFaceLab's own (iperov/DeepFaceLab,
`LandmarksProcessor.py`).

The landmarks are the face mesh's. Where a mesh point and one of the 68 are not the same spot of a face (brows, wings of
the nose), the mesh point is the one that lies nearest to it on an average face.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from obs_twin.face.observation import FloatArray

Matrix = npt.NDArray[np.float64]

# Which mesh point stands for each of the landmarks 17 to 48 and 54: right brow, left brow, bridge of the nose, its
# base, right eye, left eye, the mouth's corners.
# fmt: off
_MESH = np.array([70, 63, 105, 66, 55, 285, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
                  33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, 61, 291], np.int32)
_MEAN_X = np.array([0.000213, 0.075262, 0.181130, 0.290770, 0.393397, 0.586856, 0.689483, 0.799124, 0.904991, 0.980040,
                    0.490127, 0.490127, 0.490127, 0.490127, 0.366880, 0.426036, 0.490127, 0.554217, 0.613373,
                    0.121737, 0.187122, 0.265825, 0.334606, 0.260918, 0.182743,
                    0.645647, 0.714428, 0.793132, 0.858516, 0.797510, 0.719335, 0.254149, 0.726104])
_MEAN_Y = np.array([0.106454, 0.038915, 0.018748, 0.034489, 0.077391, 0.077391, 0.034489, 0.018748, 0.038915, 0.106454,
                    0.203352, 0.307009, 0.409805, 0.515625, 0.587326, 0.609345, 0.628106, 0.609345, 0.587326,
                    0.216423, 0.178758, 0.179852, 0.231733, 0.245099, 0.244077,
                    0.231733, 0.179852, 0.178758, 0.216423, 0.244077, 0.245099, 0.780233, 0.780233])
# fmt: on
_MEAN_FACE = np.stack([_MEAN_X, _MEAN_Y], axis=1)

# Margin on each side of the mean face's square, and how far up the square moves, both in units of its side.
_MARGINS = {"half": 0.0, "mid_full": 0.0675, "full": 0.2109375, "whole_face": 0.40, "head": 0.70}
_LIFTS = {"whole_face": 0.07, "head": 0.50}

FACE_TYPES = tuple(_MARGINS)
"""What a model was trained on, smallest first; whole face is by far the most common."""


def type_coverage(face_type: str) -> float:
    """The square's side for a face type, in units of the mean face's square: DeepFaceLive's "face coverage"."""
    # DeepFaceLab adds the margin along the diagonal, which is why its root of two comes twice.
    return float(1.0 + 2.0 * np.sqrt(2.0) * _MARGINS[face_type])


def face_matrix(
    landmarks: FloatArray,
    size_px: int,
    face_type: str = "whole_face",
    *,
    coverage: float = 0.0,
    x_offset: float = 0.0,
    y_offset: float = 0.0,
) -> Matrix:
    """Where a frame's pixels lie in the network's square.

    Args:
        landmarks: `(468 or more, 2 or 3) float32`, the mesh in pixels of the frame (centres at whole numbers).
        size_px: the square's side in pixels.
        face_type: one of `FACE_TYPES`.
        coverage: the square's side in units of the mean face's square; 0 takes the face type's.
        x_offset, y_offset: shift of the square in the same unit, to the right and downwards on an upright face.

    Returns:
        `(2, 3) float64` for `cv2.warpAffine`: square = matrix @ (x, y, 1).
    """
    side = coverage if coverage > 0 else type_coverage(face_type)
    to_mean = similarity(landmarks[_MESH, :2], _MEAN_FACE)
    centre = np.array([0.5 + x_offset, 0.5 + y_offset - _LIFTS.get(face_type, 0.0)])
    scale = size_px / side
    matrix = to_mean * scale
    matrix[:, 2] += size_px / 2 - centre * scale
    return matrix


def similarity(source: npt.NDArray[np.floating], target: npt.NDArray[np.floating]) -> Matrix:
    """The turn, scale and shift `(2, 3)` that bring points `(N, 2)` closest to others (Umeyama 1991)."""
    # In the plane this has a closed form: points as complex numbers, and one complex factor between them.
    a = source[:, 0].astype(np.float64) + 1j * source[:, 1]
    b = target[:, 0].astype(np.float64) + 1j * target[:, 1]
    a_mean, b_mean = a.mean(), b.mean()
    spread = float(np.square(np.abs(a - a_mean)).sum())
    factor = complex(((b - b_mean) * np.conj(a - a_mean)).sum()) / max(spread, 1e-12)
    shift = complex(b_mean) - factor * complex(a_mean)
    return np.array([[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]])


def inverse(matrix: Matrix) -> Matrix:
    """The `(2, 3)` matrix that undoes another one."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -linear @ matrix[:, 2:]], axis=1)

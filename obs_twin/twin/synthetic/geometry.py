"""Arithmetic on many points at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, fastmath=True)
def affine(points: FloatArray, matrix: FloatArray, offset: FloatArray) -> FloatArray:
    """``points @ matrix.T + offset`` for (N, 3) points, without a thread pool's overhead."""
    out = np.empty((points.shape[0], 3), np.float32)
    for i in range(points.shape[0]):
        x = points[i, 0]
        y = points[i, 1]
        z = points[i, 2]
        for c in range(3):
            out[i, c] = matrix[c, 0] * x + matrix[c, 1] * y + matrix[c, 2] * z + offset[c]
    return out


def rotate(points: FloatArray, matrix: FloatArray) -> FloatArray:
    """``points @ matrix.T`` for (N, 3) points."""
    return affine(points, np.ascontiguousarray(matrix, np.float32), np.zeros(3, np.float32))


@njit(cache=True, nogil=True, fastmath=True)
def perspective(points: FloatArray, cx: float, cy: float, focal: float, distance: float) -> FloatArray:
    """(N, 3): pixel x, pixel y (down) and depth of points seen from ``distance`` on the z axis."""
    out = np.empty((points.shape[0], 3), np.float32)
    for i in range(points.shape[0]):
        depth = distance - points[i, 2]
        out[i, 0] = cx + focal * points[i, 0] / depth
        out[i, 1] = cy - focal * points[i, 1] / depth
        out[i, 2] = depth
    return out

"""Value noise in three dimensions, for skin, iris, cloth and hair."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]


@njit(cache=True, nogil=True, fastmath=True, inline="always")
def lattice(x: int, y: int, z: int) -> float:
    """A fixed pseudo-random number in 0..1 for each lattice point."""
    h = (x * 374761393 + y * 668265263 + z * 2147483647 + 144665) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 668265263) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, nogil=True, fastmath=True)
def noise(x: float, y: float, z: float) -> float:
    """Smooth noise, 0..1, features about one unit wide."""
    fx = np.floor(x)
    fy = np.floor(y)
    fz = np.floor(z)
    ix = int(fx)
    iy = int(fy)
    iz = int(fz)
    u = x - fx
    v = y - fy
    w = z - fz
    u = u * u * (3 - 2 * u)
    v = v * v * (3 - 2 * v)
    w = w * w * (3 - 2 * w)
    total = 0.0
    for k in range(8):
        dx = k & 1
        dy = (k >> 1) & 1
        dz = k >> 2
        weight = (u if dx else 1 - u) * (v if dy else 1 - v) * (w if dz else 1 - w)
        total += weight * lattice(ix + dx, iy + dy, iz + dz)
    return total


@njit(cache=True, nogil=True, fastmath=True)
def noise_at(points: FloatArray, scale: float, octaves: int) -> FloatArray:
    """(N,) noise 0..1 at ``points`` (N, 3) times ``scale``, ``octaves`` of it summed with halving weight."""
    out = np.empty(points.shape[0], np.float32)
    for i in range(points.shape[0]):
        total = 0.0
        weight = 0.5
        norm = 0.0
        s = scale
        for _ in range(octaves):
            total += weight * noise(points[i, 0] * s, points[i, 1] * s, points[i, 2] * s)
            norm += weight
            weight *= 0.5
            s *= 2.03
        out[i] = total / norm
    return out

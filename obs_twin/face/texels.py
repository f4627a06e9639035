"""A face unwrapped to texels that stay on the same spot of skin, and what is remembered of each.

The running mean and spread of every texel's colour, less a smooth field of light (Stauffer and Grimson 1999; Wren et
al. 1997, "Pfinder"). `occlusion` says what is made of it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from obs_twin.face.square import FloatArray, Image
from obs_twin.face.topology import MESH_POINTS, TRIANGLES

TEXELS = 80
_AXIS_DEPTH = 0.55  # of the cylinder onto which the face is unwrapped, behind the eyes, in sizes of the head
_EDGE_TEXELS = 2.0
_DARKEST = 6.0  # added before the logarithm, so that noise in black does not count
_CLIPPED = 250
LEARN_FRAMES = 24.0
_SLOWEST_STEP = 0.02
# Differences in brightness and in colour (log units) that make an outlier by themselves, and the share of the texel's
# own spread that is added to them.
_BRIGHTNESS, _COLOUR, _SPREADS = 0.62, 0.17, 2.0
# What is within these of the skin around it is skin.
_SKIN_BRIGHTNESS, _SKIN_COLOUR = 0.38, 0.11
# What is within these of a texel's own mean, and twice its spread, is surely the face.
_SAME_BRIGHTNESS, _SAME_COLOUR = 0.12, 0.05
_FIT_ROUNDS = 3
_FIT_SCALE = 0.25
_FIT_RIDGE = 0.02
_FIT_LEAST = 40
_RELOCK = 1.2
_RISE, FALL = 0.9, 0.7


def unwrapped(local: FloatArray) -> FloatArray:
    """Places `(468, 2) float32` of the mesh points on a cylinder around the head's axis, in texels."""
    points = local[:MESH_POINTS]
    angle = np.arctan2(points[:, 0], _AXIS_DEPTH - points[:, 2])
    flat = np.stack([angle, points[:, 1]], axis=1)
    low, high = flat.min(0), flat.max(0)
    scaled = (flat - low) / np.maximum(high - low, 1e-6) * (TEXELS - 1 - 2 * _EDGE_TEXELS) + _EDGE_TEXELS
    return np.asarray(scaled, np.float32)


def areas(points: FloatArray) -> FloatArray:
    """Areas of the mesh's triangles, positive where they face the camera."""
    a, b, c = (points[TRIANGLES[:, k]] for k in range(3))
    area = (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) - (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    return np.asarray(np.where(np.abs(area) < 1e-3, 1e-3, area), np.float32)


@njit(cache=True, nogil=True, fastmath=True)
def fit_light(
    values: FloatArray,
    known: Image,
    mean: FloatArray,
    count: FloatArray,
    basis: FloatArray,
    near: Image,
    light: FloatArray,
) -> None:
    """Find the `light` `(3, 6)` that explains the difference between `values` and `mean` best, in place.

    Reweighted least squares, once from the light of the frame before without what is `near` a thing that was in front,
    and once from a plain shift to the median.
    """
    most = values.shape[0] * values.shape[1]
    away = np.empty((most, 3), np.float32)
    rows = np.empty((most, 6), np.float32)
    trust = np.empty(most, np.float32)
    n = 0
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            if known[y, x] == 255 and count[y, x] > 0:
                away[n] = values[y, x] - mean[y, x]
                rows[n] = basis[y, x]
                trust[n] = np.float32(0.05) if near[y, x] else np.float32(1)
                n += 1
    if n < _FIT_LEAST:
        return
    best_fit = np.float32(-1)
    best = light.copy()
    for attempt in range(2):
        guess = light.copy()
        if attempt == 1:
            rest = away[:n] - rows[:n] @ light.T
            for c in range(3):
                guess[c, 0] += np.median(rest[:, c])
        fit = np.float32(0)
        for step in range(_FIT_ROUNDS + 1):
            normal = np.zeros((6, 6), np.float64)
            right = np.zeros((6, 3), np.float64)
            fit = np.float32(0)
            for i in range(n):
                rest0, rest1, rest2 = away[i, 0], away[i, 1], away[i, 2]
                for k in range(6):
                    rest0 -= guess[0, k] * rows[i, k]
                    rest1 -= guess[1, k] * rows[i, k]
                    rest2 -= guess[2, k] * rows[i, k]
                size = (rest0 * rest0 + rest1 * rest1 + rest2 * rest2) * np.float32(1 / _FIT_SCALE**2)
                weight = np.float32(1) / (np.float32(1) + size) ** 2
                fit += weight
                if attempt == 0:
                    weight *= trust[i]
                if step == _FIT_ROUNDS:
                    continue
                for k in range(6):
                    part = weight * rows[i, k]
                    right[k, 0] += part * rest0
                    right[k, 1] += part * rest1
                    right[k, 2] += part * rest2
                    for m in range(k + 1):
                        normal[k, m] += part * rows[i, m]
            if step == _FIT_ROUNDS:
                break
            for k in range(6):
                for m in range(k):
                    normal[m, k] = normal[k, m]
                normal[k, k] += _FIT_RIDGE * n if k else 1e-3
            change = np.linalg.solve(normal, right)
            for c in range(3):
                for k in range(6):
                    guess[c, k] += np.float32(change[k, c])
        if fit > best_fit * (_RELOCK if attempt else 1.0):
            best_fit = fit
            best[:] = guess
    light[:] = best


@njit(cache=True, nogil=True, fastmath=True)
def to_values(seen: Image, known: Image, values: FloatArray) -> None:
    """Brightness, blue less green, red less green, as logarithms. Clipped texels become unknown."""
    logs = np.empty(256, np.float32)
    for n in range(256):
        logs[n] = np.log(np.float32(n + _DARKEST))
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            if known[y, x] == 0:
                continue
            b, g, r = seen[y, x, 0], seen[y, x, 1], seen[y, x, 2]
            if b >= _CLIPPED and g >= _CLIPPED and r >= _CLIPPED:
                known[y, x] = 1
            values[y, x, 0] = (logs[b] + logs[g] + logs[r]) / np.float32(3)
            values[y, x, 1] = logs[b] - logs[g]
            values[y, x, 2] = logs[r] - logs[g]


@njit(cache=True, nogil=True, fastmath=True)
def compare(
    values: FloatArray,
    known: Image,
    under_hand: Image,
    mean: FloatArray,
    spread: FloatArray,
    count: FloatArray,
    skin: FloatArray,
    light: FloatArray,
    basis: FloatArray,
    score: FloatArray,
    state: FloatArray,
) -> tuple[int, int]:
    """Move each texel's `state` (0 face .. 1 covered) towards what this frame says.

    Returns:
        Of the texels under a hand, how many do not look like the face there; and how many they are.
    """
    unlike, under = 0, 0
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            now = np.float32(0)
            if known[y, x] and count[y, x] > 0:
                off0, off1, off2 = values[y, x, 0], values[y, x, 1], values[y, x, 2]
                for k in range(6):
                    off0 -= light[0, k] * basis[y, x, k]
                    off1 -= light[1, k] * basis[y, x, k]
                    off2 -= light[2, k] * basis[y, x, k]
                d0, d1, d2 = off0 - mean[y, x, 0], off1 - mean[y, x, 1], off2 - mean[y, x, 2]
                s0, s1, s2 = off0 - skin[y, x, 0], off1 - skin[y, x, 1], off2 - skin[y, x, 2]
                own0 = np.float32(_BRIGHTNESS) + np.float32(_SPREADS) * np.sqrt(spread[y, x, 0])
                own1 = np.float32(_COLOUR) + np.float32(_SPREADS) * np.sqrt(spread[y, x, 1])
                if under_hand[y, x] > 127:
                    close0 = np.float32(_SAME_BRIGHTNESS) + np.float32(2) * np.sqrt(spread[y, x, 0])
                    close1 = np.float32(_SAME_COLOUR) + np.float32(2) * np.sqrt(spread[y, x, 1])
                    under += 1
                    unlike += int((d0 / close0) ** 2 + (d1 * d1 + d2 * d2) / (close1 * close1) > 1)
                face = (d0 / own0) ** 2 + (d1 * d1 + d2 * d2) / (own1 * own1)
                like = (s0 / np.float32(_SKIN_BRIGHTNESS)) ** 2 + (s1 * s1 + s2 * s2) / np.float32(_SKIN_COLOUR**2)
                away = min(np.sqrt(face), np.sqrt(like))
                now = min(max((away - np.float32(0.7)) / np.float32(0.6), np.float32(0)), np.float32(1))
            if under_hand[y, x]:
                now = np.float32(0)
            score[y, x] = now
            step = np.float32(_RISE) if now > state[y, x] else np.float32(FALL)
            state[y, x] += (now - state[y, x]) * step
    return unlike, under


@njit(cache=True, nogil=True, fastmath=True)
def learn(
    values: FloatArray,
    known: Image,
    covered: Image,
    under_hand: Image,
    light: FloatArray,
    basis: FloatArray,
    skin: FloatArray,
    frames: int,
    mean: FloatArray,
    spread: FloatArray,
    count: FloatArray,
    score: FloatArray,
) -> None:
    """Take this frame's uncovered texels into mean and spread."""
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            # After the first second, nothing but face is learnt: else a thing that moves slowly would creep in.
            if known[y, x] != 255 or under_hand[y, x] or covered[y, x] or (frames > LEARN_FRAMES and score[y, x] > 0):
                continue
            n = count[y, x] + np.float32(1)
            count[y, x] = min(n, np.float32(LEARN_FRAMES))
            step = max(np.float32(1) / n, np.float32(_SLOWEST_STEP))
            colour = np.float32(0)
            for c in range(3):
                off = values[y, x, c]
                for k in range(6):
                    off -= light[c, k] * basis[y, x, k]
                difference = off - mean[y, x, c]
                mean[y, x, c] += difference * step
                if n > 1:
                    if c == 0:
                        spread[y, x, 0] += (difference * difference - spread[y, x, 0]) * np.float32(_SLOWEST_STEP)
                    else:
                        colour += difference * difference
            if n > 1:
                spread[y, x, 1] += (colour - spread[y, x, 1]) * np.float32(_SLOWEST_STEP)

"""The twin's detail, octave by octave as strong as the actor's camera shows it.

A sharp photo on a soft picture gives a twin away first, and a soft photo on a sharp picture next. One blur cannot mend
both: cameras sharpen what their lenses softened, video coding takes fine skin and leaves edges. So the picture is taken
apart into octaves (a Laplacian pyramid: Burt and Adelson 1983, "The Laplacian pyramid as a compact image code"), and
each is given the mean strength that the same octave has on the actor's face.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

OCTAVES = 3
"""How many octaves of detail are matched, from the finest; coarser ones are the face itself."""
_SIGMA_PX = 1.0  # of the first blur; each further one is twice as wide
_TO_NEXT = 0.866  # blurs one octave further what was halved after the blur before
_LEAST, _MOST = 0.1, 1.4  # of what an octave is multiplied with
# How much of what is measured in an octave comes from the next coarser one, whose edges reach into it.
_LEAK = (0.4, 0.3, 0.0)
_FAINT = 0.002  # of the brightness: an octave this weak says nothing
_STEP = 2  # every second pixel is measured


class Octaves(NamedTuple):
    """A picture and its blurs, each an octave softer than the one before; all `(H, W, C)` or `(H, W)`, `uint8`."""

    sharp: Image
    soft: Image
    softer: Image
    softest: Image


def octaves(picture: Image) -> Octaves:
    """Take `picture` `(H, W)` or `(H, W, 3) uint8` apart."""
    size = (picture.shape[1], picture.shape[0])
    soft = np.asarray(cv2.GaussianBlur(picture, (5, 5), _SIGMA_PX), np.uint8)
    half = np.asarray(cv2.GaussianBlur(_halved(soft), (5, 5), _TO_NEXT), np.uint8)
    quarter = np.asarray(cv2.GaussianBlur(_halved(half), (5, 5), _TO_NEXT), np.uint8)
    softer, softest = (cv2.resize(small, size, interpolation=cv2.INTER_LINEAR) for small in (half, quarter))
    return Octaves(picture, soft, np.asarray(softer, np.uint8), np.asarray(softest, np.uint8))


def _halved(picture: Image) -> Image:
    size = (max(picture.shape[1] // 2, 1), max(picture.shape[0] // 2, 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def strengths(parts: Octaves, place: tuple[slice, slice]) -> FloatArray:
    """Each octave's mean size `(OCTAVES,)` inside `place`, as a share of the mean brightness there; nan in the dark."""
    out = np.empty(OCTAVES, np.float32)
    a, b, c, d = (part[place].reshape(*part[place].shape[:2], -1) for part in parts)
    _measure(a, b, c, d, out)
    return out


def gains(own: FloatArray, wanted: FloatArray, amount: float) -> FloatArray:
    """What to multiply each octave `(OCTAVES,)` with, so that `own` strengths become the `wanted` ones.

    An octave that is not known takes the next coarser one's, if that softens.
    """
    out = np.ones(OCTAVES, np.float32)
    coarser = 1.0
    for k in range(OCTAVES - 1, -1, -1):
        if np.isfinite(own[k]) and np.isfinite(wanted[k]) and own[k] > _FAINT:
            gain = float(np.clip((wanted[k] / own[k] - _LEAK[k] * coarser) / (1 - _LEAK[k]), _LEAST, _MOST))
        else:
            gain = min(coarser, 1.0)
        out[k] = coarser = gain
    return np.asarray(1 + (out - 1) * np.float32(amount), np.float32)


def assembled(parts: Octaves, gain: FloatArray, out: Image) -> None:
    """Put the octaves together again into `out` `(H, W, 3) uint8`, each multiplied with its `gain` `(OCTAVES,)`."""
    g = [round(float(v) * 256) for v in gain]
    weights = np.array([g[0], g[1] - g[0], g[2] - g[1], 256 - g[2]], np.int32)
    a, b, c, d = (part.reshape(-1) for part in parts)
    _mix(a, b, c, d, weights, out.reshape(-1))


@njit(cache=True, nogil=True, fastmath=True)
def _measure(sharp: Image, soft: Image, softer: Image, softest: Image, out: FloatArray) -> None:
    height, width, channels = sharp.shape
    green = channels // 2  # carries most of the brightness
    sums = np.zeros(3, np.int64)
    brightness, count = np.int64(0), 0
    for y in range(0, height, _STEP):
        for x in range(0, width, _STEP):
            a, b = np.int64(sharp[y, x, green]), np.int64(soft[y, x, green])
            c, d = np.int64(softer[y, x, green]), np.int64(softest[y, x, green])
            sums[0] += abs(a - b)
            sums[1] += abs(b - c)
            sums[2] += abs(c - d)
            brightness += d
            count += 1
    dark = brightness < 4 * count or count == 0
    for k in range(3):
        out[k] = np.nan if dark else sums[k] / brightness


@njit(cache=True, nogil=True, fastmath=True)
def _mix(sharp: Image, soft: Image, softer: Image, softest: Image, weights: npt.NDArray[np.int32], out: Image) -> None:
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for n in range(out.shape[0]):
        value = np.int32(sharp[n]) * w0 + np.int32(soft[n]) * w1 + np.int32(softer[n]) * w2 + np.int32(softest[n]) * w3
        out[n] = np.uint8(min(max((value + 128) >> 8, 0), 255))

"""The twin's detail, octave by octave as strong as the actor's camera shows it.

A sharp photo on a soft picture gives a twin away first, and a soft photo on a sharp picture next. One blur cannot mend
both: cameras sharpen what their lenses softened, video coding takes fine skin and leaves edges. So the picture is taken
apart into octaves (a Laplacian pyramid: Burt and Adelson 1983, "The Laplacian pyramid as a compact image code"), and
each is given the mean strength that the same octave has on the actor's face.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

OCTAVES = 3
"""How many octaves of detail are matched, from the finest; coarser ones are the face itself."""
# The first blur, with a standard deviation of 1 pixel; each further one is twice as wide. Without a deviation, OpenCV
# takes the binomial weights 1 4 6 4 1, which it has fast code for.
_BINOMIAL = (5, 5)
_TO_NEXT = 0.866  # blurs one octave further what was halved after the blur before
_LEAST, _MOST = 0.1, 1.4  # of what an octave is multiplied with
# How much of what is measured in an octave comes from the next coarser one, whose edges reach into it.
_LEAK = (0.4, 0.3, 0.0)
# How much of the match is made. The coarsest octave draws brows, eyes and lips: it says who this is.
_MATCHED = np.array([1.0, 1.0, 0.25], np.float32)
_FAINT = 0.002  # of the brightness: an octave this weak says nothing
_STEP = 2  # every second pixel is measured
_DARK = 4.0  # levels


class Octaves(NamedTuple):
    """A picture `(H, W, C)` or `(H, W) uint8` and its blurs, each an octave softer than the one before.

    Attributes:
        sharp, soft: the picture and its first blur, as large as it is.
        soft_half, softer_half, softest_half: the first, second and third blur, half as large.
    """

    sharp: Image
    soft: Image
    soft_half: Image
    softer_half: Image
    softest_half: Image


def octaves(picture: Image) -> Octaves:
    """Take `picture` `(H, W)` or `(H, W, 3) uint8` apart."""
    soft = np.asarray(cv2.GaussianBlur(picture, _BINOMIAL, 0), np.uint8)
    half = _halved(soft)
    softer = np.asarray(cv2.GaussianBlur(half, (5, 5), _TO_NEXT), np.uint8)
    quarter = cv2.GaussianBlur(_halved(softer), (5, 5), _TO_NEXT)
    softest = cv2.resize(quarter, (half.shape[1], half.shape[0]), interpolation=cv2.INTER_LINEAR)
    return Octaves(picture, soft, half, softer, np.asarray(softest, np.uint8))


def _halved(picture: Image) -> Image:
    size = (max(picture.shape[1] // 2, 1), max(picture.shape[0] // 2, 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def strengths(parts: Octaves, place: tuple[slice, slice]) -> FloatArray:
    """Each octave's mean size `(OCTAVES,)` inside `place`, as a share of the mean brightness there; nan in the dark."""
    half = tuple(slice(edge.start // 2, (edge.stop + 1) // 2) for edge in place)
    whole = [_plane(part[place]) for part in parts[:2]]
    fine, brightness = _mean_difference(*whole)
    if brightness < _DARK:
        return np.full(OCTAVES, np.nan, np.float32)
    halves = [_plane(part[half]) for part in parts[2:]]
    sizes = [fine] + [_mean_difference(a, b)[0] for a, b in pairwise(halves)]
    return np.array(sizes, np.float32) / np.float32(brightness)


def _plane(picture: Image) -> Image:
    """Green `(H, W)`, which carries most of the brightness."""
    return picture if picture.ndim == 2 else picture[..., 1]


def gains(own: FloatArray, wanted: FloatArray, amount: float) -> FloatArray:
    """What to multiply each octave `(OCTAVES,)` with, so that `own` strengths become the `wanted` ones.

    The coarsest one is matched by a quarter. An octave that is not known takes the next coarser one's, if that softens.
    """
    out = np.ones(OCTAVES, np.float32)
    coarser = 1.0
    for k in range(OCTAVES - 1, -1, -1):
        if np.isfinite(own[k]) and np.isfinite(wanted[k]) and own[k] > _FAINT:
            gain = float(np.clip((wanted[k] / own[k] - _LEAK[k] * coarser) / (1 - _LEAK[k]), _LEAST, _MOST))
        else:
            gain = min(coarser, 1.0)
        out[k] = coarser = gain
    return np.asarray(1 + (out - 1) * np.float32(amount) * _MATCHED, np.float32)


def assembled(parts: Octaves, gain: FloatArray, out: Image) -> None:
    """Put the octaves together again into `out` `(H, W, 3) uint8`, each multiplied with its `gain` `(OCTAVES,)`."""
    fine, middle, coarse = (round(float(v) * 256) for v in gain)
    below = np.empty(parts.softer_half.shape, np.int16)
    _mix_halves(parts.softer_half.reshape(-1), parts.softest_half.reshape(-1), coarse - middle, 256 - coarse, below)
    size = (out.shape[1], out.shape[0])
    whole = np.asarray(cv2.resize(below, size, interpolation=cv2.INTER_LINEAR), np.int16)
    _mix(parts.sharp.reshape(-1), parts.soft.reshape(-1), whole.reshape(-1), fine, middle - fine, out.reshape(-1))


@njit(cache=True, nogil=True, fastmath=True)
def _mean_difference(sharp: Image, soft: Image) -> tuple[float, float]:
    """The mean of what two pictures `(H, W)` differ in, and the mean of the second."""
    difference, brightness, count = np.int64(0), np.int64(0), 0
    for y in range(0, sharp.shape[0], _STEP):
        for x in range(0, sharp.shape[1], _STEP):
            b = np.int64(soft[y, x])
            difference += abs(np.int64(sharp[y, x]) - b)
            brightness += b
            count += 1
    return difference / max(count, 1), brightness / max(count, 1)


@njit(cache=True, nogil=True, fastmath=True)
def _mix_halves(softer: Image, softest: Image, w2: int, w3: int, below: npt.NDArray[np.int16]) -> None:
    """`below`: 16 times what the two coarsest parts come to with weights of 1/256."""
    flat = below.reshape(-1)
    a, b = np.int32(w2), np.int32(w3)
    for n in range(flat.shape[0]):
        flat[n] = (np.int32(softer[n]) * a + np.int32(softest[n]) * b) >> 4


@njit(cache=True, nogil=True, fastmath=True)
def _mix(sharp: Image, soft: Image, below: npt.NDArray[np.int16], w0: int, w1: int, out: Image) -> None:
    a, b = np.int32(w0), np.int32(w1)
    for n in range(out.shape[0]):
        value = np.int32(sharp[n]) * a + np.int32(soft[n]) * b + (np.int32(below[n]) << 4)
        out[n] = np.uint8(min(max((value + np.int32(128)) >> 8, np.int32(0)), np.int32(255)))

"""A coarse grid over a picture: smooth quantities live on it and are read back with linear interpolation.

Node (j, i) sits at the centre of its cell, as `cv2.resize` places it. Both the matte's filter coefficients and the
composite's colour estimates are smooth, so computing them on about 256 x 144 nodes costs a twenty-fifth of 720p.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

F32: TypeAlias = npt.NDArray[np.float32]
I64: TypeAlias = npt.NDArray[np.int64]
U8: TypeAlias = npt.NDArray[np.uint8]


class Axis(NamedTuple):
    """Where pixels fall between nodes along one axis.

    Span s covers the pixels `starts[s] : starts[s + 1]`, which lie between nodes `max(s - 1, 0)` and
    `min(s, nodes - 1)`; `weights[p]` is pixel p's share of the second of them.
    """

    starts: I64
    weights: F32


def axis(pixels: int, nodes: int) -> Axis:
    """The spans of `pixels` pixels over `nodes` nodes."""
    position = (np.arange(pixels) + 0.5) * nodes / pixels - 0.5
    span = np.floor(position).astype(np.int64) + 1
    starts = np.searchsorted(span, np.arange(nodes + 2)).astype(np.int64)
    return Axis(starts, (position - (span - 1)).astype(np.float32))


def box_mean(values: F32, radius: int) -> F32:
    """Mean over (2 radius + 1) squared nodes, each channel by itself, mirrored at the borders."""
    size = 2 * radius + 1
    return np.asarray(cv2.blur(values, (size, size), borderType=cv2.BORDER_REFLECT), np.float32)


def shrink(picture: Any, out: Any) -> None:
    """`picture` scaled down into `out`, nearly an area average but several times faster than `INTER_AREA`.

    Halving with `INTER_LINEAR` averages 2 x 2 pixels exactly; the last step, by less than four, blends 2 x 2 of those.
    """
    height, width = out.shape[:2]
    while picture.shape[1] >= 4 * width and picture.shape[0] >= 4 * height:
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_LINEAR)
    cv2.resize(picture, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


@njit(cache=True, nogil=True, fastmath=True)
def mix_rows(upper: Any, lower: Any, weight: Any, out: Any) -> None:
    """out = (1 - weight) * upper + weight * lower, over the nodes and channels of one grid row."""
    a, b, c = upper.ravel(), lower.ravel(), out.ravel()
    for i in range(a.size):
        c[i] = a[i] + weight * (b[i] - a[i])

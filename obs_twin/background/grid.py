"""A coarse grid over a picture: smooth quantities live on it and are read back with linear interpolation.

Node (j, i) sits at the centre of its cell, as `cv2.resize` places it. Both the matte's filter coefficients and the
composite's colour estimates are smooth, so computing them on about 256 x 144 nodes costs a twenty-fifth of 720p.
Quantities are planes, `(quantities, rows, columns) float32`, so that every loop runs along contiguous memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

F32: TypeAlias = npt.NDArray[np.float32]
I32: TypeAlias = npt.NDArray[np.int32]
U32: TypeAlias = npt.NDArray[np.uint32]
U8: TypeAlias = npt.NDArray[np.uint8]


class Axis(NamedTuple):
    """Where pixels fall between nodes along one axis.

    Span s covers the pixels `starts[s] : starts[s + 1]`, which lie between nodes `max(s - 1, 0)` and
    `min(s, nodes - 1)`. Pixel p lies in span `spans[p]`; `weights[p]` is its share of the second of the two nodes.
    """

    starts: I32
    spans: U32
    weights: F32


@lru_cache(maxsize=16)
def axis(pixels: int, nodes: int) -> Axis:
    """The spans of `pixels` pixels over `nodes` nodes. Cached: do not write into it."""
    position = (np.arange(pixels) + 0.5) * nodes / pixels - 0.5
    spans = np.floor(position).astype(np.int32) + 1
    starts = np.searchsorted(spans, np.arange(nodes + 2)).astype(np.int32)
    return Axis(starts, spans.astype(np.uint32), (position - (spans - 1)).astype(np.float32))


def shrink(picture: Any, out: Any) -> None:
    """`picture` scaled down into `out`, nearly an area average but several times faster than `INTER_AREA`.

    Halving with `INTER_LINEAR` averages 2 x 2 pixels exactly; the last step, by less than four, blends 2 x 2 of those.
    """
    height, width = out.shape[:2]
    while picture.shape[1] >= 4 * width and picture.shape[0] >= 4 * height:
        half = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_LINEAR)
    cv2.resize(picture, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def box_mean(planes: F32, radius: int, out: F32) -> None:
    """Mean over (2 radius + 1) squared nodes of each plane; beyond the border the edge repeats.

    Columns keep a running sum from row to row; along the row the few neighbours are simply added, which is vector
    code.
    """
    count, rows, columns = planes.shape
    scale = np.float32(1.0 / (2 * radius + 1) ** 2)
    padded = np.empty(columns + 2 * radius, np.float32)
    for c in range(count):
        plane = planes[c]
        padded[:] = np.float32(0.0)
        running = padded[radius : radius + columns]
        for k in range(-radius, radius + 1):
            line = plane[min(max(k, 0), rows - 1)]
            for x in range(columns):
                running[x] += line[x]
        for y in range(rows):
            if y > 0:
                come, gone = plane[min(y + radius, rows - 1)], plane[max(y - radius - 1, 0)]
                for x in range(columns):
                    running[x] += come[x] - gone[x]
            for k in range(radius):
                padded[k] = padded[radius]
                padded[radius + columns + k] = padded[radius + columns - 1]
            result = out[c, y]
            for x in range(columns):
                result[x] = padded[x]
            for k in range(1, 2 * radius + 1):
                shifted = padded[k : k + columns]
                for x in range(columns):
                    result[x] += shifted[x]
            for x in range(columns):
                result[x] *= scale


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def mix_rows(planes: F32, top: int, bottom: int, weight: Any, out: F32) -> None:
    """out[:, s + 1] = node s of the row between `top` and `bottom`; out's ends repeat the outermost nodes.

    A pixel of span s then lies between `out[:, s]` and `out[:, s + 1]`.
    """
    count, _, columns = planes.shape
    for c in range(count):
        upper, lower, line = planes[c, top], planes[c, bottom], out[c]
        inner = line[1 : columns + 1]
        for i in range(columns):
            inner[i] = upper[i] + weight * (lower[i] - upper[i])
        line[0], line[columns + 1] = inner[0], inner[columns - 1]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def between(line: F32, span: Any, near: Any, far: Any) -> Any:
    """The value at a pixel of `span` that weighs the nodes on its sides with `near` and `far`.

    `line` is one row of what `mix_rows` wrote. `span` must be unsigned: for signed indices numba would test each
    for being negative, which costs more than the interpolation.
    """
    return near * line[span] + far * line[span + np.uint32(1)]

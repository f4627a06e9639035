"""A counter drawn along the bottom edge of a picture, so that a machine can tell which frame it sees.

    | white black | 16 bits of the counter, high to low | 4 bits check | black white |

24 cells share the picture's width. They survive chroma subsampling, scaling and lossy coding; a picture without
them, or with another one's pixels blended in, reads as None.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COUNTER_BITS = 16
CHECK_BITS = 4
LEAD = (1, 0)
TAIL = (0, 1)
CELLS = len(LEAD) + COUNTER_BITS + CHECK_BITS + len(TAIL)
DARK, LIGHT = 16, 240
LEAST_CONTRAST = 60


def strip_height(height: int) -> int:
    """Rows that the stamp takes of a picture that high."""
    return max(8, height // 45 // 2 * 2)


def stamp(bgr: NDArray[np.uint8], counter: int) -> None:
    """Draws `counter` (0..65535) along the bottom edge of (H, W, 3) uint8, in place."""
    height, width = bgr.shape[:2]
    edges = _edges(width)
    for cell, bit in enumerate(_bits(counter)):
        bgr[height - strip_height(height) :, edges[cell] : edges[cell + 1]] = LIGHT if bit else DARK


def read(luma: NDArray[np.uint8]) -> int | None:
    """The counter in (H, W) uint8 of either range, None where there is none."""
    height, width = luma.shape
    rows = strip_height(height)
    band = luma[height - rows + rows // 4 : height - rows // 4].mean(axis=0)
    edges = _edges(width)
    margin = max(1, width // CELLS // 4)
    levels = np.array([band[edges[cell] + margin : edges[cell + 1] - margin].mean() for cell in range(CELLS)])
    low, high = levels.min(), levels.max()
    if high - low < LEAST_CONTRAST:
        return None
    position = (levels - low) / (high - low)
    if np.any((position > 0.3) & (position < 0.7)):
        return None
    bits = (position > 0.5).astype(int)
    counter = int("".join(map(str, bits[len(LEAD) : len(LEAD) + COUNTER_BITS])), 2)
    return counter if tuple(bits.tolist()) == _bits(counter) else None


def _bits(counter: int) -> tuple[int, ...]:
    if not 0 <= counter < 1 << COUNTER_BITS:
        raise ValueError(f"expected a counter from 0 to {(1 << COUNTER_BITS) - 1}, found {counter}")
    check = (sum((counter >> shift & 15) * weight for shift, weight in ((0, 1), (4, 3), (8, 5), (12, 7))) + 10) % 16
    number = f"{counter:0{COUNTER_BITS}b}{check:0{CHECK_BITS}b}"
    return (*LEAD, *(int(digit) for digit in number), *TAIL)


def _edges(width: int) -> list[int]:
    return [round(width * cell / CELLS) for cell in range(CELLS + 1)]

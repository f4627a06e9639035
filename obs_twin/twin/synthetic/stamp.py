"""A frame number drawn into a picture as blocks that a machine can read back after scaling and video coding.

    | white black | 16 bits of the number, high to low | 8 bits CRC | black white |

28 cells in one row along the top edge, from the left. A cell is as high as it is wide; at 640x360 that is 11 pixels of
luma, so neither chroma subsampling, nor scaling, nor lossy coding harms it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

NUMBER_BITS = 16
CRC_BITS = 8
LEAD = (1, 0)
TAIL = (0, 1)
CELLS = len(LEAD) + NUMBER_BITS + CRC_BITS + len(TAIL)
CELLS_PER_WIDTH = 56
"""The strip takes the left half of the picture's width."""
DARK, LIGHT = 24, 232
LEAST_CONTRAST = 70


def stamp(bgr: npt.NDArray[np.uint8], number: int) -> None:
    """Draw ``number`` (0..65535) into ``bgr`` (H, W, 3) uint8, in place.

    Raises
    ------
    ValueError
        for a number out of range, or a picture too small to hold it.
    """
    height, width = bgr.shape[:2]
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"a frame number must be 0 to {(1 << NUMBER_BITS) - 1}, found {number}")
    if width < 2 * CELLS_PER_WIDTH or height < 16:
        raise ValueError(f"a stamp needs a picture of at least {2 * CELLS_PER_WIDTH}x16, found {width}x{height}")
    edges = _edges(width)
    for cell, bit in enumerate(_cells(number)):
        bgr[: _height(width), edges[cell] : edges[cell + 1]] = LIGHT if bit else DARK


def read(bgr: npt.NDArray[np.uint8]) -> int | None:
    """The number stamped into ``bgr`` (H, W, 3), or a luma plane (H, W), of any size; None where there is none."""
    height, width = bgr.shape[:2]
    if width < 2 * CELLS_PER_WIDTH or height < 16:
        return None
    rows = _height(width)
    band = bgr[rows // 4 : max(rows - rows // 4, rows // 4 + 1), : width // 2 + 1].astype(np.float32)
    line = band.mean(axis=0) if band.ndim == 2 else band.mean(axis=(0, 2))
    edges = _edges(width)
    margin = max(1, (edges[1] - edges[0]) // 4)
    levels = np.array([line[a + margin : max(b - margin, a + margin + 1)].mean() for a, b in pairwise(edges)])
    low, high = levels.min(), levels.max()
    if high - low < LEAST_CONTRAST:
        return None
    place = (levels - low) / (high - low)
    if np.any((place > 0.33) & (place < 0.67)):
        return None
    bits = tuple(int(b) for b in place > 0.5)
    number = int("".join(map(str, bits[len(LEAD) : len(LEAD) + NUMBER_BITS])), 2)
    return number if bits == _cells(number) else None


def _height(width: int) -> int:
    return max(4, round(width / CELLS_PER_WIDTH))


def _edges(width: int) -> list[int]:
    return [round(width * cell / CELLS_PER_WIDTH) for cell in range(CELLS + 1)]


def _cells(number: int) -> tuple[int, ...]:
    check = f"{number:0{NUMBER_BITS}b}{_crc8(number):0{CRC_BITS}b}"
    return (*LEAD, *(int(bit) for bit in check), *TAIL)


def _crc8(number: int) -> int:
    """CRC-8 with polynomial x^8 + x^2 + x + 1, started at 0x5A so that an empty strip does not read as zero."""
    crc = 0x5A
    for byte in (number >> 8, number & 0xFF):
        crc ^= byte
        for _ in range(8):
            crc = ((crc << 1) ^ 0x07) & 0xFF if crc & 0x80 else (crc << 1) & 0xFF
    return crc

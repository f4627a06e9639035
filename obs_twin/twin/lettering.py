"""Text on pictures, with the fonts that OpenCV 5 carries inside: the same letters on every system.

The sans font is Rubik (Latin, Cyrillic, Hebrew, Greek through the fallback font, which also has Chinese,
Japanese, Korean and Arabic). A capital is 0.75 of the size high.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
"""Blue, green, red; 0 to 255."""

REGULAR = 400
MEDIUM = 500
BOLD = 700
CAPITAL_HEIGHT = 0.75


def text_width(text: str, size: int, weight: int) -> int:
    """Width in pixels of one line of text."""
    box = cv2.getTextSize((1, 1), text, (0, 0), cv2.FontFace("sans"), size, weight)
    return int(box[0] + box[2])


def draw_text(picture: Picture, text: str, left: int, baseline: int, size: int, weight: int, colour: Colour) -> None:
    """Draw one line of text into `picture` ((H, W, 3) uint8 BGR); what lies outside is cut off."""
    cv2.putText(picture, text, (left, baseline), colour, cv2.FontFace("sans"), size, weight)


def wrap(text: str, size: int, weight: int, width: int, unbroken: str = "") -> list[str]:
    """Break `text` into the fewest lines that fit `width`, and among these into the most even ones.

    Args:
        text: words with spaces between.
        size, weight: as in `draw_text`.
        width: pixels; a single word may be wider, and then has a line of its own.
        unbroken: a part of the text (a name) that stays on one line if it fits on one.
    """
    if unbroken and text_width(unbroken, size, weight) <= width:
        text = text.replace(unbroken, unbroken.replace(" ", "\u00a0"))
    words = text.split(" ")
    lines = _fill(words, size, weight, width)
    count, low = len(lines), 1
    # The narrowest width that needs no more lines: halve the interval until it is a pixel wide.
    high = width
    while high - low > 1:
        middle = (low + high) // 2
        if len(_fill(words, size, weight, middle)) > count or _widest(words, size, weight) > middle:
            low = middle
        else:
            high = middle
    return [line.replace("\u00a0", " ") for line in _fill(words, size, weight, high)]


def _fill(words: Sequence[str], size: int, weight: int, width: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _widest(words: Sequence[str], size: int, weight: int) -> int:
    return max(text_width(word, size, weight) for word in words)

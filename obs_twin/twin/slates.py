"""The two full-frame pictures: the slate that opens a session, and the card that stands in when the twin
must not.

Both are drawn once per size and text, and are read-only: copy before drawing on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.twin.lettering import (
    BOLD,
    CAPITAL_HEIGHT,
    MEDIUM,
    REGULAR,
    Colour,
    Picture,
    draw_text,
    text_width,
    wrap,
)

INK: Colour = (32, 23, 18)
DEEP: Colour = (20, 14, 11)
DUSK: Colour = (66, 47, 35)
AMBER: Colour = (77, 196, 255)
WHITE: Colour = (250, 250, 250)
MIST: Colour = (222, 212, 202)

COLUMN_OF_WIDTH = 0.74
"""The text's column, as a share of the frame's width."""
DITHER_SEED = 7
NOISE_PX = 256
SIGN_GRID = 256
DRAWN_AT_LEAST = 720
"""A page whose shorter side is less is drawn larger and scaled down: small letters keep their shapes."""
DRAWN_AT_MOST = 2560


def slate(width: int, height: int, name: str, *, synthetic: bool = False, operator: str | None = None) -> Picture:
    """The opening notice.

    Args:
        width, height: pixels.
        name: whose twin is about to appear.
        synthetic: that person does not exist.
        operator: who speaks and moves behind the twin; left out if None.

    Returns:
        (H, W, 3) uint8 BGR, read-only.
    """
    if synthetic:
        body = f"{name} is a synthetic person. Face and voice are made by AI while somebody else acts and speaks."
    else:
        body = (
            f"The face and voice of {name} are made by AI while somebody else acts and speaks. {name} has "
            "agreed to this."
        )
    footer = "AI MODIFIED, live" if operator is None else f"AI MODIFIED, live. Behind the twin: {operator}"
    return _page(width, height, "You are about to see a digital twin", (body,), footer, "twin")


def card(width: int, height: int, title: str, reason_lines: Sequence[str]) -> Picture:
    """The card that is shown instead of the twin, and instead of the actor.

    Args:
        width, height: pixels.
        title: a few words, like "The twin is paused".
        reason_lines: short sentences, each its own paragraph.

    Returns:
        (H, W, 3) uint8 BGR, read-only.
    """
    footer = "OBS Twin shows this card in place of the camera"
    return _page(width, height, title, tuple(reason_lines), footer, "pause")


@lru_cache(maxsize=8)
def _page(width: int, height: int, title: str, paragraphs: tuple[str, ...], footer: str, sign: str) -> Picture:
    grain = min(math.ceil(DRAWN_AT_LEAST / min(width, height)), DRAWN_AT_MOST // max(width, height))
    grain = max(1, grain)
    picture = _draw_page(width * grain, height * grain, title, paragraphs, footer, sign)
    if grain > 1:
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    picture.setflags(write=False)
    return picture


def _draw_page(width: int, height: int, title: str, paragraphs: tuple[str, ...], footer: str, sign: str) -> Picture:
    picture = _backdrop(width, height)
    unit = min(width / 11, height / 9)
    column = min(COLUMN_OF_WIDTH * width, 14.4 * unit)
    # Smaller letters if the text is long; never so small that they are no letters.
    for scale in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4):
        page = _layout(title, paragraphs, unit * scale, column)
        if page.height <= height - 2.2 * unit:
            break
    left = round((width - column) / 2)
    top = round((height - page.height) / 2 - 0.1 * unit)
    page.draw(picture, left, top, sign)
    size = max(7, round(0.36 * unit))
    if height > 8 * size:
        while size > 7 and text_width(footer, size, MEDIUM) > width - unit:
            size -= 1
        draw_text(picture, footer, left, round(height - 0.62 * unit), size, MEDIUM, MIST)
    return picture


class _Layout:
    """Title and paragraphs with their baselines, measured from the top of the block."""

    def __init__(self, unit: float) -> None:
        self._unit = unit
        self._lines: list[tuple[str, int, int, int, Colour]] = []
        self.height = 0.0
        self.sign_px = round(1.15 * unit)
        self._cursor = self.sign_px + 0.55 * unit

    def add(self, lines: Sequence[str], size: int, weight: int, colour: Colour, step: float, after: float) -> None:
        for index, line in enumerate(lines):
            self._cursor += size * (CAPITAL_HEIGHT if index == 0 else step)
            self._lines.append((line, round(self._cursor), size, weight, colour))
        self.height = self._cursor
        self._cursor += after

    def draw(self, picture: Picture, left: int, top: int, sign: str) -> None:
        _draw_sign(picture, left, top, self.sign_px, sign)
        for text, baseline, size, weight, colour in self._lines:
            draw_text(picture, text, left, top + baseline, size, weight, colour)


def _layout(title: str, paragraphs: Sequence[str], unit: float, column: float) -> _Layout:
    page = _Layout(unit)
    size = max(8, round(0.82 * unit))
    page.add(wrap(title, size, BOLD, round(column)), size, BOLD, WHITE, 1.2, 0.66 * unit)
    size = max(7, round(0.5 * unit))
    for paragraph in paragraphs:
        lines = wrap(paragraph, size, REGULAR, round(column))
        page.add(lines, size, REGULAR, MIST, 1.42, 0.45 * unit)
    return page


def _backdrop(width: int, height: int) -> Picture:
    """A dark field with a glow from the upper left, dithered: 8 bits alone would show it as rings."""
    across = np.exp(-((np.linspace(0.0, 1.0, width, dtype=np.float32) - 0.15) ** 2) / 0.35)
    down = np.exp(-((np.linspace(0.0, 1.0, height, dtype=np.float32) - 0.1) ** 2) / 0.5)
    glow = down[:, None] * across
    rows, columns = -(-height // NOISE_PX), -(-width // NOISE_PX)
    noise = np.random.default_rng(DITHER_SEED).random((NOISE_PX, NOISE_PX), np.float32)
    noise = np.tile(noise, (rows, columns))[:height, :width]
    picture = np.empty((height, width, 3), np.uint8)
    for channel, (deep, dusk) in enumerate(zip(DEEP, DUSK, strict=True)):
        np.add(glow * (dusk - deep) + deep, noise, out=picture[..., channel], casting="unsafe")
    return picture


def _draw_sign(picture: Picture, left: int, top: int, side: int, sign: str) -> None:
    """Two overlapping heads for the twin, two bars for the pause; drawn large and scaled down, for smooth edges."""
    if side < 4:
        return
    mask = np.zeros((SIGN_GRID * 4, SIGN_GRID * 4), np.uint8)
    if sign == "pause":
        for x in (0, 92):
            cv2.rectangle(mask, (x * 4, 160), ((x + 48) * 4, 864), 255, -1)
    else:
        _head(mask, 168, 150)
        _head(mask, 88, 255)
    small = np.asarray(cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA))
    target = picture[top : top + side, left : left + side]
    if target.shape[:2] != small.shape:
        return
    weight = small[..., None].astype(np.float32) / 255
    target[:] = np.round(target * (1 - weight) + np.array(AMBER, np.float32) * weight).astype(np.uint8)


def _head(mask: npt.NDArray[np.uint8], x: int, tone: int) -> None:
    """Head and shoulders at `x` of the sign's grid, with a gap around them."""
    for radius, width, height, fill in ((62, 100, 86, 0), (50, 88, 74, tone)):
        cv2.circle(mask, (x * 4, 336), radius * 4, fill, -1)
        cv2.ellipse(mask, (x * 4, 944), (width * 4, height * 4), 0, 180, 360, fill, -1)

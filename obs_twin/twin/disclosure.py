"""The visible notice that what is seen is a twin: the badge in the picture, and (in `slates`) the full-frame
cards.

The badge is an opaque plate, drawn once for each frame size and name and then copied: the same pixels in
every frame, so that nobody can miss it, no background can swallow it, and a test can find it. It lies on
even coordinates, so that the halved colour planes of NV12 and I420 have the same pixels in every frame, too.
Its letters are measured so that the text can be read where the whole frame is shown 320 pixels wide, as in a
meeting's gallery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.twin.lettering import BOLD, CAPITAL_HEIGHT, MEDIUM, draw_text, text_width, wrap
from obs_twin.twin.slates import AMBER, INK, WHITE, card, slate

__all__ = ["CORNERS", "Badge", "badge_for", "badge_text", "card", "draw_badge", "draw_notice", "slate"]

Picture = npt.NDArray[np.uint8]
Rect = tuple[int, int, int, int]

CORNERS = ("top-right", "top-left", "bottom-right", "bottom-left")
MARK = "AI MODIFIED"

THUMBNAIL_WIDTH = 320
TEXT_SIZE_AT_THUMBNAIL = 8.6
"""Capitals 6.5 and small letters 4.8 pixels high in a thumbnail, about the least that reads easily."""
MARK_SIZE = 1.25
"""Size of the first line, in sizes of the text."""
LINE_STEP = 1.22
MIN_LINE_OF_HEIGHT = 0.04
MIN_SIZE = 8
DRAWN_AT_LEAST = 40
"""Letters are drawn at this size or more and scaled down: small ones keep their shapes and distances."""
WIDTH_OF_FRAME = 0.36
"""The text is wrapped to this share of the frame's width, so that the badge stays beside the face."""
MARGIN_OF_WIDTH = 0.02


@dataclass(frozen=True)
class Badge:
    """A drawn badge and its place.

    Attributes:
        plate: (h, w, 3) uint8 BGR, read-only.
        corner_px: side of the four squares at the plate's corners that are blended with the frame (the
            corners are round).
        rect: where in the frame: (x0, y0, x1, y1), half open, all even unless the frame ends there.
    """

    plate: Picture
    corner_px: int
    rect: Rect
    weights: npt.NDArray[np.uint16]


def badge_text(name: str, synthetic: bool) -> str:
    """The notice, as one sentence; also for a screen reader, the chat and the log."""
    whose = "a synthetic person" if synthetic else "with consent"
    return f"{MARK} – digital twin of {name}, {whose}"


def draw_badge(bgr: Picture, text_name: str, *, corner: str = "top-right", synthetic: bool = False) -> Rect:
    """Draw the badge into a frame, in place.

    Args:
        bgr: (H, W, 3) uint8, of any size.
        text_name: whose twin it is.
        corner: one of `CORNERS`.
        synthetic: that person does not exist.

    Returns:
        The changed rectangle (x0, y0, x1, y1), half open.
    """
    height, width = bgr.shape[:2]
    return _stamp(bgr, badge_for(width, height, text_name, corner=corner, synthetic=synthetic))


def draw_notice(bgr: Picture, mark: str, text: str, *, corner: str = "top-right") -> Rect:
    """Draw another notice of the badge's kind in its place, such as "REAL PERSON" while a twin is taken off.

    Args and result as in `draw_badge`; `mark` is the short first line, `text` the rest.
    """
    height, width = bgr.shape[:2]
    return _stamp(bgr, _placed(width, height, ((mark, text), (mark, "")), "", corner))


def _stamp(bgr: Picture, badge: Badge) -> Rect:
    x0, y0, x1, y1 = badge.rect
    plate, side = badge.plate, badge.corner_px
    target = bgr[y0:y1, x0:x1]
    if side == 0:
        target[:] = plate
        return badge.rect
    target[side:-side] = plate[side:-side]
    target[:side, side:-side] = plate[:side, side:-side]
    target[-side:, side:-side] = plate[-side:, side:-side]
    for rows, columns in _corners(side):
        weight = badge.weights[rows, columns, None]
        below = target[rows, columns].astype(np.uint16)
        target[rows, columns] = (below * (256 - weight) + plate[rows, columns] * weight) >> 8
    return badge.rect


def badge_for(width: int, height: int, name: str, *, corner: str = "top-right", synthetic: bool = False) -> Badge:
    """The badge for frames of this size, drawn the first time it is asked for.

    Where a frame is too small for the whole notice, the badge says "AI MODIFIED", and in the smallest just
    "AI".
    """
    if corner not in CORNERS:
        raise ValueError(f"the badge's corner should be one of {', '.join(CORNERS)}; found {corner!r}")
    whole = badge_text(name, synthetic).removeprefix(f"{MARK} – ")
    return _placed(width, height, ((MARK, whole), (MARK, ""), ("AI", "")), name, corner)


@lru_cache(maxsize=32)
def _placed(width: int, height: int, choices: tuple[tuple[str, str], ...], name: str, corner: str) -> Badge:
    """The first of `choices`, (first line, rest), whose plate fits the frame."""
    size = max(
        TEXT_SIZE_AT_THUMBNAIL * width / THUMBNAIL_WIDTH,
        MIN_LINE_OF_HEIGHT * min(width, height) / LINE_STEP,
        MIN_SIZE,
    )
    margin = _even(MARGIN_OF_WIDTH * width)
    for mark, text in choices:
        plate, side = _draw_plate(mark, text, name, size, WIDTH_OF_FRAME * width)
        if plate.shape[1] + 2 * margin > width and text:
            plate, side = _draw_plate(mark, text, name, size, width - 2 * margin - 2 * size)
        if plate.shape[1] + 2 * margin <= width and plate.shape[0] + 2 * margin <= height:
            break
    else:
        plate, side, margin = np.ascontiguousarray(plate[:height, :width]), 0, 0
    h, w = plate.shape[:2]
    vertical, horizontal = corner.split("-")
    x0 = margin if horizontal == "left" else max(0, width - margin - w) // 2 * 2
    y0 = margin if vertical == "top" else max(0, height - margin - h) // 2 * 2
    plate.setflags(write=False)
    return Badge(plate, side, (x0, y0, x0 + w, y0 + h), _round_corners(h, w, side))


def _draw_plate(mark: str, text: str, name: str, size: float, text_px: float) -> tuple[Picture, int]:
    """The plate, and the side of its round corners."""
    grain = max(1, math.ceil(DRAWN_AT_LEAST / size))
    big = size * grain
    text_size, mark_size = round(big), round(big * MARK_SIZE)
    step, pad, bar = round(big * LINE_STEP), round(big * 0.62), round(size * 0.3) * grain
    lines = wrap(text, text_size, MEDIUM, round(text_px * grain), name) if text else []
    widths = [text_width(line, text_size, MEDIUM) for line in lines]
    inner = max([text_width(mark, mark_size, BOLD), *widths])
    baseline = pad + round(mark_size * CAPITAL_HEIGHT)
    below = big * 0.3 if lines else 0  # room for the descenders of the last line
    w = _even((bar + 2 * pad + inner) / grain)
    h = _even((baseline + len(lines) * step + below + pad * 0.8) / grain)
    drawn: Picture = np.empty((h * grain, w * grain, 3), np.uint8)
    drawn[:] = INK
    drawn[:, :bar] = AMBER
    draw_text(drawn, mark, bar + pad, baseline, mark_size, BOLD, AMBER)
    for line in lines:
        baseline += step
        draw_text(drawn, line, bar + pad, baseline, text_size, MEDIUM, WHITE)
    plate = np.asarray(cv2.resize(drawn, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    return plate, _even(size * 0.35)


def _round_corners(h: int, w: int, side: int) -> npt.NDArray[np.uint16]:
    """(h, w) weights of the plate, 0 to 256: 256 but for the round corners."""
    weights = np.full((h, w), 256, np.uint16)
    if side:
        offset = side - 0.5 - np.arange(side)
        distance = np.hypot(offset[:, None], offset[None, :])
        quarter = np.round(np.clip(side + 0.5 - distance, 0.0, 1.0) * 256).astype(np.uint16)
        turned = (quarter, quarter[:, ::-1], quarter[::-1], quarter[::-1, ::-1])
        for (rows, columns), weight in zip(_corners(side), turned, strict=True):
            weights[rows, columns] = weight
    weights.setflags(write=False)
    return weights


def _corners(side: int) -> tuple[tuple[slice, slice], ...]:
    first, last = slice(0, side), slice(-side, None)
    return (first, first), (first, last), (last, first), (last, last)


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))

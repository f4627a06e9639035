"""A painted face with known eyes and mouth: enough of a face for the networks, and nobody's."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_SUPERSAMPLING = 2


@dataclass(frozen=True)
class DrawnFace:
    """Sizes are fractions of the face's height, colours BGR."""

    skin: tuple[int, int, int] = (140, 170, 215)
    lips: tuple[int, int, int] = (95, 95, 190)
    iris: tuple[int, int, int] = (120, 90, 50)
    brow: tuple[int, int, int] = (30, 45, 70)
    hair: tuple[int, int, int] = (25, 35, 55)
    eye_open: float = 1.0
    mouth_open: float = 0.0
    face_width: float = 0.72


def draw_face(
    face: DrawnFace,
    size: tuple[int, int] = (640, 480),
    centre: tuple[float, float] = (320, 240),
    height_px: float = 260,
    roll_deg: float = 0.0,
    background: tuple[int, int, int] = (150, 140, 120),
) -> Image:
    """The face in front of a plain background, `(H, W, 3) uint8`; `size` is width, height."""
    k = _SUPERSAMPLING
    picture = np.full((size[1] * k, size[0] * k, 3), background, np.uint8)
    h = height_px * k
    roll = np.radians(roll_deg)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])

    def at(x: float, y: float) -> tuple[int, int]:
        px, py = np.array(centre) * k + turn @ np.array([x, y]) * h
        return round(float(px)), round(float(py))

    def oval(x: float, y: float, rx: float, ry: float, colour: tuple[float, ...], soft: float = 0.0) -> None:
        axes = (max(round(rx * h), 1), max(round(ry * h), 1))
        if soft <= 0:
            cv2.ellipse(picture, at(x, y), axes, roll_deg, 0, 360, colour, -1, cv2.LINE_AA)
            return
        reach = max(axes) + round(3 * soft * h) + 2
        px, py = at(x, y)
        x0, y0 = max(px - reach, 0), max(py - reach, 0)
        part = picture[y0 : max(py + reach, 0), x0 : max(px + reach, 0)]
        if not part.size:
            return
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.ellipse(mask, (px - x0, py - y0), axes, roll_deg, 0, 360, 255, -1, cv2.LINE_AA)
        share = cv2.GaussianBlur(mask, (0, 0), soft * h)[..., None] * np.float32(1 / 255)
        part[:] = (part + (np.array(colour, np.float32) - part) * share).astype(np.uint8)

    def arc(
        x: float, y: float, rx: float, ry: float, start: int, end: int, colour: tuple[int, ...], thick: float
    ) -> None:
        axes, line = (round(rx * h), max(round(ry * h), 1)), max(round(thick * h), 1)
        cv2.ellipse(picture, at(x, y), axes, roll_deg, start, end, colour, line, cv2.LINE_AA)

    def toned(factor: float) -> tuple[float, ...]:
        return tuple(min(c * factor, 255.0) for c in face.skin)

    w = face.face_width
    oval(0, -0.10, w * 0.58, 0.60, face.hair)
    oval(0, 0.52, w * 0.28, 0.30, toned(0.75))
    for side in (-1, 1):
        oval(side * w * 0.52, 0.02, 0.035, 0.09, toned(0.85))
    oval(0, 0.0, w / 2, 0.5, toned(0.92))
    oval(0, -0.02, w * 0.36, 0.40, toned(1.04), 0.05)
    for side in (-1, 1):
        x, y = side * w * 0.23, -0.08
        oval(x, y, 0.095, 0.055, toned(0.8), 0.02)
        oval(x, y, 0.068, 0.030 * max(face.eye_open, 0.06), (225, 228, 232))
        if face.eye_open > 0.3:
            oval(x, y, 0.028, min(0.028, 0.030 * face.eye_open), face.iris)
            oval(x, y, 0.012, 0.012, (15, 15, 15))
        arc(x, y, 0.07, 0.031 * face.eye_open, 180, 360, (30, 30, 45), 0.012)
        arc(x, y - 0.06, 0.085, 0.04, 205, 335, face.brow, 0.024)
    oval(-0.035, 0.05, 0.012, 0.11, toned(0.84), 0.012)
    oval(0.0, 0.09, 0.025, 0.09, toned(1.1), 0.02)
    oval(0.0, 0.135, 0.055, 0.03, toned(0.82), 0.012)
    for side in (-1, 1):
        oval(side * 0.032, 0.15, 0.017, 0.010, toned(0.4), 0.004)
    oval(0, 0.27, 0.125, 0.035 + 0.06 * face.mouth_open, face.lips, 0.004)
    if face.mouth_open > 0:
        oval(0, 0.27, 0.10, 0.075 * face.mouth_open, (25, 20, 50), 0.003)
    else:
        cv2.line(picture, at(-0.115, 0.27), at(0.115, 0.27), (50, 45, 95), max(round(0.010 * h), 1), cv2.LINE_AA)
    oval(0, 0.36, 0.10, 0.018, toned(0.84), 0.015)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 0.6), np.uint8)

"""A person drawn with a few shapes, with the exact matte: enough for the segmentation network to see a person."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def draw_person(width: int, height: int, shift_px: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Head and shoulders before a plain wall: the picture `(H, W, 3) uint8 BGR` and its matte `(H, W) float32`."""
    ramp = np.linspace(0, 1, height)[:, None]
    wall = np.stack([150 + 40 * ramp, 160 - 30 * ramp, 140 + 0 * ramp], axis=-1)
    picture = np.broadcast_to(wall, (height, width, 3)).astype(np.uint8).copy()
    matte = np.zeros((height, width), np.uint8)
    scale, middle = height / 720, width // 2 + shift_px

    def at(x: float, y: float) -> tuple[int, int]:
        return int(middle + x * scale), int(y * scale)

    def ellipse(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int], body: bool) -> None:
        radii = (max(1, int(rx * scale)), max(1, int(ry * scale)))
        cv2.ellipse(picture, at(x, y), radii, 0, 0, 360, colour, -1, cv2.LINE_AA)
        if body:
            cv2.ellipse(matte, at(x, y), radii, 0, 0, 360, 255, -1, cv2.LINE_AA)

    ellipse(0, 760, 330, 230, (90, 50, 40), body=True)
    cv2.rectangle(picture, at(-60, 420), at(60, 560), (120, 150, 205), -1)
    cv2.rectangle(matte, at(-60, 420), at(60, 560), 255, -1)
    ellipse(0, 270, 150, 190, (30, 40, 60), body=True)
    ellipse(0, 315, 125, 165, (135, 165, 220), body=True)
    for side in (-1, 1):
        ellipse(side * 50, 262, 30, 6, (40, 50, 70), body=False)
        ellipse(side * 50, 290, 22, 11, (240, 240, 240), body=False)
        ellipse(side * 50, 290, 10, 10, (50, 40, 30), body=False)
    ellipse(0, 350, 16, 8, (105, 130, 190), body=False)
    ellipse(0, 400, 42, 14, (90, 80, 190), body=False)
    return picture, matte.astype(np.float32) / 255

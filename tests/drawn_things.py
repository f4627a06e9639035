"""Painted things that people hold or have in front of their faces, each with its exact mask."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
_K = 4  # supersampling


def put(picture: Image, thing: Image, mask: Image, left: float, top: float) -> Image:
    """Composite `thing` `(h, w, 3)` with `mask` `(h, w)` into `picture`, in place; returns the mask in its pixels."""
    full = np.zeros(picture.shape[:2], np.uint8)
    h, w = mask.shape
    x, y = round(left), round(top)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, picture.shape[1]), min(y + h, picture.shape[0])
    if x1 <= x0 or y1 <= y0:
        return full
    inner = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    share = mask[inner][..., None] / np.float32(255)
    part = picture[y0:y1, x0:x1]
    part[:] = np.round(part + (thing[inner] - part.astype(np.float32)) * share)
    full[y0:y1, x0:x1] = mask[inner]
    return full


def _finished(colour: npt.NDArray[np.float32], mask: Image, size: tuple[int, int]) -> tuple[Image, Image]:
    grain = np.random.default_rng(3).normal(0, 2.0, (size[1], size[0], 1))
    small = cv2.resize(colour, size, interpolation=cv2.INTER_AREA) + grain
    return small.clip(0, 255).astype(np.uint8), np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA))


def microphone(side_px: int) -> tuple[Image, Image]:
    """A black studio microphone with a mesh head on its arm from below."""
    n = side_px * _K
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    mask = np.zeros((n, n), np.uint8)
    cv2.ellipse(mask, (n // 2, int(n * 0.22)), (int(n * 0.17), int(n * 0.2)), 0, 0, 360, 255, -1)
    cv2.rectangle(mask, (int(n * 0.36), int(n * 0.3)), (int(n * 0.64), int(n * 0.62)), 255, -1)
    cv2.rectangle(mask, (int(n * 0.45), int(n * 0.6)), (int(n * 0.55), n), 255, -1)
    shine = 26 + 50 * np.exp(-(((x - 0.42) / 0.05) ** 2)) + 14 * np.exp(-(((x - 0.6) / 0.02) ** 2))
    weave = 10 * (np.sin(x * 300) * np.sin(y * 300) > 0) * (y < 0.42)
    colour = np.repeat((shine + weave)[..., None], 3, axis=2) * np.array([1.0, 0.98, 0.96], np.float32)
    return _finished(colour, mask, (side_px, side_px))


def mug(side_px: int, bgr: tuple[int, int, int] = (205, 210, 208)) -> tuple[Image, Image]:
    """A cup with a handle and a stripe."""
    n = side_px * _K
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    mask = np.zeros((n, n), np.uint8)
    cv2.ellipse(mask, (int(n * 0.8), int(n * 0.5)), (int(n * 0.14), int(n * 0.2)), 0, 0, 360, 255, int(n * 0.07))
    cv2.rectangle(mask, (int(n * 0.12), int(n * 0.15)), (int(n * 0.78), int(n * 0.85)), 255, -1)
    cv2.ellipse(mask, (int(n * 0.45), int(n * 0.85)), (int(n * 0.33), int(n * 0.09)), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (int(n * 0.45), int(n * 0.15)), (int(n * 0.33), int(n * 0.09)), 0, 0, 360, 255, -1)
    shade = np.clip(1.12 - 1.6 * (x - 0.3) ** 2 - 0.15 * y, 0.3, 1.2)
    colour = shade[..., None] * np.array(bgr, np.float32)
    colour[(y > 0.55) & (y < 0.65)] *= np.array([1.0, 0.5, 0.35], np.float32)
    return _finished(colour, mask, (side_px, side_px))


def phone(side_px: int) -> tuple[Image, Image]:
    """The back of a dark blue phone, held upright."""
    n = side_px * _K
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    mask = np.zeros((n, n), np.uint8)
    cv2.rectangle(mask, (int(n * 0.27), int(n * 0.03)), (int(n * 0.73), int(n * 0.97)), 255, -1)
    colour = (0.7 + 0.5 * x + 0.3 * (1 - y))[..., None] * np.array([84, 60, 48], np.float32)
    for cy in (0.13, 0.25):
        colour[(x - 0.37) ** 2 + (y - cy) ** 2 < 0.045**2] = (25, 22, 22)
    return _finished(colour, mask, (side_px, side_px))


def paper(side_px: int) -> tuple[Image, Image]:
    """A printed sheet, a little tilted."""
    n = side_px * _K
    corners = np.array([[0.12, 0.08], [0.84, 0.02], [0.92, 0.93], [0.18, 0.98]], np.float32) * n
    mask = np.zeros((n, n), np.uint8)
    cv2.fillConvexPoly(mask, corners.astype(np.int32), 255)
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n
    colour = (232 - 25 * x - 12 * y)[..., None] * np.array([1.0, 0.995, 0.98], np.float32)
    for k in range(9):
        at = int(n * (0.2 + 0.08 * k))
        cv2.line(
            colour, (int(n * 0.26), at), (int(n * (0.8 if k % 3 else 0.6)), at - int(0.05 * n)), (90, 90, 90), n // 60
        )
    return _finished(colour, mask, (side_px, side_px))


def lock_of_hair(side_px: int, bgr: tuple[int, int, int] = (32, 42, 62)) -> tuple[Image, Image]:
    """A lock that falls across the face from above."""
    n = side_px * _K
    rng = np.random.default_rng(5)
    mask = np.zeros((n, n), np.uint8)
    colour = np.full((n, n, 3), bgr, np.float32)
    t = np.linspace(0, 1, 40)
    for _ in range(170):
        start, spread, end = rng.normal(0.5, 0.05), rng.normal(0, 0.03), rng.uniform(0.75, 1.0)
        x = start + 0.22 * np.sin(2.2 * t * end) + spread * (1 - 2 * t) * t
        line = (np.stack([x, t * end], 1) * n).astype(np.int32)
        tone = tuple(float(c * rng.uniform(0.6, 1.5)) for c in bgr)
        cv2.polylines(mask, [line], False, 255, max(n // 90, 1), cv2.LINE_AA)
        cv2.polylines(colour, [line], False, tone, max(n // 90, 1), cv2.LINE_AA)
    return _finished(colour, mask, (side_px, side_px))


THINGS: dict[str, Callable[[int], tuple[Image, Image]]] = {
    "microphone": microphone,
    "mug": mug,
    "phone": phone,
    "paper": paper,
    "hair": lock_of_hair,
}

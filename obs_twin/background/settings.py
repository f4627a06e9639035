"""What the person chose for the background, and the picture they chose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from obs_twin.background.grid import U8

Mode = Literal["replace", "blur", "transparent"]


class BackgroundError(ValueError):
    """A background that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class BackgroundSettings:
    """`blur_strength` and `light_wrap` run from 0 (none) to 1 (strong)."""

    mode: Mode = "replace"
    picture_path: Path | None = None
    blur_strength: float = 0.5
    light_wrap: float = 0.4

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise BackgroundError(f"the background mode is {self.mode!r}; choose one of {', '.join(get_args(Mode))}")
        for name in ("blur_strength", "light_wrap"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise BackgroundError(f"{name} is {value}; it must lie between 0 and 1")


def read_picture(path: Path) -> U8:
    """The picture file as `(H, W, 3) uint8 BGR`; transparency is ignored. Raises BackgroundError."""
    try:
        data = np.fromfile(path, np.uint8)  # not cv2.imread: that fails on non-ASCII paths on Windows
    except OSError as error:
        raise BackgroundError(f"the background picture {path} cannot be read: {error.strerror or error}") from error
    picture = None
    if data.size:
        try:
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        except cv2.error:
            picture = None
    if picture is None:
        raise BackgroundError(
            f"the background picture {path} is not a picture that OBS Twin can read; "
            "save it as PNG or JPEG and choose it again"
        )
    return np.ascontiguousarray(picture, np.uint8)

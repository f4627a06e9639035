"""Compiles the numba kernels that a stream needs, into numba's own cache beside the sources.

It sends one picture of the built-in persona through everything that the engine does to a frame, because a kernel is
compiled for the types that it is called with. Run in the environment: `python -m installer.warm`.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.background import compose
from obs_twin.background.matte import Matte
from obs_twin.engine.pixels import Codec
from obs_twin.engine.twins import read_picture
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import open_face
from obs_twin.face.smooth import smooth
from obs_twin.link.formats import SUPPORTED
from obs_twin.twin.pack import find_pack, open_pack
from obs_twin.twin.synthetic.persona import PACK_NAME
from obs_twin.zoo.store import ModelStore

__all__ = ["main"]

WIDTH, HEIGHT = 640, 360
FACE_MODELS = ("face_detection_short_range", "face_landmark", "iris_landmark")


def main() -> int:
    """Warm them all.

    Returns:
        0; an error is let through with its traceback.
    """
    for fmt in sorted(SUPPORTED):
        print(f"pictures in {fmt.name}", flush=True)
        Codec(fmt, WIDTH, HEIGHT).warm_up()
    store = ModelStore()

    def perceiver() -> FacePerceiver:
        return FacePerceiver(*(store.path(name) for name in FACE_MODELS))

    with open_pack(find_pack(PACK_NAME)) as pack:
        bgr = _frame(read_picture(pack.paths("face")[0]))
        print("the face", flush=True)
        observation = perceiver().perceive(bgr)
        kind = pack.kind("face")
        if kind is not None and observation is not None:
            seen = smooth([observation, observation], [0, 33_000_000], 0)
            if seen is not None:
                open_face(kind, pack.paths("face"), perceiver()).render(bgr, seen)
    print("the background", flush=True)
    alpha = Matte(store.path("selfie_segmentation_landscape")).alpha(bgr)
    compose.replace(bgr, alpha, compose.fit(bgr.copy(), WIDTH, HEIGHT))
    compose.blur(bgr, alpha, 0.5)
    compose.cut_out(bgr, alpha)
    return 0


def _frame(photo: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    """A camera's frame with the photo in its middle."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    if photo is not None:
        small = cv2.resize(photo, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
        left = (WIDTH - HEIGHT) // 2
        frame[:, left : left + HEIGHT] = small
    return frame


if __name__ == "__main__":
    sys.exit(main())

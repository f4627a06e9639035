"""Who a face belongs to, as 128 numbers: dlib's face recognition network on an aligned chip of the face.

Distances (Euclidean) between pictures of one person are about 0.3 to 0.45, between two people 0.65 to 0.9; 0.6 is the
usual threshold (King 2017, "High quality face recognition with deep metric learning").
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.zoo.provider import open_onnx

Image = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]

MODEL_NAME = "face_embedder"
SAME_PERSON = 0.6
CHIP_PX = 150
PADDING = 0.25
# Outer and inner corner of the person's left eye, the same of the right one, and the base of the nose: as points of
# the mesh, and where dlib's alignment wants them (its 5-point mean face, in a square without padding).
POINTS = (263, 362, 33, 133, 2)
MEAN_FACE = np.array(
    [
        [0.8595675, 0.2134982],
        [0.6460605, 0.2289674],
        [0.1205751, 0.2137275],
        [0.3340851, 0.2290642],
        [0.4901123, 0.6277975],
    ]
)
CHIP_POINTS = (PADDING + MEAN_FACE) / (2 * PADDING + 1) * CHIP_PX


class FaceEmbedder:
    """The network, ready to run; calls from several threads are allowed. About 6 ms a face.

    Args:
        model: the ONNX file (`derived_path("face_embedder")`).

    Raises:
        ModelError: the file is missing or damaged.
    """

    def __init__(self, model: Path) -> None:
        self._model = open_onnx(model, providers=[])

    def embed(self, bgr: Image, landmarks: F32) -> F32:
        """(128,) of the face in `bgr` (H, W, 3) uint8 whose mesh `landmarks` (468 or 478, 2 or 3) are in pixels."""
        return self.embed_chip(face_chip(bgr, landmarks))

    def embed_chip(self, chip: Image) -> F32:
        """(128,) of an aligned chip (150, 150, 3) uint8 BGR."""
        rgb = np.ascontiguousarray(chip[..., ::-1].transpose(2, 0, 1)[None], np.float32)
        embedding: F32 = self._model.run({"rgb": rgb})[0][0]
        return embedding

    @property
    def provider(self) -> str:
        """What runs it."""
        return self._model.provider


def distance(a: F32, b: F32) -> float:
    """Euclidean distance of two (128,) embeddings; below `SAME_PERSON` they are taken for one person's."""
    return float(np.linalg.norm(a - b))


def face_chip(bgr: Image, landmarks: F32) -> Image:
    """The face turned upright and cut out as dlib aligns it: (150, 150, 3) uint8 BGR."""
    found = landmarks[list(POINTS), :2].astype(np.float64)
    matrix = _similarity(found, CHIP_POINTS)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.7:
        # Shrink first: the warp itself looks at four pixels only.
        height, width = bgr.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
        shrink = np.array([size[0] / width, size[1] / height])
        matrix = _similarity((found + 0.5) * shrink - 0.5, CHIP_POINTS)
    chip = cv2.warpAffine(bgr, matrix, (CHIP_PX, CHIP_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(chip, np.uint8)


def _similarity(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(2, 3) turn, scale and shift of `source` (N, 2) onto `target` by least squares (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    x, y = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    turn = np.vdot(x, y) / np.vdot(x, x)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    matrix: npt.NDArray[np.float64] = np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])
    return matrix

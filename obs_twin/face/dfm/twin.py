"""The DeepFaceLab twin: a network draws the target's face in the place of the actor's.

A frame's way:

    align      the square of DeepFaceLab's mean face, cut out of the frame (`align`)
    network    pre-sharpen and gamma, the network once or twice, gamma
    mask       actor's, target's, landmarks'; eroded and softened (`mask`)
    colour     the network's colours brought to the actor's light (`face.colour`)
    put back   square to frame, brought to the camera's sharpness (`match`), the camera's grain put back
    front      hands and things before the face stay in front, and out of the comparison of colours
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face import colour
from obs_twin.face.dfm.align import FACE_TYPES, Matrix, face_matrix, inverse
from obs_twin.face.dfm.mask import face_mask
from obs_twin.face.dfm.match import blend_bands, match_sharpness
from obs_twin.face.dfm.model import DfmModel, open_dfm
from obs_twin.face.dfm.settings import AUTO, DfmSettings
from obs_twin.face.front import front_mask
from obs_twin.face.observation import FaceObservation, FloatArray, Rect
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FaceModelError
from obs_twin.face.rasterise import blend
from obs_twin.face.settings import FaceSettings

Image = npt.NDArray[np.uint8]

_MIN_FACE_PX = 16
_MIN_GRAIN = 1.0  # levels; less is not seen
_SEEN = 2  # of 255; less coverage changes no pixel
_COVERED = 64  # of 255; what lies under more of a hand or thing tells nothing about the face's colours


class DfmTwin:
    """Draws what a `.dfm` makes of the actor's face. `render` may run in several threads at once: it keeps no state.

    Args:
        model: the network.
        settings: what `render` uses when it is given none.
    """

    def __init__(self, model: DfmModel, settings: FaceSettings | None = None) -> None:
        self._model = model
        self._settings = settings or FaceSettings()

    @property
    def provider(self) -> str:
        """Where the network really runs, for the panel."""
        return self._model.provider

    @property
    def description(self) -> str:
        """What was found in the file, in plain words."""
        return self._model.layout.describe()

    def render(self, bgr: Image, observation: FaceObservation, settings: FaceSettings | None = None) -> Rect:
        """Draw the twin into `bgr` `(H, W, 3) uint8`, in place.

        Returns:
            The changed rectangle `(x0, y0, x1, y1)`; empty `(0, 0, 0, 0)` if nothing was changed.

        Raises:
            FaceModelError: the network failed; the frame is as it was.
        """
        chosen = settings or self._settings
        dfm = chosen.dfm
        layout = self._model.layout
        side = layout.side_px
        if chosen.strength * dfm.face_opacity <= 0 or observation.head.scale < _MIN_FACE_PX:
            return (0, 0, 0, 0)
        face_type = layout.face_type if dfm.face_type == AUTO else dfm.face_type
        place = {"coverage": dfm.face_coverage, "x_offset": dfm.x_offset, "y_offset": dfm.y_offset}
        matrix = face_matrix(observation.landmarks, side, face_type, **place)
        actor = cut(bgr, matrix, side)
        drawn, target_mask, actor_mask = self._draw(actor, dfm)
        points = observation.landmarks[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        mask = face_mask(target_mask, actor_mask, points.astype(np.float32), side, dfm)
        back = inverse(_scaled(matrix, side, dfm.face_scale))
        rect = x0, y0, x1, y1 = _bounds(mask, back, bgr.shape)
        if x1 - x0 < 2 or y1 - y0 < 2:
            return (0, 0, 0, 0)
        corner = np.array([x0, y0], np.float32)
        front, skin = None, mask * np.float32(1 / 255)
        if observation.hands or observation.occlusion is not None:
            front = front_mask(observation, corner, bgr[y0:y1, x0:x1])
            there = inverse(back)
            there[:, 2] += there[:, :2] @ corner
            skin *= cv2.warpAffine(front, there, (side, side)) < _COVERED
        like = actor.astype(np.float32) * np.float32(1 / 255)
        drawn = colour.transfer(dfm.color_transfer, drawn, like, skin, chosen.light)
        back[:, 2] -= corner
        self._put_back(bgr[y0:y1, x0:x1], corner, to_bytes(drawn), mask, back, front, observation, chosen)
        return rect

    def _draw(self, actor: Image, dfm: DfmSettings) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        """The network's face and masks for a square of the actor."""
        seen = actor
        if dfm.presharpen_amount > 0:
            soft = cv2.GaussianBlur(seen, (0, 0), 1.0)
            seen = np.asarray(
                cv2.addWeighted(seen, 1 + dfm.presharpen_amount, soft, -dfm.presharpen_amount, 0), np.uint8
            )
        picture = seen.astype(np.float32) * np.float32(1 / 255)
        picture = _gamma(picture, dfm.pre_gamma_blue, dfm.pre_gamma_green, dfm.pre_gamma_red)
        face, target_mask, actor_mask = self._model.run(picture, dfm.morph_factor)
        if dfm.two_pass:
            # What the actor's face covers is known best from the actor's picture.
            face, target_mask, _ = self._model.run(np.clip(face, 0, 1), dfm.morph_factor)
        np.clip(face, 0, 1, out=face)
        return _gamma(face, dfm.post_gamma_blue, dfm.post_gamma_green, dfm.post_gamma_red), target_mask, actor_mask

    def _put_back(
        self,
        region: Image,
        corner: FloatArray,
        face: Image,
        mask: Image,
        matrix: Matrix,
        front: Image | None,
        observation: FaceObservation,
        chosen: FaceSettings,
    ) -> None:
        """Lay the square `face`, as far as `mask` shows it, by `matrix` into the `region` of the frame at `corner`."""
        size = (region.shape[1], region.shape[0])
        layer = _laid(face, matrix, size, cv2.BORDER_REPLICATE)
        coverage = _laid(mask, matrix, size, cv2.BORDER_CONSTANT)
        look = observation.appearance
        marks = observation.landmarks[:, :2] - corner
        layer = match_sharpness(layer, marks, look.fineness, chosen.sharpness_match)
        if chosen.dfm.multi_band:
            layer = blend_bands(region, layer, coverage)
        if front is not None:
            coverage = np.asarray(cv2.multiply(coverage, cv2.bitwise_not(front), scale=1 / 255), np.uint8)
        grain = chosen.grain * look.noise
        soft = np.asarray(cv2.GaussianBlur(region, (0, 0), 1.0), np.uint8) if grain > _MIN_GRAIN else region
        blend(region, soft, layer, coverage, chosen.strength * chosen.dfm.face_opacity, 2.5 * grain, region)


def cut(picture: Image, matrix: Matrix, side_px: int) -> Image:
    """The square of `align.face_matrix`, `(S, S, 3) uint8`, without the jaggies of a strong reduction."""
    shrink = int(1 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6) + 0.3)
    if shrink > 1:
        # Only what goes in, brought down by whole steps first.
        x0, y0, x1, y1 = _bounds(np.full((side_px, side_px), 255, np.uint8), inverse(matrix), picture.shape)
        size = ((x1 - x0) // shrink, (y1 - y0) // shrink)
        if min(size) < 1:
            return np.zeros((side_px, side_px, 3), np.uint8)
        x1, y1 = x0 + size[0] * shrink, y0 + size[1] * shrink
        picture = np.asarray(cv2.resize(picture[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA), np.uint8)
        # A small pixel's middle is the middle of those that it stands for.
        first = np.array([x0, y0]) + (shrink - 1) / 2
        matrix = np.concatenate([matrix[:, :2] * shrink, matrix[:, 2:] + matrix[:, :2] @ first[:, None]], axis=1)
    out = cv2.warpAffine(picture, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def _laid(picture: Image, matrix: Matrix, size: tuple[int, int], border: int) -> Image:
    """The square laid into the frame; `matrix` leads from its pixels to the frame's."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.7:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.35 / scale), np.uint8)
    elif scale > 1 and picture.ndim == 3:
        # Twice the size by a cubic, the rest linearly: as smooth as a cubic all the way, in half the time.
        picture = np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)
        matrix = np.concatenate([matrix[:, :2] / 2, matrix[:, 2:] - matrix[:, :2] @ np.full((2, 1), 0.25)], axis=1)
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def _scaled(matrix: Matrix, side_px: int, scale: float) -> Matrix:
    """`matrix` for a result that is put back `scale` times as large, around the square's middle."""
    if scale == 1.0:
        return matrix
    scaled = matrix / scale
    scaled[:, 2] += side_px / 2 * (1 - 1 / scale)
    return scaled


def _bounds(mask: Image, back: Matrix, shape: tuple[int, ...]) -> Rect:
    """The frame's pixels that the visible part of the mask reaches."""
    rows = np.flatnonzero(mask.max(axis=1) >= _SEEN)
    columns = np.flatnonzero(mask.max(axis=0) >= _SEEN)
    if not len(rows) or not len(columns):
        return (0, 0, 0, 0)
    x, y = (columns[0] - 1, columns[-1] + 1), (rows[0] - 1, rows[-1] + 1)
    corners = np.array([(x[0], y[0]), (x[1], y[0]), (x[0], y[1]), (x[1], y[1])], np.float64)
    placed = corners @ back[:, :2].T + back[:, 2]
    low, high = np.floor(placed.min(0)), np.ceil(placed.max(0)) + 1
    x0, x1 = (int(np.clip(v, 0, shape[1])) for v in (low[0], high[0]))
    y0, y1 = (int(np.clip(v, 0, shape[0])) for v in (low[1], high[1]))
    return (x0, y0, x1, y1)


def _gamma(picture: FloatArray, blue: float, green: float, red: float) -> FloatArray:
    """Each channel to the power of one over its gamma."""
    if blue == green == red == 1.0:
        return picture
    exponents = np.array([1 / blue, 1 / green, 1 / red], np.float32)
    return np.asarray(np.power(np.maximum(picture, 0), exponents), np.float32)


def to_bytes(picture: FloatArray) -> Image:
    """0..1 to 0..255, rounded; `picture` must be within."""
    return np.asarray(picture * np.float32(255) + np.float32(0.5), np.uint8)


def pack_settings(face_type: str) -> bytes:
    """The file that goes beside a `.dfm` into a twin pack, where the face type is known and the `.dfm` is silent."""
    return json.dumps({"face_type": face_type}).encode()


def open_dfm_twin(files: Sequence[Path], perceiver: FacePerceiver, settings: FaceSettings | None = None) -> DfmTwin:
    """A twin from its `.dfm` and, if there is one, its `pack_settings`.

    Raises:
        FaceModelError: as `model.open_dfm`; or the pack names other files.
    """
    models = [path for path in files if path.suffix.lower() != ".json"]
    notes = [path for path in files if path.suffix.lower() == ".json"]
    if len(models) != 1 or len(notes) > 1:
        raise FaceModelError(
            "A face of kind dfm is one .dfm file, with or without one settings file; the twin pack names "
            f"{', '.join(path.name for path in files)}."
        )
    model = open_dfm(models[0])
    for path in notes:
        try:
            face_type = json.loads(path.read_bytes())["face_type"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FaceModelError(f"The face model's settings {path.name} are damaged: {error}") from error
        if face_type not in FACE_TYPES:
            raise FaceModelError(
                f"The face model's settings {path.name} name the face type {face_type!r}; expected is one of "
                f"{', '.join(FACE_TYPES)}."
            )
        model.layout = replace(model.layout, face_type=face_type)
    return DfmTwin(model, settings)

"""What the actor's face looks like in a frame, as far as a twin must match it: light, eye colour, sharpness, noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.face.detail import OCTAVES, octaves, strengths
from obs_twin.face.topology import OVAL

Image = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

_TONE_BLUR_PX = 5  # on the mesh network's 192 px square, where a face is about 128 px wide
_OUTLINE_INSET = 0.1
_MIDDLE = 6  # the bridge of the nose
_FEATURES = [70, 300, 61, 291, 105, 334, 17]  # brows to lower lip: where a face has fine detail
_MAX_SAMPLE_PX, _LEAST_SAMPLE_PX = 256, 12
_DROWNED = 0.3
# What a straight blur leaves of a face's middle octave (negative, to be rising), and the blur's length in pixels:
# measured on faces of several cameras.
_BLUR_LEAVES = ((-0.96, -0.87, -0.80, -0.73, -0.63, -0.56, -0.51, -0.42), (0, 5, 7, 9, 13, 17, 21, 30))
_COVERED, _COVERED_POINTS = 0.5, 20  # log units; of 468
_USUAL_STEP = 0.03
# What white noise of variance 1 leaves in the two bands of `sharpness`.
_NOISE_IN_FINE, _NOISE_IN_COARSE = 0.76, 0.036
# And in the `detail.octaves`, as mean size for a standard deviation of 1.
_NOISE_IN_OCTAVES = np.array([0.67, 0.19, 0.09], np.float32)


def _iris_samples() -> FloatArray:
    """Places in an iris (unit: its radius) to either side of the pupil, where neither lids nor glints reach."""
    angles = np.radians([-35, -20, -5, 10, 25, 40])
    sides = np.concatenate([angles, np.pi - angles])
    rings = [np.stack([np.cos(sides), np.sin(sides)], axis=1) * r for r in (0.5, 0.6, 0.7, 0.8)]
    return np.concatenate(rings).astype(np.float32)


_IRIS_SAMPLES = _iris_samples()


class Appearance(NamedTuple):
    """
    Attributes:
        tones: `(468, 3) float32` BGR 0..255, the colours around each mesh point, blurred over about 4 % of the face.
        iris_tones: `(2, 3) float32` BGR 0..255, the typical colour of the right and the left iris.
        fineness: energy of the finest picture detail over that of detail twice as coarse; about 0.05 in a soft
            picture, above 0.5 in a sharp one.
        noise: standard deviation of the camera's noise in 8-bit levels.
        octaves: `(3,) float32`, `detail.strengths` of the middle of the face without the noise; nan where unknown.
        motion: `(2,) float32`, how far the face moved across and down while this frame was exposed, in pixels, judged
            by how much less detail it shows than at rest; 0 if it moved little.
    """

    tones: FloatArray
    iris_tones: FloatArray
    fineness: float
    noise: float
    octaves: FloatArray
    motion: FloatArray


def mean_appearance(appearances: Sequence[Appearance], weights: FloatArray) -> Appearance:
    """The weighted mean, but the motion of the one that counts most; `weights` `(len(appearances),)` sum to 1."""
    return Appearance(
        np.tensordot(weights, np.stack([a.tones for a in appearances]), axes=1).astype(np.float32),
        np.tensordot(weights, np.stack([a.iris_tones for a in appearances]), axes=1).astype(np.float32),
        float(sum(w * a.fineness for w, a in zip(weights, appearances, strict=True))),
        float(sum(w * a.noise for w, a in zip(weights, appearances, strict=True))),
        np.tensordot(weights, np.stack([a.octaves for a in appearances]), axes=1).astype(np.float32),
        appearances[int(np.argmax(weights))].motion,
    )


class UsualTones:
    """The face's usual colours, by which a thing in front of it is noticed, and which are taken for what it hides."""

    def __init__(self) -> None:
        self._usual: FloatArray | None = None

    def reset(self) -> None:
        self._usual = None

    def covered(self, tones: FloatArray) -> bool:
        """Whether many mesh points differ from their usual colour by more than the light's change."""
        if self._usual is None:
            return False
        change = np.log(tones + 2) - self._usual
        change -= _medians(change)
        return int((np.abs(change).max(axis=1) > _COVERED).sum()) > _COVERED_POINTS

    def update(self, tones: FloatArray, hidden: npt.NDArray[np.bool_]) -> FloatArray:
        """Learn the points that are seen; returns `tones` with the hidden ones as they would be in today's light."""
        logs = np.log(tones + 2)
        if self._usual is None:
            self._usual = logs
            return tones
        today = _medians((logs - self._usual)[~hidden]) if not hidden.all() else np.zeros(3, np.float32)
        if hidden.any():
            logs[hidden] = self._usual[hidden] + today
            tones = (np.exp(logs) - 2).astype(np.float32)
        self._usual = self._usual + (logs - self._usual) * np.float32(_USUAL_STEP)
        return tones


def _medians(values: FloatArray) -> FloatArray:
    """The median of each column of `values` `(N, C)`; the upper one of the middle two."""
    middle = len(values) // 2
    return np.asarray(np.partition(values.T, middle, axis=1)[:, middle], np.float32)


def tones_at(crop: Image, places: FloatArray) -> FloatArray:
    """Blurred colours `(468, 3)` of the mesh network's square `crop` at the mesh points' `places` `(468, 2)` in it."""
    where = places.copy()
    # At the outline, look a little inwards: the colour of the skin there, not of what is behind it.
    where[OVAL] += (where[_MIDDLE] - where[OVAL]) * _OUTLINE_INSET
    soft = cv2.blur(crop, (_TONE_BLUR_PX, _TONE_BLUR_PX))
    x, y = (np.ascontiguousarray(where[None, :, k], np.float32) for k in (0, 1))
    return np.asarray(cv2.remap(soft, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float32)


def iris_tone(eye: Image, centre: FloatArray, radius: float) -> FloatArray:
    """The typical colour `(3,)` of an iris in a picture of its eye: a ring without pupil, lids and glints."""
    places = (centre + _IRIS_SAMPLES * np.float32(radius)).astype(int)
    x, y = np.clip(places, 0, [eye.shape[1] - 1, eye.shape[0] - 1]).T
    return _medians(np.asarray(eye[y, x], np.float32))


class Detail(NamedTuple):
    """How sharp and how noisy a picture of a face is; the fields are those of `Appearance`."""

    fineness: float
    noise: float
    octaves: FloatArray


def all_detail(bgr: Image, landmarks: FloatArray) -> Detail:
    """Measure the middle of the face at the frame's own pixels; what is unknown is nan."""
    fineness, noise = fine_detail(bgr, landmarks)
    sample = bgr[detail_place(landmarks, bgr.shape)][..., 1]
    # In whole fours, which halve twice much faster than what is left over.
    green = np.ascontiguousarray(sample[: sample.shape[0] // 4 * 4, : sample.shape[1] // 4 * 4])
    if min(green.shape) < _LEAST_SAMPLE_PX:
        return Detail(fineness, noise, np.full(OCTAVES, np.nan, np.float32))
    seen = strengths(octaves(green), (slice(0, green.shape[0]), slice(0, green.shape[1])))
    in_noise = _NOISE_IN_OCTAVES * np.float32(noise / max(float(green.mean()), 1.0))
    left = np.sqrt(np.maximum(np.square(seen) - np.square(in_noise), 0))
    # Little more than noise: what is left of it is no measurement.
    left[left < _DROWNED * seen] = np.nan
    return Detail(fineness, noise, np.asarray(left, np.float32))


def motion_blur(moved_px: FloatArray, now: FloatArray, still: FloatArray) -> FloatArray:
    """How long and in which direction `(2,)` a moving face is blurred, in pixels.

    Args:
        moved_px: `(2,)`, from the frame before to this one; no exposure is longer than that.
        now, still: octaves `(3,)` of this frame and of the face at rest.
    """
    way = float(np.linalg.norm(moved_px))
    left = float(now[1] / still[1]) if still[1] > 0 else float("nan")
    if not np.isfinite(left) or way < 1:
        return np.zeros(2, np.float32)
    length = min(float(np.interp(-left, _BLUR_LEAVES[0], _BLUR_LEAVES[1])), way)
    return np.asarray(moved_px * np.float32(length / way), np.float32)


def fine_detail(bgr: Image, landmarks: FloatArray) -> tuple[float, float]:
    """`(fineness, noise)` of the middle of the face, at the frame's own pixels; fineness is nan if unknown."""
    sample = bgr[detail_place(landmarks, bgr.shape)]
    if min(sample.shape[:2]) < _LEAST_SAMPLE_PX:
        return float("nan"), 0.0
    return sharpness(sample)


def detail_place(landmarks: FloatArray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a picture of `shape` between a face's brows and its lower lip, where its detail is."""
    points = landmarks[_FEATURES, :2]
    middle = points.mean(0)
    half = np.minimum((points.max(0) - points.min(0)) / 2, _MAX_SAMPLE_PX / 2)
    low = np.clip(np.floor(middle - half), 0, shape[1::-1]).astype(int)
    high = np.clip(np.ceil(middle + half), 0, shape[1::-1]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def sharpness(picture: Image) -> tuple[float, float]:
    """`(fineness, noise)` as in `Appearance`, of any picture `(H, W, 3) uint8`; fineness is nan if noise hides it."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    soft = cv2.GaussianBlur(grey, (0, 0), 1.0)
    softer = cv2.GaussianBlur(grey, (0, 0), 2.0)
    fine, coarse = cv2.subtract(grey, soft), cv2.subtract(soft, softer)
    # The median ignores the few pixels with features: what is left is noise.
    spread = 1.4826 * float(np.median(np.abs(fine.ravel()[::7])))
    variance = spread * spread / _NOISE_IN_FINE
    fine_energy = float(cv2.norm(fine, cv2.NORM_L2SQR)) / fine.size
    coarse_energy = float(cv2.norm(coarse, cv2.NORM_L2SQR)) / coarse.size
    fine_signal = fine_energy - variance * _NOISE_IN_FINE
    coarse_signal = coarse_energy - variance * _NOISE_IN_COARSE
    hidden = fine_signal < 0.4 * fine_energy or coarse_signal < 0.4 * coarse_energy
    return float("nan") if hidden else fine_signal / max(coarse_signal, 0.01), variance**0.5

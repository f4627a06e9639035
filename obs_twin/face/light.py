"""The actor's light on the target's face.

Photo and actor are compared at the mesh points, in the logarithm of their colours: what is left after smoothing over
the face is the ratio of the two lights (and of the two skins), without the photo's features. Multiplying the photo with
that ratio removes the photo's own shading and puts the room's in its place. Points where the two faces differ by a
feature and not by light (brows, lips, a moustache, hair on the forehead) are known beforehand or found as outliers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from obs_twin.face.observation import FloatArray
from obs_twin.face.topology import (
    LEFT_BROW,
    LEFT_EYE,
    LIPS_INNER,
    LIPS_OUTER,
    MESH_POINTS,
    MIRROR,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
)

Weights = npt.NDArray[np.uint8]

# Nostrils and the wings of the nose, whose shadows are shape and not light.
_NOSTRILS = np.array([2, 97, 98, 99, 60, 75, 20, 242, 141, 94, 370, 462, 250, 290, 305, 328, 327, 326], np.int32)
# Plain skin on everybody: cheeks, between the brows, chin.
_PLAIN = np.array([36, 50, 100, 101, 117, 118, 123, 187, 205, 206, 207, 8, 9, 151, 199, 200], np.int32)
_PLAIN = np.unique(np.concatenate([_PLAIN, MIRROR[_PLAIN]]))
_FEATURES = np.unique(np.concatenate([LIPS_INNER, LIPS_OUTER, RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, _NOSTRILS]))
_DARKEST = 2.0  # added before the logarithm, so that noise in black does not count
_OUTLIER = 0.45  # log units away from the plain trend at which a point counts no more
_JAW_OUTLIER = 0.9  # the same along the jaw, where stubble goes on below the twin's face
_BRIGHT_OUTLIER = 1.0  # the same for the finer light around it, upwards
_TINT_OUTLIER = 0.26  # the same for the differences between channels, in which skin varies little
# The same where neither hair nor beard is: red cheeks are the actor's blood or the photo's make-up.
_INNER_TINT_OUTLIER = 0.45
_TINT_RADIUS = 0.08  # in units of the head's size; tint says nothing of relief, and may be followed closely
_INNER = (0.08, 0.16)  # from the outline and from the lips: by the first still at the edge, by the second on a cheek
_MOST_SHIFT, _TAIL = 0.2, 6  # the second: so many of the plain points at either end do not count
_NEAR = 255
_TREND_RIDGE = 1e-3
_TREND_WEIGHT = 0.02


def smoothing_kernel(points: FloatArray, radius: float | FloatArray) -> FloatArray:
    """Weights `(N, N) float32` of a Gaussian of standard deviation `radius` (in the points' unit) between points.

    A radius for each point `(N,)` makes the smoothing finer at some than at others. Each point counts for the area that
    it stands for, so that the dense eyes and lips do not outvote the cheeks.
    """
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    radii = np.broadcast_to(np.asarray(radius, np.float32), len(points))[:, None]
    kernel = np.exp(-0.5 * (gaps / radii) ** 2)
    nearness = np.exp(-0.5 * (gaps / (radii.min() / 3)) ** 2).sum(1)
    weights: FloatArray = (kernel / nearness[None]).astype(np.float32)
    return weights


class LightTransfer:
    """Gains that bring one photo into an actor's light.

    Args:
        tones: `(468, 3) float32` BGR 0..255, the photo's colours at the mesh points.
        points: `(468, 3) float32`, the photo's face in the head's own axes (`FaceObservation.local`).
        radii: `(468,) float32`, how far the light is smoothed at each point, in the points' unit.
    """

    def __init__(self, tones: FloatArray, points: FloatArray, radii: FloatArray) -> None:
        self._log_tones = np.log(tones + _DARKEST)
        kernel, tint_kernel = smoothing_kernel(points, radii), smoothing_kernel(points, _TINT_RADIUS)
        # A point weighs its area (which stands on the diagonal) times its nearness, which 255 steps are fine enough
        # for: a quarter of the memory to go through in every frame.
        self._areas = kernel.diagonal() / np.float32(_NEAR), tint_kernel.diagonal() / np.float32(_NEAR)
        self._near, self._tint_near = (
            np.rint(k / k.diagonal() * _NEAR).astype(np.uint8) for k in (kernel, tint_kernel)
        )
        x, y = points[:, 0], points[:, 1]
        z = points[:, 2]
        self._trend = np.stack([np.ones_like(x), x, y, x * x, z], axis=1).astype(np.float32)
        # Where to start from: the middle of the face is skin on everybody.
        seed = np.exp(-0.5 * np.square(points[:, :2] - points[4, :2]).sum(axis=1) / 0.3**2)
        self._seed = seed.astype(np.float32)
        self._prior = np.ones(MESH_POINTS, np.float32)
        self._prior[_FEATURES] = 0.02
        self._plainness = (self._prior / smoothing_kernel(points, 0.07).sum(1)).astype(np.float32)
        self._to_trend = np.stack([k.sum(1) for k in (kernel, tint_kernel)]) * np.float32(_TREND_WEIGHT)
        from_outline = np.linalg.norm(points[:, None, :2] - points[None, OVAL, :2], axis=2).min(1)
        below_brows = points[:, 1] > points[[*RIGHT_BROW, *LEFT_BROW], 1].max()
        from_lips = np.linalg.norm(points[:, None, :2] - points[None, LIPS_OUTER, :2], axis=2).min(1)
        inner = np.interp(from_outline, _INNER, [0, 1]) * np.interp(from_lips, _INNER, [0, 1]) * below_brows
        mouth, chin = points[[78, 308], 1].mean(), points[152, 1]
        jaw = np.interp(from_outline, _INNER, [1, 0]) * (points[:, 1] > mouth + 0.25 * (chin - mouth))
        self._dark_outlier = (_OUTLIER + (_JAW_OUTLIER - _OUTLIER) * jaw).astype(np.float32)
        self._tint_outlier = (_TINT_OUTLIER + (_INNER_TINT_OUTLIER - _TINT_OUTLIER) * inner).astype(np.float32)

    def gains(self, tones: FloatArray, amount: float = 1.0) -> FloatArray:
        """Factors `(468, 3) float32` for the photo's channels at each mesh point.

        Args:
            tones: the actor's colours at the mesh points, like the photo's.
            amount: 0 keeps the photo's light, 1 takes all of the actor's.
        """
        ratio = np.log(tones + _DARKEST) - self._log_tones
        trend, trust = np.empty_like(ratio), np.empty(MESH_POINTS, np.float32)
        outliers = self._dark_outlier, self._tint_outlier
        _robust_trend(ratio, self._trend, self._plainness, self._seed, *outliers, trend, trust)
        rest = np.empty_like(ratio)
        _smoothed_rest(
            ratio - trend, self._prior * trust, self._near, self._tint_near, *self._areas, self._to_trend, rest
        )
        smooth = trend + rest
        # The photo's shades are lifted further than the actor's are kept: the skin as a whole stays the actor's.
        left = np.sort((ratio - smooth)[_PLAIN], axis=0)[_TAIL:-_TAIL].mean(axis=0)
        smooth += np.clip(left, -_MOST_SHIFT, _MOST_SHIFT)
        factors: FloatArray = np.exp(np.float32(amount) * smooth).astype(np.float32)
        return factors


@njit(cache=True, nogil=True, fastmath=True)
def _robust_trend(
    ratio: FloatArray,
    basis: FloatArray,
    weight: FloatArray,
    seed: FloatArray,
    dark_outlier: FloatArray,
    tint_outlier: FloatArray,
    trend: FloatArray,
    trust: FloatArray,
) -> None:
    """A plain surface through most of the points, and how far each point is to be trusted.

    Iteratively reweighted least squares with Tukey's biweight.

    Args:
        ratio: `(N, 3)`, log colours of actor over photo.
        basis: `(N, K)`, the surface's terms at each point.
        weight: `(N,)`, area and expected plainness of each point.
        seed: `(N,)` 0..1, which points to believe at first.
        dark_outlier, tint_outlier: `(N,)`, the distance in brightness and in tint at which a point counts no more.
        trend: `(N, 3)`, gets the surface.
        trust: `(N,)`, gets 0..1.
    """
    points, terms = basis.shape
    trust[:] = seed
    normal = np.empty((terms, terms + 3), np.float64)
    for step in range(4):
        normal[:] = 0.0
        for n in range(points):
            w = trust[n] * weight[n]
            for i in range(terms):
                wi = w * basis[n, i]
                for j in range(i, terms):
                    normal[i, j] += wi * basis[n, j]
                for c in range(3):
                    normal[i, terms + c] += wi * ratio[n, c]
        ridge = 0.0
        for i in range(terms):
            ridge += normal[i, i] * _TREND_RIDGE
            for j in range(i):
                normal[i, j] = normal[j, i]
        for i in range(terms):
            normal[i, i] += ridge + 1e-12
        # Gauss elimination; the matrix is positive definite, so that its diagonal serves as the pivots.
        for i in range(terms):
            for k in range(terms):
                if k != i:
                    share = normal[k, i] / normal[i, i]
                    for j in range(i, terms + 3):
                        normal[k, j] -= share * normal[i, j]
        for n in range(points):
            brightness = 0.0
            for c in range(3):
                value = 0.0
                for i in range(terms):
                    value += basis[n, i] * normal[i, terms + c] / normal[i, i]
                trend[n, c] = value
                brightness += (ratio[n, c] - value) / 3
            chroma = 0.0
            for c in range(3):
                chroma = max(chroma, abs(ratio[n, c] - trend[n, c] - brightness))
            # Much darker than the trend is the actor's hair or beard. Much brighter is a shadow in the photo, which
            # must go: it is left out of the trend only.
            limit = _OUTLIER
            if step == 3:
                limit = _BRIGHT_OUTLIER if brightness > 0 else dark_outlier[n]
            rest = 1.0 - (chroma / tint_outlier[n]) ** 2 - (brightness / limit) ** 2
            trust[n] = max(rest, 0.0) ** 2


@njit(cache=True, nogil=True, fastmath=True)
def _smoothed_rest(
    rest: FloatArray,
    weight: FloatArray,
    near: Weights,
    tint_near: Weights,
    area: FloatArray,
    tint_area: FloatArray,
    to_trend: FloatArray,
    out: FloatArray,
) -> None:
    """What differs from the plain surface, smoothed over the face: brightness coarsely, tint finely.

    Args:
        rest: `(N, 3)`, log colours less the surface.
        weight: `(N,)`, how far each point is to be trusted.
        near, tint_near: `(N, N)`, how much each point's brightness and its tint take from the others, `_NEAR` is all.
        area, tint_area: `(N,)`, what the same are multiplied with for each of the others.
        to_trend: `(2, N)`, the weights of the surface.
        out: `(N, 3)`, gets the sum of both.
    """
    points = rest.shape[0]
    w = np.empty((6, points), np.float32)
    for n in range(points):
        bright = (rest[n, 0] + rest[n, 1] + rest[n, 2]) / np.float32(3)
        fine, coarse = weight[n] * tint_area[n], weight[n] * area[n]
        for c in range(3):
            w[c, n] = (rest[n, c] - bright) * fine
        w[3, n], w[4, n] = bright * coarse, coarse
        w[5, n] = fine
    for n in range(points):
        row, tint_row = near[n], tint_near[n]
        blue = green = red = fine = bright = coarse = np.float32(0)
        for k in range(points):
            tint, light = np.float32(tint_row[k]), np.float32(row[k])
            blue += tint * w[0, k]
            green += tint * w[1, k]
            red += tint * w[2, k]
            fine += tint * w[5, k]
            bright += light * w[3, k]
            coarse += light * w[4, k]
        fine += to_trend[1, n]
        lift = bright / (coarse + to_trend[0, n])
        out[n, 0], out[n, 1], out[n, 2] = lift + blue / fine, lift + green / fine, lift + red / fine

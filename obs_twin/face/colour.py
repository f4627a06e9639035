"""Colour transfer: giving one picture the colours of another, in the ways that DeepFaceLab's users know by name.

| mode | what it matches |
|---|---|
| none | nothing |
| rct | mean and spread of each channel of CIE Lab (Reinhard et al. 2001, "Color Transfer between Images") |
| lct | mean and covariance of BGR, through the principal axes (Hertzmann 2001) |
| mkl | the same by the map that moves colours least (Pitié and Kokaram 2007, "Linear Monge-Kantorovitch") |
| idt | the whole distribution, along turning axes, bit by bit (Pitié et al. 2007, "Automated colour grading ...") |
| sot | the whole distribution, by sorting along slices (Rabin et al. 2011, "Wasserstein Barycenter ...") |

Distributions are taken from at most `_SAMPLES` pixels a side, inside a mask, and every change is limited: a network's
output next to an actor in the dark must not be pulled apart into noise. What `idt` and `sot` find for these pixels
becomes a smooth table from colour to change of colour, through which the whole picture goes. Nothing here is random, so
a still picture stays still.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

FloatArray = npt.NDArray[np.float32]
_Matrix = npt.NDArray[np.float64]

MODES = ("none", "rct", "lct", "mkl", "idt", "sot")

_SAMPLES = 36
_FEWEST_PIXELS = 24
_MOST_STRETCH = 2.5  # of a channel's or an axis's spread
_NOISE = 1e-4  # variance (0..1 squared) that every picture has
_LAB_NOISE = 0.5  # the same as a standard deviation in CIE Lab
_TURNS = 8
_IDT_QUANTILES = 64
_CELLS = 12  # of the table along an axis
_LAB_LOW = np.array([0, -127, -127], np.float32)
_LAB_HIGH = np.array([100, 127, 127], np.float32)


def transfer(
    mode: str, picture: FloatArray, like: FloatArray, mask: FloatArray | None = None, amount: float = 1.0
) -> FloatArray:
    """`picture` in the colours of `like`.

    Args:
        mode: one of `MODES`.
        picture, like: `(H, W, 3) float32` BGR 0..1, of one size; what lies at one place belongs together.
        mask: `(H, W) float32`, colours are compared where it is above one half; everywhere if None.
        amount: 0 leaves `picture` as it is, 1 changes it fully.

    Returns:
        `(H, W, 3) float32` 0..1; `picture` itself if there is nothing to change or too little to compare.

    Raises:
        ValueError: unknown mode, or sizes that differ.
    """
    if mode not in MODES:
        raise ValueError(f"the colour mode should be one of {', '.join(MODES)}, found {mode!r}")
    if picture.shape != like.shape:
        raise ValueError(f"the pictures' sizes should be equal, found {picture.shape} and {like.shape}")
    if mode == "none" or amount <= 0:
        return picture
    step = max(1, -(-max(picture.shape[:2]) // _SAMPLES))
    grid = np.s_[step // 2 :: step, step // 2 :: step]
    chosen = np.ones(picture[grid].shape[:2], np.bool_) if mask is None else mask[grid] > 0.5
    ours, theirs = picture[grid][chosen], like[grid][chosen]
    if len(ours) < _FEWEST_PIXELS:
        return picture
    if mode == "rct":
        changed = _reinhard(picture, ours, theirs)
    elif mode in ("lct", "mkl"):
        changed = _linear(picture, ours, theirs, monge=mode == "mkl")
    else:
        change = _distribution_change(ours, theirs) if mode == "idt" else _sliced_change(ours, theirs)
        changed = _through_table(picture, ours, change)
    if amount < 1:
        changed = picture + (changed - picture) * np.float32(amount)
    return np.asarray(np.clip(changed, 0, 1, out=changed), np.float32)


def _reinhard(picture: FloatArray, ours: FloatArray, theirs: FloatArray) -> FloatArray:
    lab_ours, lab_theirs = (cv2.cvtColor(pixels[None], cv2.COLOR_BGR2LAB)[0] for pixels in (ours, theirs))
    spread = (lab_theirs.std(0) + _LAB_NOISE) / (lab_ours.std(0) + _LAB_NOISE)
    spread = np.clip(spread, 1 / _MOST_STRETCH, _MOST_STRETCH)
    shift = lab_theirs.mean(0) - lab_ours.mean(0) * spread
    lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)
    lab = cv2.transform(lab, np.concatenate([np.diag(spread), shift[:, None]], axis=1).astype(np.float32))
    np.clip(lab, _LAB_LOW, _LAB_HIGH, out=lab)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.float32)


def _linear(picture: FloatArray, ours: FloatArray, theirs: FloatArray, *, monge: bool) -> FloatArray:
    """One affine map of the colours, from the covariances' square roots."""
    our_mean, their_mean = ours.mean(0, dtype=np.float64), theirs.mean(0, dtype=np.float64)
    noise = _NOISE * np.eye(3)
    our_root = _root(np.cov(ours.T.astype(np.float64)) + noise)
    their_covariance = np.cov(theirs.T.astype(np.float64)) + noise
    undo = np.linalg.inv(our_root)
    matrix = undo @ _root(our_root @ their_covariance @ our_root) @ undo if monge else _root(their_covariance) @ undo
    # Limit each axis by itself, so that a limit on one keeps the others right.
    left, stretch, right = np.linalg.svd(matrix)
    matrix = left @ np.diag(np.clip(stretch, 1 / _MOST_STRETCH, _MOST_STRETCH)) @ right
    shift = their_mean - matrix @ our_mean
    affine = np.concatenate([matrix, shift[:, None]], axis=1).astype(np.float32)
    return np.asarray(cv2.transform(picture, affine), np.float32)


def _root(covariance: _Matrix) -> _Matrix:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors @ np.diag(np.sqrt(np.maximum(values, 1e-12))) @ vectors.T)


def _turns() -> FloatArray:
    """`(_TURNS, 3, 3)`, fixed rotations that look from many sides."""
    rng = np.random.default_rng(11)
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(_TURNS)]
    turns[0] = np.eye(3)
    return np.asarray(turns, np.float32)


_TURN_MATRICES = _turns()


def _distribution_change(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Change of each pixel `(N, 3)`: marginal distributions matched by their quantiles, axis by axis."""
    # Of values in order, those at equal steps are the quantiles.
    picks = np.linspace(0, len(ours) - 1, _IDT_QUANTILES).astype(np.intp)
    # Equal quantiles (a plain picture) are told apart, since np.interp wants rising places.
    rising = np.linspace(0, 1e-5, _IDT_QUANTILES, dtype=np.float32)
    now = ours.copy()
    for number, turn in enumerate(_TURN_MATRICES):
        a, b = now @ turn.T, theirs @ turn.T
        from_levels, to_levels = (np.sort(values, axis=0)[picks] for values in (a, b))
        moved = np.empty_like(a)
        for k in range(3):
            moved[:, k] = np.interp(a[:, k], from_levels[:, k] + rising, to_levels[:, k] + rising)
        part = np.float32(1.0 if number == _TURNS - 1 else 0.6)
        now += part * ((moved - a) @ turn)
    return _limited(now - ours)


def _sliced_change(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Change of each pixel `(N, 3)`: along each slice, the darkest goes to the darkest, and so on."""
    now = ours.copy()
    for turn in _TURN_MATRICES:
        a, b = now @ turn.T, theirs @ turn.T
        order = np.argsort(a, axis=0, kind="stable")
        step = np.empty_like(a)
        np.put_along_axis(step, order, np.sort(b, axis=0) - np.take_along_axis(a, order, axis=0), axis=0)
        now += (step @ turn).astype(np.float32)
    return _limited(now - ours)


def _limited(change: FloatArray) -> FloatArray:
    """No pixel moves further from the mean change than twice as far as they do on average."""
    mean = change.mean(0)
    apart = change - mean
    length = np.linalg.norm(apart, axis=1, keepdims=True)
    most = np.float32(2) * length.mean() + np.float32(1e-6)
    return np.asarray(mean + apart * np.minimum(1, most / np.maximum(length, 1e-9)), np.float32)


def _through_table(picture: FloatArray, colours: FloatArray, change: FloatArray) -> FloatArray:
    """Every pixel changed as the `colours` `(N, 3)` around it are on average, by `change` `(N, 3)`."""
    low = colours.min(0)
    step = np.maximum((colours.max(0) - low) / np.float32(_CELLS - 1), np.float32(1e-4))
    table = np.zeros((_CELLS, _CELLS, _CELLS, 4), np.float32)
    mean = change.mean(0)
    _scatter(colours, change - mean, low, step, table)
    # Cells that no colour fell into take from their neighbours.
    wide = table
    for axis in range(3):
        wide = _neighbours(_neighbours(wide, axis), axis)
    filled = table + np.float32(2e-4) * wide
    filled[..., :3] /= filled[..., 3:] + np.float32(1e-6)
    filled[..., :3] += mean
    out = np.empty_like(picture)
    _look_up(picture, low, step, filled, out)
    return out


def _neighbours(table: FloatArray, axis: int) -> FloatArray:
    """Each cell with its two neighbours along `axis`."""
    summed = table.copy()
    before = tuple(slice(None, -1) if k == axis else slice(None) for k in range(4))
    after = tuple(slice(1, None) if k == axis else slice(None) for k in range(4))
    summed[before] += table[after]
    summed[after] += table[before]
    return summed


@njit(cache=True, nogil=True, fastmath=True)
def _scatter(colours: FloatArray, change: FloatArray, low: FloatArray, step: FloatArray, table: FloatArray) -> None:
    """Add each `change` and a count of one to the eight cells around its colour, by nearness."""
    last = table.shape[0] - 1
    for n in range(colours.shape[0]):
        x, y, z = (
            (colours[n, 0] - low[0]) / step[0],
            (colours[n, 1] - low[1]) / step[1],
            (colours[n, 2] - low[2]) / step[2],
        )
        i, j, k = min(int(x), last - 1), min(int(y), last - 1), min(int(z), last - 1)
        fx, fy, fz = x - i, y - j, z - k
        for corner in range(8):
            di, dj, dk = corner & 1, (corner >> 1) & 1, corner >> 2
            weight = (fx if di else 1 - fx) * (fy if dj else 1 - fy) * (fz if dk else 1 - fz)
            for c in range(3):
                table[i + di, j + dj, k + dk, c] += weight * change[n, c]
            table[i + di, j + dj, k + dk, 3] += weight


@njit(cache=True, nogil=True, fastmath=True)
def _look_up(picture: FloatArray, low: FloatArray, step: FloatArray, table: FloatArray, out: FloatArray) -> None:
    """`out = picture + table at its colour`, between cells in proportion; colours outside take the nearest cell's."""
    last = np.float32(table.shape[0] - 1)
    one = np.float32(1)
    most = table.shape[0] - 2
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            x = min(max((picture[row, column, 0] - low[0]) / step[0], np.float32(0)), last)
            y = min(max((picture[row, column, 1] - low[1]) / step[1], np.float32(0)), last)
            z = min(max((picture[row, column, 2] - low[2]) / step[2], np.float32(0)), last)
            i, j, k = min(int(x), most), min(int(y), most), min(int(z), most)
            fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
            for c in range(3):
                near = (table[i, j, k, c] * (one - fx) + table[i + 1, j, k, c] * fx) * (one - fy)
                near += (table[i, j + 1, k, c] * (one - fx) + table[i + 1, j + 1, k, c] * fx) * fy
                far = (table[i, j, k + 1, c] * (one - fx) + table[i + 1, j, k + 1, c] * fx) * (one - fy)
                far += (table[i, j + 1, k + 1, c] * (one - fx) + table[i + 1, j + 1, k + 1, c] * fx) * fy
                out[row, column, c] = picture[row, column, c] + near * (one - fz) + far * fz

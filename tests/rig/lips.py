"""Lip sync as a viewer sees it: the twin's lips against the actor's, with nothing stamped on the picture.

The twin's mouth follows the actor's, so the opening of the mouth over time says which moment of the actor's clip is on
screen, as the envelope says it of the voice (`measure.voice_series`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from .measure import ContentSeries, Floats, best_lag

GRID_HZ = 240
UPPER_LIP, LOWER_LIP, RIGHT_EYE, LEFT_EYE = 13, 14, 33, 263

Perceive = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]
"""From (H, W, 3) uint8 BGR to (468 or more, 3) landmarks in pixels, None without a face."""


def mouth_openings(pictures: Iterable[NDArray[np.uint8]], perceive: Perceive) -> Floats:
    """(n,) gap between the lips over the distance of the eyes; NaN where no face is found."""
    openings = []
    for picture in pictures:
        landmarks = perceive(picture)
        if landmarks is None:
            openings.append(np.nan)
            continue
        gap = float(np.linalg.norm(landmarks[UPPER_LIP, :2] - landmarks[LOWER_LIP, :2]))
        eyes = float(np.linalg.norm(landmarks[RIGHT_EYE, :2] - landmarks[LEFT_EYE, :2]))
        openings.append(gap / max(eyes, 1e-6))
    return np.array(openings)


def lip_series(
    times_ns: Sequence[int],
    openings: Floats,
    clip_openings: Floats,
    clip_fps: float,
    window_s: float = 4.0,
    hop_s: float = 0.5,
    least_correlation: float = 0.6,
) -> ContentSeries:
    """The picture's content from the lips: one entry for each window surely found in the clip.

    times_ns, openings: of the tapped frames. clip_openings: of every frame of the looped clip. An entry's arrival is
    its window's middle. Windows with a tenth of their frames without a face are left out.
    """
    loop_s = len(clip_openings) / clip_fps
    window_s = min(window_s, 0.8 * loop_s)
    grid = np.arange(round(loop_s * GRID_HZ)) / GRID_HZ
    looped = np.interp(grid, np.arange(len(clip_openings)) / clip_fps, _filled(clip_openings), period=loop_s)
    start_ns = times_ns[0]
    seconds = (np.array(times_ns, np.int64) - start_ns) / 1e9
    found = ~np.isnan(openings)
    heard = _filled(openings)
    arrivals, phases = [], []
    for first_s in np.arange(0, seconds[-1] - window_s, hop_s):
        inside = (seconds >= first_s) & (seconds < first_s + window_s)
        if not inside.any() or found[inside].mean() < 0.9:
            continue
        moments = first_s + np.arange(round(window_s * GRID_HZ)) / GRID_HZ
        window = np.interp(moments, seconds, heard)
        if window.std() < 0.2 * looped.std():
            continue
        lag, correlation = best_lag(window, looped)
        if correlation < least_correlation:
            continue
        arrivals.append(start_ns + round((first_s + window_s / 2) * 1e9))
        phases.append((lag / GRID_HZ - (start_ns / 1e9 + first_s)) % loop_s)
    return ContentSeries(np.array(arrivals, np.int64), np.array(phases), loop_s)


def _filled(values: Floats) -> Floats:
    """NaN replaced by what lies between the neighbours; zeros when there is nothing else."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return np.zeros_like(values)
    return np.interp(np.arange(len(values)), known, values[known])

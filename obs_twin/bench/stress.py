"""Hard cases for a face twin, made here: a head that turns, light that changes, things held before the face."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.bench.props import Prop, paint_cup, paint_hand
from obs_twin.face.observation import FaceObservation
from obs_twin.twin.synthetic.cache import cache_folder, cached, store
from obs_twin.twin.synthetic.clip import pictures
from obs_twin.twin.synthetic.head import Pose

Image = npt.NDArray[np.uint8]

TURN_SIZE = (960, 540)
RATE_HZ = 25.0
STEP_DEG = 3.0
MOST_YAW_DEG, MOST_PITCH_DEG = 45.0, 25.0
GAMMA = 2.2
STOPS = 2.0
CHANGE_S = 1.0


def turning_head() -> list[Image]:
    """A generated actor who turns 45 degrees to both sides, then 25 up and down: (540, 960, 3) uint8 BGR, in order.

    Rendered the first time (about a minute), then taken from the cache.
    """
    file = cached("bench-turn", ".npz")
    if file.exists():
        with np.load(file) as kept:
            return [np.asarray(cv2.imdecode(kept[name], cv2.IMREAD_COLOR), np.uint8) for name in kept.files]
    frames = list(pictures(_poses(), TURN_SIZE, workers=1))
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        written = Path(scratch) / "turn.npz"
        encoded: dict[str, Any] = {f"{i:04}": cv2.imencode(".png", frame)[1] for i, frame in enumerate(frames)}
        with written.open("wb") as out:
            np.savez(out, **encoded)
        store(written, "bench-turn", ".npz")
    return frames


def _poses() -> list[Pose]:
    yaw = _there_and_back(MOST_YAW_DEG)
    pitch = _there_and_back(MOST_PITCH_DEG)
    turned = [Pose({}, yaw=angle, gaze_yaw=-0.3 * angle) for angle in yaw]
    return turned + [Pose({}, pitch=angle, gaze_pitch=-0.3 * angle) for angle in pitch]


def _there_and_back(most_deg: float) -> list[float]:
    """0 to `most_deg`, over to the other side, and back to 0."""
    up = list(np.arange(0.0, most_deg + 0.1, STEP_DEG))
    side = up + up[-2::-1]
    return [*side, *(-angle for angle in side[1:])]


def dimmed(frames: Sequence[Image], rate_hz: float, *, stops: float = STOPS) -> list[Image]:
    """The frames with light that falls by `stops` within one second and then stays, as exposure would make it."""
    start = 0.25 * len(frames)
    result = []
    for i, frame in enumerate(frames):
        share = min(1.0, max(0.0, (i - start) / (CHANGE_S * rate_hz)))
        table = 255 * ((np.arange(256) / 255) ** GAMMA * 2 ** (-stops * share)) ** (1 / GAMMA)
        result.append(np.asarray(cv2.LUT(frame, np.round(table).astype(np.uint8)), np.uint8))
    return result


def with_prop(
    frames: Sequence[Image], faces: Sequence[FaceObservation | None], prop: Prop
) -> tuple[list[Image], list[Image]]:
    """A thing moved from the side to the mouth, held there, and away, over the frames.

    Returns:
        The frames with it, and for each the exact mask (H, W) uint8, 255 where it is.
    """
    pictures_with, masks = [], []
    for i, (frame, face) in enumerate(zip(frames, faces, strict=True)):
        picture = frame.copy()
        mask = np.zeros(frame.shape[:2], np.uint8)
        if face is not None:
            at = i / max(1, len(frames) - 1)
            away = max(0.0, 1.0 - min(at, 1.0 - at) / 0.3)  # 1 at the ends, 0 in the middle 40 %
            scale = face.head.scale
            mouth = (face.landmarks[13, :2] + face.landmarks[14, :2]) / 2
            where = mouth + np.array([0.95 * scale * away, 0.30 * scale * away])
            paint = paint_cup if prop == "cup" else paint_hand
            tone = np.median(face.appearance.tones[[50, 280, 101, 330]], axis=0)
            mask = paint(picture, (float(where[0]), float(where[1])), scale, tone)
        pictures_with.append(picture)
        masks.append(mask)
    return pictures_with, masks

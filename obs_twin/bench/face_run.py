"""A clip through the face pipeline as the engine runs it, without OBS: perceive, look ahead, smooth, draw."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.bench.extra import BenchError
from obs_twin.face.observation import FaceObservation, Rect
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import FaceModel
from obs_twin.face.settings import FaceSettings
from obs_twin.face.smooth import MAX_GAP_NS, smooth
from obs_twin.zoo.store import ModelStore

Image = npt.NDArray[np.uint8]

WINDOW_NS = 350_000_000
LOOKAHEAD_NS = 233_000_000
BRIDGE_NS = MAX_GAP_NS + 50_000_000  # how far a frame without a face looks for one
STAGES = ("perceive", "smooth", "face")


@dataclass
class FaceRun:
    """What became of a clip; all lists are one per frame.

    Attributes:
        frames: what the camera saw, (H, W, 3) uint8 BGR.
        seen: what perception said of each, None without a face.
        steady: the same after smoothing, as the twin was drawn with.
        outputs: the frames with the twin.
        rects: what was changed.
        stage_ms: {stage: CPU time of each frame in ms}.
    """

    frames: list[Image]
    seen: list[FaceObservation | None] = field(default_factory=list)
    steady: list[FaceObservation | None] = field(default_factory=list)
    outputs: list[Image] = field(default_factory=list)
    rects: list[Rect] = field(default_factory=list)
    stage_ms: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})

    def total_ms(self) -> npt.NDArray[np.float64]:
        """CPU time of each whole frame."""
        total: npt.NDArray[np.float64] = np.sum([self.stage_ms[stage] for stage in STAGES], axis=0)
        return total


def new_perceiver(store: ModelStore | None = None) -> FacePerceiver:
    """A perceiver as the engine makes it (hands too)."""
    store = ModelStore() if store is None else store
    return FacePerceiver(
        store.path("face_detection_short_range"),
        store.path("face_landmark"),
        store.path("iris_landmark"),
        palm_path=store.path("palm_detection_lite"),
        hand_path=store.path("hand_landmark_lite"),
    )


def read_frames(path: Path, *, seconds: float | None = None) -> tuple[list[Image], float]:
    """The frames (H, W, 3) uint8 BGR of a clip and its rate; a still picture is one frame.

    Raises:
        BenchError: it cannot be read.
    """
    if not path.is_file():
        raise BenchError(f"There is no clip {path}.")
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    if not 1.0 <= rate <= 240.0:
        rate = 25.0
    frames: list[Image] = []
    while seconds is None or len(frames) < seconds * rate:
        found, frame = capture.read()
        if not found:
            break
        frames.append(np.ascontiguousarray(frame, np.uint8))
    capture.release()
    if not frames:
        raise BenchError(f"{path} cannot be read as video. Expected a file that OpenCV or ffmpeg can open.")
    return frames, rate


def at_720p(frame: Image) -> Image:
    """The frame enlarged or shrunk to 720 lines and, if it is narrower than 1280, continued at its sides."""
    height, width = frame.shape[:2]
    scale = min(720 / height, 1280 / width)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=way)
    left, top = (1280 - sized.shape[1]) // 2, (720 - sized.shape[0]) // 2
    right, bottom = 1280 - sized.shape[1] - left, 720 - sized.shape[0] - top
    return np.asarray(cv2.copyMakeBorder(sized, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


def run_face(
    frames: Sequence[Image],
    rate_hz: float,
    model: FaceModel,
    perceiver: FacePerceiver,
    settings: FaceSettings | None = None,
    *,
    keep: Callable[[int], bool] = lambda _index: True,
) -> FaceRun:
    """Draw the twin into a copy of every frame.

    Args:
        perceiver: its stream is forgotten first.
        keep: frames for which this is False are drawn too, but their output is not kept (an empty array instead).
    """
    perceiver.reset()
    run = FaceRun(list(frames))
    times_ns = [round(i * 1e9 / rate_hz) for i in range(len(frames))]
    for frame in frames:
        with _Timed(run.stage_ms["perceive"]):
            run.seen.append(perceiver.perceive(frame))
    for i, frame in enumerate(frames):
        before_ns, after_ns = (WINDOW_NS, LOOKAHEAD_NS) if run.seen[i] is not None else (BRIDGE_NS, BRIDGE_NS)
        near = [k for k, time_ns in enumerate(times_ns) if -before_ns <= time_ns - times_ns[i] <= after_ns]
        with _Timed(run.stage_ms["smooth"]):
            steady = smooth([run.seen[k] for k in near], [times_ns[k] for k in near], near.index(i))
        output = frame.copy()
        rect: Rect = (0, 0, 0, 0)
        with _Timed(run.stage_ms["face"]):
            if steady is not None:
                rect = model.render(output, steady, settings)
        run.steady.append(steady)
        run.rects.append(rect)
        run.outputs.append(output if keep(i) else np.empty((0, 0, 3), np.uint8))
    return run


class _Timed:
    """Appends the CPU time of its block, all threads, in ms."""

    def __init__(self, into: list[float]) -> None:
        self._into = into

    def __enter__(self) -> None:
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._into.append(1000 * (time.process_time() - self._began))

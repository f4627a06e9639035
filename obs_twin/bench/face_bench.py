"""`obs-twin bench face`: clips through the face pipeline, scored, and the hard cases shown as strips of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.bench import face_metrics as landmarks
from obs_twin.bench import picture_metrics as picture
from obs_twin.bench.extra import BenchError
from obs_twin.bench.face_run import FaceRun, at_720p, read_frames, run_face
from obs_twin.bench.props import Prop
from obs_twin.bench.stress import RATE_HZ, dimmed, turning_head, with_prop
from obs_twin.face.identity import FaceEmbedder
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import FaceModel
from obs_twin.face.settings import FaceSettings

Image = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
Say = Callable[[str], None]

LOOK_EVERY = 5  # frames between those whose picture is scored
WARM_UP_FRAMES = 3  # left out of the timings: kernels are loaded there
AS_IS_FRAMES = 40
PROPS: tuple[Prop, ...] = ("cup", "hand")
NAN = float("nan")


@dataclass(frozen=True)
class Bench:
    """What is measured, and with what.

    target: (128,) embedding of the target's photo, None if there is none to compare with.
    """

    model: FaceModel
    perceiver: FacePerceiver
    embedder: FaceEmbedder
    target: F32 | None
    settings: FaceSettings | None = None


@dataclass(frozen=True)
class Strip:
    """Pictures to look at: (frame, output) cut to the face, what each is, and one of the pairs whole."""

    pairs: list[tuple[Image, Image]]
    labels: list[str]
    whole: tuple[Image, Image]


@dataclass
class FaceScores:
    """One clip: its scores by name, its curves over time, and pictures to look at."""

    clip: str
    frames: int
    scores: dict[str, float] = field(default_factory=dict)
    curves: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    """{name: (actor's, twin's)}"""
    identity: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    """Distance to the target: (twin's, actor's)."""
    strips: dict[str, Strip] = field(default_factory=dict)


def bench_clip(path: Path, bench: Bench, *, seconds: float | None = None) -> FaceScores:
    """Run and score one clip at 1280x720, and time it as it is too.

    Raises:
        BenchError: the clip cannot be read, or shows no face.
    """
    original, rate_hz = read_frames(path, seconds=seconds)
    frames = [at_720p(frame) for frame in original]
    run = run_face(frames, rate_hz, bench.model, bench.perceiver, bench.settings)
    if sum(face is not None for face in run.steady) < 5:
        raise BenchError(f"{path.name} shows no face. Use a clip of one person facing the camera.")
    result = FaceScores(path.name, len(frames))
    result.scores |= _timings(run, "")
    as_is = run_face(original[:AS_IS_FRAMES], rate_hz, bench.model, bench.perceiver, bench.settings)
    result.scores |= _timings(as_is, "as_is_")
    result.scores["no_face"] = float(np.mean([face is None for face in run.steady]))
    _score_movement(run, rate_hz, bench, result)
    _score_identity(run, bench, result)
    result.scores |= score_pictures(run)
    result.scores["still"] = stillness(run, rate_hz, bench)
    chosen = [i for i in np.linspace(0, len(frames) - 1, 6).astype(int).tolist() if run.steady[i] is not None]
    result.strips["clip"] = _strip(run, chosen, [f"{i / rate_hz:.1f} s" for i in chosen])
    return result


def _timings(run: FaceRun, prefix: str) -> dict[str, float]:
    total = run.total_ms()[WARM_UP_FRAMES:]
    scores = {f"{prefix}{stage}_ms": float(np.median(ms[WARM_UP_FRAMES:])) for stage, ms in run.stage_ms.items()}
    for stage, ms in run.stage_ms.items():
        scores[f"{prefix}{stage}_p95_ms"] = float(np.percentile(ms[WARM_UP_FRAMES:], 95))
    scores[f"{prefix}total_ms"] = float(np.median(total))
    scores[f"{prefix}total_p95_ms"] = float(np.percentile(total, 95))
    scores[f"{prefix}fps"] = 1000 / float(np.mean(total))
    return scores


def _score_movement(run: FaceRun, rate_hz: float, bench: Bench, result: FaceScores) -> None:
    twin = landmarks.perceive_all(run.outputs, bench.perceiver)
    errors = landmarks.expression_error(run.seen, twin)
    result.scores["expression"] = float(np.median(errors)) if len(errors) else NAN
    result.scores["expression_p95"] = float(np.percentile(errors, 95)) if len(errors) else NAN
    actor_curves, twin_curves = landmarks.curves(run.seen), landmarks.curves(twin)
    for name, least in landmarks.LEAST_MOVEMENT.items():
        result.scores[f"{name}_r"] = landmarks.correlation(actor_curves[name], twin_curves[name], least)
        result.scores[f"{name}_depth"] = landmarks.depth(actor_curves[name], twin_curves[name], least)
        result.curves[name] = (actor_curves[name].tolist(), twin_curves[name].tolist())
    own, drawn = landmarks.jitter(run.seen, rate_hz), landmarks.jitter(twin, rate_hz)
    result.scores["jitter_actor"], result.scores["jitter_twin"] = own, drawn
    result.scores["jitter_ratio"] = drawn / own if own > 0 else NAN


def _score_identity(run: FaceRun, bench: Bench, result: FaceScores) -> None:
    if bench.target is None:
        return
    found = landmarks.identity(run.frames, run.outputs, run.steady, bench.target, bench.embedder, every=LOOK_EVERY)
    result.scores |= {
        "twin_target": float(np.median(found.twin_target)),
        "twin_target_p97": float(np.percentile(found.twin_target, 97)),
        "twin_actor": float(np.median(found.twin_actor)),
        "actor_target": float(np.median(found.actor_target)),
        "below_0.6": found.below_threshold,
        "nearer_target": found.nearer_to_target,
        "identity_jump": float(found.twin_step.max()),
        "identity_jump_actor": float(found.actor_step.max()),
        "identity_jump_more": float(found.twin_step.max() - found.actor_step.max()),
    }
    result.identity = (found.twin_target.tolist(), found.actor_target.tolist())


def score_pictures(run: FaceRun) -> dict[str, float]:
    """Means of the picture scores over every fifth frame."""
    looked = [
        (run.frames[i], run.outputs[i], face)
        for i, face in enumerate(run.steady)
        if face is not None and i % LOOK_EVERY == 0 and run.outputs[i].size
    ]
    seams = [picture.seam(*item) for item in looked]
    details = [picture.detail(*item) for item in looked]
    scores = {
        f"seam_{part}": _mean([getattr(s, part) for s in seams]) for part in ("forehead", "sides", "jaw", "worst")
    }
    scores |= {part: _mean([getattr(d, part) for d in details]) for part in ("fine", "coarse", "noise")}
    scores["skin"] = _mean([picture.skin_difference(*item) for item in looked])
    scores["neck"] = _mean([picture.neck_difference(*item) for item in looked])
    scores["raw"] = _mean([picture.raw_share(*item) for item in looked])
    scores["flicker"] = picture.flicker(run.frames, run.outputs, run.steady)
    return scores


def stillness(run: FaceRun, rate_hz: float, bench: Bench) -> float:
    """Jitter of the twin of an actor who does not move (one frame, each time with fresh noise), over the actor's."""
    middle = next(i for i in range(len(run.frames) // 2, len(run.frames)) if run.steady[i] is not None)
    rng = np.random.default_rng(1)
    still = [
        np.clip(run.frames[middle] + rng.normal(0, 1.5, run.frames[middle].shape), 0, 255).round().astype(np.uint8)
        for _ in range(20)
    ]
    again = run_face(still, rate_hz, bench.model, bench.perceiver, bench.settings)
    twin = landmarks.perceive_all(again.outputs, bench.perceiver)
    own = landmarks.jitter(again.seen, rate_hz)
    return landmarks.jitter(twin, rate_hz) / own if own > 0 else NAN


def bench_turning(bench: Bench) -> FaceScores:
    """The generated actor who turns: how the twin does at each angle."""
    frames = turning_head()
    run = run_face(frames, RATE_HZ, bench.model, bench.perceiver, bench.settings)
    result = FaceScores("turning head", len(frames))
    half = len(frames) * 2 // 3
    for name, first, last, angles in (
        ("yaw", 0, half, (-45, -30, -15, 0, 15, 30, 45)),
        ("pitch", half, len(frames), (-25, -15, 0, 15, 25)),
    ):
        chosen = [_nearest(run.seen, first, last, name, angle) for angle in angles]
        result.strips[name] = _strip(run, chosen, [_angle(run.seen[i], name) for i in chosen])
    result.scores = score_pictures(run) | {"no_face": float(np.mean([face is None for face in run.steady]))}
    _score_movement(run, RATE_HZ, bench, result)
    _score_identity(run, bench, result)
    return result


def bench_light(path: Path, bench: Bench) -> FaceScores:
    """The clip's light falls by two stops in a second: is the skin's colour followed in each frame?"""
    frames, rate_hz = read_frames(path, seconds=3.0)
    frames = dimmed([at_720p(frame) for frame in frames], rate_hz)
    run = run_face(frames, rate_hz, bench.model, bench.perceiver, bench.settings)
    result = FaceScores(f"{path.name}, light", len(frames))
    off = [
        picture.skin_difference(frame, output, face) if face is not None else NAN
        for frame, output, face in zip(frames, run.outputs, run.steady, strict=True)
    ]
    result.scores = {"skin": float(np.nanmean(off)), "skin_worst": float(np.nanmax(off)), "skin_start": off[0]}
    result.curves["skin"] = ([0.0] * len(off), off)
    chosen = np.linspace(0, len(frames) - 1, 6).astype(int).tolist()
    result.strips["light"] = _strip(run, chosen, [f"{i / rate_hz:.1f} s" for i in chosen])
    return result


def bench_prop(path: Path, bench: Bench, prop: Prop) -> FaceScores:
    """A cup or a hand comes before the face of the clip: does it stay in front?"""
    frames, rate_hz = read_frames(path, seconds=3.0)
    frames = [at_720p(frame) for frame in frames]
    faces = landmarks.perceive_all(frames, bench.perceiver)
    held, masks = with_prop(frames, faces, prop)
    run = run_face(held, rate_hz, bench.model, bench.perceiver, bench.settings)
    kept = [
        picture.kept_in_front(frame, output, mask, face) if face is not None and drawn is not None else NAN
        for frame, output, mask, face, drawn in zip(held, run.outputs, masks, faces, run.steady, strict=True)
    ]
    result = FaceScores(f"{path.name}, {prop}", len(frames))
    result.scores = {
        "kept": float(np.nanmedian(kept)),
        "kept_worst": float(np.nanpercentile(kept, 5)),
        "no_face": float(np.mean([face is None for face in run.steady])),
    }
    chosen = np.linspace(len(frames) * 0.1, len(frames) * 0.9, 6).astype(int).tolist()
    result.strips[prop] = _strip(run, chosen, [f"{i / rate_hz:.1f} s" for i in chosen])
    return result


def target_embedding(photos: Sequence[Path], perceiver: FacePerceiver, embedder: FaceEmbedder) -> F32 | None:
    """(128,) of the first photo that shows a face; None if none does."""
    for photo in photos:
        image = cv2.imdecode(np.fromfile(photo, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            continue
        perceiver.reset()
        face = perceiver.perceive(np.asarray(image, np.uint8))
        perceiver.reset()
        if face is not None:
            return embedder.embed(np.asarray(image, np.uint8), face.landmarks)
    return None


def _strip(run: FaceRun, chosen: Sequence[int], labels: list[str]) -> Strip:
    """Frames and outputs around where the face is on average; all cut alike, so that movement is seen."""
    faces = [face for i in chosen if (face := run.steady[i]) is not None]
    height, width = run.frames[0].shape[:2]
    side, centre = min(height, width), np.array([width / 2, height / 2])
    if faces:
        side = min(side, round(2.7 * max(face.head.scale for face in faces)))
        centre = np.mean([face.landmarks[1, :2] for face in faces], axis=0)
    x, y = (int(np.clip(c - side / 2, 0, limit - side)) for c, limit in zip(centre, (width, height), strict=True))
    cut = slice(y, y + side), slice(x, x + side)
    pairs = [(run.frames[i][cut], run.outputs[i][cut]) for i in chosen]
    middle = chosen[len(chosen) // 2]
    return Strip(pairs, labels, (run.frames[middle], run.outputs[middle]))


def _nearest(seen: Sequence[FaceObservation | None], first: int, last: int, name: str, angle: float) -> int:
    """The frame between two whose measured yaw or pitch is nearest to `angle`."""
    off = {
        i: abs((face.yaw_deg if name == "yaw" else face.pitch_deg) - angle)
        for i, face in enumerate(seen)
        if face is not None and first <= i < last
    }
    if not off:
        raise BenchError("no face was found in the generated clip of a turning head")
    return min(off, key=lambda i: off[i])


def _angle(face: FaceObservation | None, name: str) -> str:
    return "" if face is None else f"{face.yaw_deg if name == 'yaw' else face.pitch_deg:+.0f} degrees"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else NAN

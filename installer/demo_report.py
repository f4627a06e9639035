"""What the demo leaves behind: report.json, before_after.png and a summary on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from installer.demo_actor import Actor, small
from obs_twin.cli.calibrate import Measured
from obs_twin.face.perceive import FacePerceiver
from obs_twin.twin.lettering import BOLD, MEDIUM, REGULAR, draw_text, text_width
from obs_twin.zoo.store import ModelStore
from tests.rig import lips, measure
from tests.rig.camera import PictureTap
from tests.rig.clip import Clip
from tests.rig.obs import Ending
from tests.rig.recorder import Recorder
from tests.rig.sound import Sound

__all__ = ["Figures", "write_report"]

U8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

RAW_DIFFERENCE = 2.5
"""Mean difference of thumbnails, in steps of 219, below which a tapped frame is one of the actor's own: coding makes
about 1, another face and room more than 5."""

PANEL_WIDTH = 720
MARGIN = 40
PAPER, INK, PALE = (250, 248, 246), (48, 38, 32), (128, 116, 106)


@dataclass(frozen=True)
class Figures:
    """What was measured while the demo ran.

    Attributes:
        twin: the name of the pack.
        delay_ms: D.
        status: the engine's, at the end of the recording.
        ending: OBS's own account.
        recorder, sound: what was recorded, and the sound of the same time.
        thumbnails: of every frame from OBS's start on.
        left: voice against picture after the calibration, by flash and beep; None if it could not be told.
    """

    twin: str
    delay_ms: int
    status: dict[str, Any]
    ending: Ending
    recorder: Recorder
    sound: Sound
    thumbnails: PictureTap
    left: Measured | None


@dataclass(frozen=True)
class _Lips:
    """The actor's and the twin's mouths, and which moment of the clip is in a recorded frame."""

    clip: Floats
    twin: Floats
    series: measure.ContentSeries


def write_report(figures: Figures, actor: Actor, out: Path) -> None:
    """Measure the recording, write the three files' rest beside `twin.mkv`, print the summary."""
    seen = _see_lips(figures, actor, out / "twin.mkv")
    report = _report(figures, actor, _step(figures, actor, seen))
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _before_after(figures, actor, seen, report, out)
    print(_summary(report, out))


# ---- measuring ------------------------------------------------------------------------------------------------------


def _frames(path: Path) -> Iterator[U8]:
    reader = cv2.VideoCapture(str(path))
    while True:
        more, picture = reader.read()
        if not more:
            break
        yield np.asarray(picture, np.uint8)
    reader.release()


def _see_lips(figures: Figures, actor: Actor, recording: Path) -> _Lips | None:
    """None for a camera: there is nothing to compare with."""
    if actor.clip is None:
        return None
    store = ModelStore()
    paths = [store.path(name) for name in ("face_detection_short_range", "face_landmark", "iris_landmark")]

    def openings(pictures: Iterator[U8]) -> Floats:
        perceiver = FacePerceiver(*paths)

        def landmarks(picture: U8) -> npt.NDArray[np.float32] | None:
            seen = perceiver.perceive(picture)
            return None if seen is None else seen.landmarks

        return lips.mouth_openings(pictures, landmarks)

    clip, twin = openings(actor.pictures()), openings(_frames(recording))
    fps = figures.recorder.fps
    times_ns = [figures.recorder.start_ns + number * 10**9 // fps for number in range(len(twin))]
    if len(clip) < fps or len(twin) < fps:
        return None
    return _Lips(clip, twin, lips.lip_series(times_ns, twin, clip, actor.clip.fps))


def _left(left: Measured | None) -> dict[str, float | int] | None:
    """How far the voice is ahead of the picture at the meeting's end, by flash and beep."""
    if left is None:
        return None
    return {
        "median": round(-left.median_ms, 1),
        "p95_abs": round(left.p95_abs_ms, 1),
        "flashes": len(left.later_ms),
    }


def _step(figures: Figures, actor: Actor, seen: _Lips | None) -> dict[str, float | int] | None:
    """How far the voice is ahead of the lips at the meeting's end; None where that cannot be told."""
    if seen is None or actor.clip is None:
        return None
    voice = measure.voice_series(figures.sound, actor.clip)
    if not len(voice) or not len(seen.series):
        return None
    step = measure.step(seen.series, voice)
    return {
        "median": round(step.median_ms, 1),
        "p95_abs": round(step.p95_abs_ms, 1),
        "lip_windows": step.frames,
        "voice_windows": step.voice_windows,
    }


def _raw_frames(figures: Figures, actor: Actor) -> int | None:
    """How many of all tapped frames were the actor's own picture; None for a camera."""
    originals = [
        small(np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) * (219 / 255) + 16, np.uint8))
        for picture in actor.pictures()
    ]
    if not originals:
        return None
    known = np.stack(originals).reshape(len(originals), -1).astype(np.int16)
    tapped = (np.asarray(thumbnail, np.int16).reshape(-1) for thumbnail in figures.thumbnails.seen)
    return sum(float(np.abs(known - each).mean(axis=1).min()) < RAW_DIFFERENCE for each in tapped)


def _report(figures: Figures, actor: Actor, step: dict[str, float | int] | None) -> dict[str, Any]:
    streams = list(figures.status.get("streams", {}).values())
    video: dict[str, Any] = next((stream for stream in streams if stream["kind"] == "video"), {})
    voice: dict[str, Any] = next((stream for stream in streams if stream["kind"] == "sound"), {})
    host = figures.status.get("host", {})
    profile = figures.ending.profile
    ticks, graphics = profile.get("tick_sources"), profile.get("obs_graphics_thread")
    frames = len(figures.recorder.times_ns)
    seconds = (figures.recorder.end_ns - figures.recorder.start_ns) / 1e9
    return {
        "twin": figures.twin,
        "consent": video.get("face", {}).get("consent", ""),
        "actor": actor.device or (actor.clip.path.name if actor.clip else ""),
        "delay_ms": host.get("delay_ms", figures.delay_ms),
        "shift_ms": host.get("shift_ms"),
        "av_offset_ms": _left(figures.left),
        "lips_ms": step,
        "video": {
            "size": video.get("size"),
            "fps_out": video.get("fps"),
            "camera_fps": round(frames / seconds, 2) if seconds > 0 else 0.0,
            "frames": frames,
            "frames_tapped": len(figures.thumbnails.seen),
            "raw_frames_leaked": _raw_frames(figures, actor),
            "stage_ms": video.get("stage_ms", {}),
            "counts": video.get("counts", {}),
        },
        "face": {"provider": video.get("face", {}).get("provider", "")},
        "background": {"provider": video.get("background", {}).get("provider", "")},
        "voice": {
            "rtf": voice.get("rtf"),
            "provider": voice.get("voice", {}).get("provider", ""),
            "lookahead_ms": voice.get("lookahead_ms"),
            "counts": voice.get("counts", {}),
        },
        "host": {"counts": host.get("counts", {}), "errors": host.get("errors", {})},
        "engine": {"restarts": host.get("restarts")},
        "obs": {
            "lagged_frames": figures.ending.lagged_frames,
            "rendered_frames": figures.ending.rendered_frames,
            "tick_sources_ms_median": ticks.median_ms if ticks else None,
            "tick_sources_ms_p99": ticks.p99_ms if ticks else None,
            "graphics_thread_ms_p99": graphics.p99_ms if graphics else None,
            "exit_status": figures.ending.exit_status,
            "memory_leaks": figures.ending.memory_leaks,
        },
    }


# ---- the picture ----------------------------------------------------------------------------------------------------


def _before_after(figures: Figures, actor: Actor, seen: _Lips | None, report: dict[str, Any], out: Path) -> None:
    """The actor and the twin at the same moment, side by side."""
    number = _telling_frame(len(figures.recorder.times_ns), seen)
    after = _nth(_frames(out / "twin.mkv"), number)
    before = actor.before
    if actor.clip is not None:
        arrival_s = (figures.recorder.start_ns + number * 10**9 // figures.recorder.fps) / 1e9
        content_s = (_phase_s(figures, actor.clip, seen) + arrival_s) % actor.clip.seconds
        before = _nth(actor.pictures(), round(content_s * actor.clip.fps) % actor.clip.frames)
    if before is None or after is None:
        return
    twin = f"{report['twin']}, {report['consent'] or 'no consent record'}"
    panels = [
        (before, "Before", "The actor at the camera"),
        (after, "After", f"What the meeting sees and hears, {report['delay_ms'] / 1000:g} s later"),
    ]
    cv2.imwrite(str(out / "before_after.png"), _spread(panels, f"Twin: {twin}"))


def _phase_s(figures: Figures, clip: Clip, seen: _Lips | None) -> float:
    """Which moment of the clip the meeting gets, by the lips, else by the voice that goes with them."""
    if seen is not None and len(seen.series):
        return seen.series.median_phase_s()
    voice = measure.voice_series(figures.sound, clip)
    return voice.median_phase_s() if len(voice) else 0.0


def _telling_frame(frames: int, seen: _Lips | None) -> int:
    """A frame of the middle half with the mouth well open, as in speech."""
    middle = np.arange(frames // 4, max(frames // 4 + 1, 3 * frames // 4))
    if seen is None or np.all(np.isnan(seen.twin[middle])):
        return int(middle[len(middle) // 2])
    openings = seen.twin[middle]
    return int(middle[np.nanargmin(np.abs(openings - np.nanpercentile(openings, 80)))])


def _nth(pictures: Iterator[U8], number: int) -> U8 | None:
    return next((picture for count, picture in enumerate(pictures) if count == number), None)


def _spread(panels: list[tuple[U8, str, str]], footer: str) -> U8:
    """Panels side by side on paper, each with a heading and a caption below, (H, W, 3) uint8 BGR."""
    pictures = [_fitted(picture) for picture, _, _ in panels]
    height = max(picture.shape[0] for picture in pictures)
    caption_height, footer_height = 84, 44
    sheet = np.full(
        (
            MARGIN + height + caption_height + footer_height + MARGIN // 2,
            MARGIN + len(panels) * (PANEL_WIDTH + MARGIN),
            3,
        ),
        PAPER,
        np.uint8,
    )
    for column, (picture, (_, heading, caption)) in enumerate(zip(pictures, panels, strict=True)):
        left = MARGIN + column * (PANEL_WIDTH + MARGIN)
        sheet[MARGIN : MARGIN + picture.shape[0], left : left + PANEL_WIDTH] = picture
        baseline = MARGIN + height + 46
        draw_text(sheet, heading, left, baseline, 30, BOLD, INK)
        draw_text(sheet, caption, left, baseline + 30, 21, REGULAR, PALE)
    size = 19
    while text_width(footer, size, MEDIUM) > sheet.shape[1] - 2 * MARGIN and size > 10:
        size -= 1
    draw_text(sheet, footer, MARGIN, sheet.shape[0] - MARGIN // 2 - 6, size, MEDIUM, PALE)
    return sheet


def _fitted(picture: U8) -> U8:
    """Scaled to the panel's width."""
    height = round(picture.shape[0] * PANEL_WIDTH / picture.shape[1])
    shrinks = picture.shape[1] > PANEL_WIDTH
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (PANEL_WIDTH, height), interpolation=interpolation), np.uint8)


# ---- the summary ----------------------------------------------------------------------------------------------------


def _summary(report: dict[str, Any], out: Path) -> str:
    video, voice, obs, step = report["video"], report["voice"], report["obs"], report["av_offset_ms"]
    total = video["stage_ms"].get("finish_total", {})
    leaked = video["raw_frames_leaked"]
    in_step = (
        f"voice {abs(step['median']):.0f} ms {'before' if step['median'] > 0 else 'after'} the picture (95 % within "
        f"{step['p95_abs']:.0f} ms)"
        if step
        else "not measured: the machine was too busy"
    )
    lines = [
        ("Twin", f"{report['twin']} ({report['consent']})"),
        ("Delay", f"{report['delay_ms']} ms"),
        ("Lips and voice", in_step),
        ("Picture", f"{video['size']}, {video['fps_out']} frames/s, {total.get('p50', 0):.0f} ms a frame (finishing)"),
        ("", f"runs on: {report['face']['provider']}"),
        ("Voice", f"{100 * (voice['rtf'] or 0):.0f} % of one core, runs on: {voice['provider']}"),
        (
            "Actor's own face",
            "not checked (camera)" if leaked is None else f"in {leaked} of {video['frames_tapped']} frames",
        ),
        (
            "OBS",
            f"{obs['lagged_frames']} of {obs['rendered_frames']} frames late; filters' share (tick_sources) "
            f"{obs['tick_sources_ms_median']} ms, 99 % within {obs['tick_sources_ms_p99']} ms",
        ),
        ("", f"closed with status {obs['exit_status']}, memory leaks: {obs['memory_leaks']}"),
        ("Engine", f"restarted {report['engine']['restarts']} times"),
    ]
    rows = [f"  {name:<17} {text}" for name, text in lines]
    files = [f"  {out / name}" for name in ("twin.mkv", "before_after.png", "report.json") if (out / name).exists()]
    return "\n".join(["", "OBS Twin demo", *rows, "", *files])

"""Who sits in front of the demo's camera: a generated actor, a video file, or a person at a real camera."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from installer.progress import Step
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.twin.synthetic.clip import content_key, make_actor_clip
from tests.rig.camera import TappedFrame
from tests.rig.clip import Clip
from tests.rig.scene import Filter, Source, camera, media, microphone
from tests.rig.sound import SAMPLE_RATE_HZ

__all__ = ["Actor", "DemoError", "find_camera", "prepare_actor"]

U8 = npt.NDArray[np.uint8]

THUMBNAIL = (32, 18)
GENERATED_S = 12.0
LONGEST_FILE_S = 120.0


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Actor:
    """Either a clip that OBS loops (`clip`), or a camera's device (`device`) with the default microphone."""

    clip: Clip | None = None
    device: str = ""
    before: U8 | None = None
    """One picture of the person at the camera, taken before OBS has it."""

    def sources(self, picture_filters: tuple[Filter, ...], voice_filter: Filter) -> tuple[Source, ...]:
        """The scene's sources, with the filters where they belong."""
        if self.clip is not None:
            return (media("Actor", self.clip.path, (*picture_filters, voice_filter)),)
        return (camera("Actor", self.device, picture_filters), microphone("Voice", filters=(voice_filter,)))

    def pictures(self) -> Iterator[U8]:
        """Every frame of the clip, (H, W, 3) uint8 BGR; none for a camera."""
        if self.clip is None:
            return
        reader = cv2.VideoCapture(str(self.clip.path))
        while True:
            more, picture = reader.read()
            if not more:
                break
            yield np.asarray(picture, np.uint8)
        reader.release()

    @staticmethod
    def thumbnail(frame: TappedFrame) -> U8:
        """(18, 32) uint8 luma, 16..235: enough to tell whether a tapped frame is one of the clip's own."""
        return small(frame.luma)


def small(luma: U8) -> U8:
    """A picture's luma, made very small by averaging."""
    return np.asarray(cv2.resize(np.ascontiguousarray(luma), THUMBNAIL, interpolation=cv2.INTER_AREA), np.uint8)


def find_camera() -> str:
    """The device of the first camera of this machine, empty if there is none."""
    for path in sorted(Path("/sys/class/video4linux").glob("video*")):
        # A camera has several nodes; the first carries the picture, the others data about it.
        index = path / "index"
        if index.is_file() and index.read_text().strip() == "0" and "loopback" not in _name(path):
            return f"/dev/{path.name}"
    return ""


def _name(path: Path) -> str:
    name = path / "name"
    return name.read_text().lower() if name.is_file() else ""


def prepare_actor(choice: str, size: tuple[int, int], fps: int, seconds: float, step: Step) -> Actor:
    """Brings the chosen actor into a form that OBS can play.

    Args:
        choice: "camera", "generated", or the path of a video file.
        size: width and height of the canvas in pixels.
        fps: of the canvas.
        seconds: how long the recording will be.

    Raises:
        DemoError: no camera, no such file, not a video.
    """
    if choice == "camera":
        device = find_camera()
        if not device:
            raise DemoError("No camera was found. Plug one in, or run the demo with --actor generated.")
        step.outcome = device
        return Actor(device=device, before=_grab(device, size))
    if choice == "generated":
        return Actor(_generated(size, fps, step))
    return Actor(_from_file(Path(choice).expanduser(), size, fps, step))


def _grab(device: str, size: tuple[int, int]) -> U8 | None:
    """One picture from a camera, scaled and cut to the canvas; None when it gives none."""
    width, height = size
    fit = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height}"
    # The first pictures of a camera are dark: it is still finding its exposure.
    command = ["ffmpeg", "-loglevel", "error", "-f", "v4l2", "-i", device, "-vf", f"select='gte(n,20)',{fit}"]
    done = subprocess.run(
        [*command, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"], capture_output=True, timeout=30
    )
    if len(done.stdout) != 3 * width * height:
        return None
    return np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)


def _generated(size: tuple[int, int], fps: int, step: Step) -> Clip:
    """The generated actor with generated speech, rendered once and kept in the cache."""
    path = ensure(user_dirs().cache / "demo") / f"actor-{content_key(GENERATED_S, size, fps)}.mov"
    if path.exists():
        step.outcome = "already rendered"
    else:
        step.show("rendering (a minute or two, once)")
        partial = path.with_suffix(".part.mov")
        make_actor_clip(partial, GENERATED_S, size, fps)
        partial.replace(path)
    return _described(path, size, fps)


def _from_file(source: Path, size: tuple[int, int], fps: int, step: Step) -> Clip:
    """The file, scaled and cut to the canvas, at its frame rate, with picture and sound of the same length."""
    if not source.is_file():
        raise DemoError(f"There is no file {source}. Give --actor a video file, 'camera' or 'generated'.")
    width, height = size
    seconds, has_sound = _probe(source)
    frames = int(min(seconds, LONGEST_FILE_S) * fps)
    if frames < 2 * fps:
        raise DemoError(f"{source} is too short: expected at least two seconds of video, found {seconds:.1f} s.")
    stat = source.stat()
    key = f"{source.resolve()} {stat.st_size} {stat.st_mtime_ns} {size} {fps}"
    path = ensure(user_dirs().cache / "demo") / f"file-{hashlib.sha256(key.encode()).hexdigest()[:16]}.mov"
    if not path.exists():
        step.show("fitting the file to the canvas")
        fit = f"scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},fps={fps}"
        silence = ["-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE_HZ}:cl=mono"]
        samples = frames * SAMPLE_RATE_HZ // fps
        partial = path.with_suffix(".part.mov")
        command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(source), *([] if has_sound else silence)]
        command += ["-map", "0:v:0", "-map", "0:a:0" if has_sound else "1:a:0"]
        command += ["-vf", f"{fit},tpad=stop=-1:stop_mode=clone,format=yuv420p", "-frames:v", str(frames)]
        command += ["-af", f"aresample={SAMPLE_RATE_HZ}:async=1:first_pts=0,apad,atrim=end_sample={samples}"]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-g", str(fps), "-ac", "1"]
        done = subprocess.run([*command, "-c:a", "pcm_s16le", str(partial)], capture_output=True)
        if done.returncode:
            raise DemoError(f"{source} could not be read: {done.stderr.decode(errors='replace').strip()}")
        partial.replace(path)
    step.outcome = f"{source.name}, {frames / fps:.1f} s"
    return _described(path, size, fps)


def _probe(path: Path) -> tuple[float, bool]:
    """Duration in seconds and whether there is sound. Raises DemoError when it is no video."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_type", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True)
    try:
        found = json.loads(done.stdout)
        kinds = {stream["codec_type"] for stream in found["streams"]}
        seconds = float(found["format"]["duration"])
    except (ValueError, KeyError) as error:
        raise DemoError(f"{path} is not a video that ffmpeg can read.") from error
    if "video" not in kinds:
        raise DemoError(f"{path} has no picture.")
    return seconds, "audio" in kinds


def _described(path: Path, size: tuple[int, int], fps: int) -> Clip:
    """The clip with its speech."""
    wav = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", str(path), "-ac", "1", "-ar", str(SAMPLE_RATE_HZ), "-f", "s16le", "-"],
        capture_output=True,
    )
    samples = np.frombuffer(wav.stdout, "<i2").astype(np.float32) / np.float32(32768)
    frames = round(len(samples) * fps / SAMPLE_RATE_HZ)
    return Clip(path, size, fps, frames, samples)

"""The talking actor as a video file with sound."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.zoo.store import ModelStore

from . import speech
from .animation import perform
from .base_mesh import MODEL_NAME, BaseMeshFile
from .cache import cache_folder, cached, store
from .cache import content_key as content_key  # the demo names its own copy with it
from .head import Pose
from .light import Light, Rig
from .people import BRUNO, Person
from .render import Camera, PersonRenderer, composite, develop
from .room import FOCAL, HORIZON, room_linear
from .stamp import stamp

FloatArray = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

SOUND_RATE_HZ = 48_000
LONGEST_TAKE_S = 20.0
"""A longer clip repeats a take of at most this length."""
SUPERSAMPLING = 2

OFFICE_LIGHT = Rig(
    lights=(
        Light((-0.55, 0.55, 0.75), (1.30, 1.29, 1.27), 0.16, 0.30),
        Light((0.85, 0.20, 0.55), (0.42, 0.45, 0.50)),
        Light((0.55, 0.65, -0.65), (0.85, 0.90, 0.98)),
        Light((-0.85, 0.35, -0.45), (0.55, 0.57, 0.60)),
    ),
    sky=(0.36, 0.38, 0.41),
    ground=(0.17, 0.155, 0.14),
)

SCRIPT = (
    "Hello, and welcome. It is good to have you here.",
    "Today I would like to show you how a picture and a voice can travel together.",
    "Watch my lips while I speak, and listen closely.",
    "What you see and what you hear should arrive at the very same moment.",
    "I may look to one side, and then back at the camera.",
    "My face is drawn by a program, and my voice is made by another.",
    "Nobody was filmed, and nobody was recorded.",
    "Thank you for watching. Let us begin again.",
)


class ClipError(RuntimeError):
    """The clip could not be made; the message says why and what to do."""


@dataclass(frozen=True)
class Take:
    """What is said and done in one loop: ``sound`` (N,) float32 at 48 kHz, exactly as long as the ``poses``."""

    sound: FloatArray
    poses: list[Pose]


def camera_for(size: tuple[int, int]) -> Camera:
    """The camera of clips and rooms at ``size`` (width, height)."""
    width, height = size
    return Camera(width, height, FOCAL * height, centre_y=HORIZON)


def take(seconds: float, fps: int, person: Person = BRUNO) -> Take:
    """Words, sound and movement of a clip of ``seconds``: as many sentences as fit, with pauses between them."""
    frames = round(seconds * fps)
    length = frames / fps
    sound = np.zeros(frames * SOUND_RATE_HZ // fps, np.float32)
    phones: list[tuple[str, float, float]] = []
    at = 0.25
    settings = speech.ACTOR_SPEAKER
    for sentence in SCRIPT * 4:
        said = speech.speak(sentence, pitch_ratio=settings.pitch_ratio, formant_ratio=settings.formant_ratio)
        if at + said.duration_s > length - 0.15:
            break
        voice = soxr.resample(said.samples, said.sample_rate_hz, SOUND_RATE_HZ).astype(np.float32)
        start = int(at * SOUND_RATE_HZ)
        voice = voice[: len(sound) - start]
        sound[start : start + len(voice)] += voice
        phones += [(p.phone, p.start_s + at, p.end_s + at) for p in said.phones]
        at += said.duration_s + 0.15
    poses = perform(phones, sound, SOUND_RATE_HZ, length, fps, person.seed)
    return Take(sound, poses)


def pictures(poses: list[Pose], size: tuple[int, int], person: Person = BRUNO, workers: int = 2) -> Iterator[Picture]:
    """Draw each pose in front of the office: (H, W, 3) uint8 BGR, in order."""
    source = BaseMeshFile(ModelStore().path(MODEL_NAME))
    renderer = PersonRenderer(person, source, level=1)
    camera = camera_for(size)
    background = room_linear("office", size[0], size[1])

    def draw(job: tuple[int, Pose]) -> Picture:
        number, pose = job
        drawing = renderer.draw(pose, camera, OFFICE_LIGHT, detail=0.7, factor=SUPERSAMPLING)
        return develop(composite(drawing, background), grain=2.2, seed=number)

    with ThreadPoolExecutor(workers) as pool:
        # A window of jobs at a time: the whole clip would not fit in memory.
        jobs = list(enumerate(poses))
        for start in range(0, len(jobs), 4 * workers):
            yield from pool.map(draw, jobs[start : start + 4 * workers])


def make_actor_clip(
    path: Path, seconds: float = 10.0, size: tuple[int, int] = (1280, 720), fps: int = 30, stamp_counter: bool = False
) -> Path:
    """Make a video of the generated actor talking, with sound, that loops without a jump.

    Parameters
    ----------
    path : the file to write; ``.mkv`` and ``.mov`` get PCM sound, ``.mp4`` AAC
    seconds : length; picture and sound are exactly as long as each other
    size : width and height, even numbers
    fps : frames a second; must divide 48000
    stamp_counter : draw the frame's number into the picture (`stamp`)

    Returns
    -------
    ``path``. The first call for a length and size renders (about a minute for 10 s at 1280x720); later ones use
    the cache.

    Raises
    ------
    ClipError
        when ffmpeg is missing or fails.
    ValueError
        for a size, rate or length that cannot be.
    """
    if size[0] % 2 or size[1] % 2 or min(size) < 120:
        raise ValueError(f"the clip's size must be even and at least 120, found {size[0]}x{size[1]}")
    if fps < 1 or SOUND_RATE_HZ % fps:
        raise ValueError(f"the clip's frame rate must divide {SOUND_RATE_HZ}, found {fps}")
    frames = round(seconds * fps)
    if frames < fps:
        raise ValueError(f"the clip must last at least one second, found {seconds}")
    if path.suffix not in (".mkv", ".mov", ".mp4"):
        raise ValueError(f"the clip's name must end in .mkv, .mov or .mp4, found {path.name}")
    take_frames = frames if seconds <= LONGEST_TAKE_S else round(LONGEST_TAKE_S * fps)
    master, sound = _master(take_frames, size, fps)
    repeats = -(-frames // take_frames)
    sound = np.tile(sound, repeats)[: frames * SOUND_RATE_HZ // fps]
    path.parent.mkdir(parents=True, exist_ok=True)

    def stream() -> Iterator[Picture]:
        written = 0
        while written < frames:
            for picture in _read(master):
                if written == frames:
                    return
                if stamp_counter:
                    stamp(picture, written % (1 << 16))
                yield picture
                written += 1

    _encode(path, stream(), size, fps, sound, crf=17)
    return path


def _master(frames: int, size: tuple[int, int], fps: int) -> tuple[Path, FloatArray]:
    """The take without a stamp: picture file and sound, from the cache or rendered now."""
    label = f"actor-{frames}x{fps}-{size[0]}x{size[1]}"
    picture_file, sound_file = cached(label, ".mkv"), cached(label, ".npy")
    if picture_file.exists() and sound_file.exists():
        return picture_file, np.load(sound_file)
    performance = take(frames / fps, fps)
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
        rendered = Path(scratch) / "take.mkv"
        _encode(rendered, pictures(performance.poses, size), size, fps, performance.sound, crf=10)
        np.save(Path(scratch) / "sound.npy", performance.sound)
        store(Path(scratch) / "sound.npy", label, ".npy")
        store(rendered, label, ".mkv")
    return picture_file, performance.sound


def _read(path: Path) -> Iterator[Picture]:
    capture = cv2.VideoCapture(str(path))
    try:
        while True:
            ok, picture = capture.read()
            if not ok:
                return
            yield np.ascontiguousarray(picture, np.uint8)
    finally:
        capture.release()


def _encode(
    path: Path, stream: Iterator[Picture], size: tuple[int, int], fps: int, sound: FloatArray, crf: int
) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise ClipError(
            "The generated actor needs the program ffmpeg, which was not found. Install it (on Debian and Ubuntu: "
            "apt-get install ffmpeg)."
        )
    with tempfile.TemporaryDirectory() as scratch:
        sound_file = Path(scratch) / "sound.wav"
        with wave.open(str(sound_file), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SOUND_RATE_HZ)
            out.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
        codec = ["-c:a", "aac", "-b:a", "160k"] if path.suffix == ".mp4" else ["-c:a", "pcm_s16le"]
        command = [
            program, "-hide_banner", "-loglevel", "error", "-y",
            "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-",
            "-i", str(sound_file),
            "-vf", "scale=out_color_matrix=bt709:out_range=tv",
            "-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), "-pix_fmt", "yuv420p",
            "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv",
            "-g", str(fps), *codec, str(path),
        ]  # fmt: skip
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors)
            assert process.stdin is not None
            try:
                for picture in stream:
                    process.stdin.write(picture.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass  # ffmpeg has said why
            except BaseException:
                process.kill()
                process.wait()
                raise
            if process.wait() != 0:
                errors.seek(0)
                said = errors.read().decode("utf-8", "replace").strip()
                raise ClipError(f"ffmpeg could not write {path.name}: {said or 'no reason given'}")

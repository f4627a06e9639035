"""Clips to play in OBS whose every picture and syllable has a known time.

The picture carries the frame counter of `obs_twin.twin.synthetic.stamp`; content time is counter / fps. The sound is
exactly as long as the picture, or each turn of OBS's loop would shift one against the other.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from obs_twin.twin.synthetic import stamp

from .process import RigError, need_program
from .sound import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Clip:
    """A clip on disk and what it holds: `speech` is (N,) float32 at 48 kHz, N = seconds * 48000 exactly."""

    path: Path
    size: tuple[int, int]
    fps: int
    frames: int
    speech: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def make_counter_clip(
    path: Path, seconds: float = 16.0, size: tuple[int, int] = (640, 360), fps: int = 30, rate_drops: bool = False
) -> Clip:
    """A plain moving picture with babble. `rate_drops`: from its middle on it has half as many frames a second."""
    frames = round(seconds * fps)
    return write_clip(path, moving_picture(frames, size), babble(frames / fps), size, fps, frames, rate_drops)


def write_clip(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    speech: NDArray[np.float32],
    size: tuple[int, int],
    fps: int,
    frames: int,
    rate_drops: bool = False,
) -> Clip:
    """Stamps and encodes `frames` pictures ((H, W, 3) uint8 BGR) with their speech ((N,) float32, 48 kHz) into a .mov.

    The speech is cut, or padded with silence, to the picture's length. The sound is PCM: no coder's delay. With
    `rate_drops` every other frame of the second half is left out, and the others keep their times and counters.
    Raises `RigError` when the pictures are fewer than `frames`.
    """
    need_program("ffmpeg", "ffmpeg")
    samples = frames * SAMPLE_RATE_HZ // fps
    if samples * fps != frames * SAMPLE_RATE_HZ:
        raise RigError(f"{frames} frames at {fps} fps do not end on a sample of {SAMPLE_RATE_HZ} Hz")
    exact = np.zeros(samples, np.float32)
    exact[: min(samples, len(speech))] = speech[:samples]
    sound_path = path.with_suffix(".wav")
    _write_wav(sound_path, exact)
    width, height = size
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24"]
    command += ["-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-i", str(sound_path)]
    drop = f"select='lt(n,{frames // 2})+not(mod(n,2))'," if rate_drops else ""
    colours = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams=color_primaries=bt709"
    command += ["-vf", f"{drop}{colours}:color_trc=bt709:colorspace=bt709", "-fps_mode", "vfr"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "fastdecode", "-crf", "16", "-g", str(fps)]
    command += ["-threads", "1", "-c:a", "pcm_s16le", str(path)]
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert encoder.stdin
    written = 0
    try:
        for counter, picture in zip(range(frames), pictures, strict=False):
            stamped = picture.copy()
            stamp.stamp(stamped, counter)
            encoder.stdin.write(stamped.tobytes())
            written += 1
    except BrokenPipeError:
        pass  # ffmpeg has said why
    _, complaint = encoder.communicate()
    sound_path.unlink()
    if encoder.returncode:
        raise RigError(f"ffmpeg could not write {path}: {complaint.decode(errors='replace')}")
    if written < frames:
        raise RigError(f"expected {frames} pictures for {path}, found {written}")
    return Clip(path, size, fps, frames, exact)


def moving_picture(frames: int, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """A grey gradient with a disc that goes round once in four seconds of 30 fps."""
    width, height = size
    ramp = np.linspace(70, 160, width, dtype=np.float32)[None, :, None]
    background = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8)
    for number in range(frames):
        picture = background.copy()
        angle = 2 * np.pi * number / 120
        centre = (round(width * (0.5 + 0.25 * np.cos(angle))), round(height * (0.5 + 0.25 * np.sin(angle))))
        cv2.circle(picture, centre, height // 8, (40, 180, 240), -1, cv2.LINE_AA)
        yield picture


VOWEL_FORMANTS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""ah, ee, oo, eh, aw of Peterson and Barney's men (1952)."""


def babble(seconds: float, seed: int = 1) -> NDArray[np.float32]:
    """Syllables of a made-up male voice, (seconds * 48000,) float32: the rhythm never repeats within the clip.

    Harmonics of a gliding pitch under three formants, a burst of noise before every other syllable, and pauses between
    phrases: a voice converter takes it for speech, and its envelope has one sharp correlation peak.
    """
    random = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE_HZ)
    sound = np.zeros(samples, np.float32)
    position = int(0.1 * SAMPLE_RATE_HZ)
    left_in_phrase = 4
    while True:
        length = int(random.uniform(0.11, 0.26) * SAMPLE_RATE_HZ)
        if position + length >= samples:
            break
        syllable = _syllable(length, random) * random.uniform(0.5, 1.0)
        sound[position : position + length] += syllable.astype(np.float32)
        position += length + int(random.uniform(0.02, 0.12) * SAMPLE_RATE_HZ)
        left_in_phrase -= 1
        if left_in_phrase == 0:
            left_in_phrase = int(random.integers(3, 8))
            position += int(random.uniform(0.25, 0.6) * SAMPLE_RATE_HZ)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def _syllable(length: int, random: np.random.Generator) -> NDArray[np.float64]:
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    pitch_hz = random.uniform(95, 140) * (1 + random.uniform(-0.15, 0.15) * time_s / time_s[-1])
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    formants_hz = VOWEL_FORMANTS_HZ[random.integers(len(VOWEL_FORMANTS_HZ))]
    voiced = np.zeros(length)
    for harmonic in range(1, 32):
        frequency_hz = harmonic * pitch_hz.mean()
        gain = sum(1 / (1 + ((frequency_hz - formant) / 90) ** 2) for formant in formants_hz)
        voiced += (gain + 0.02) / harmonic**0.6 * np.sin(harmonic * phase)
    attack = np.minimum(time_s / 0.015, 1)
    decay = np.minimum((time_s[-1] - time_s) / 0.06, 1)
    voiced *= attack * decay / np.abs(voiced).max()
    if random.random() < 0.5:
        burst = min(length, int(0.025 * SAMPLE_RATE_HZ))
        voiced[:burst] += 0.3 * random.standard_normal(burst) * np.hanning(burst)
    return voiced


def _write_wav(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())

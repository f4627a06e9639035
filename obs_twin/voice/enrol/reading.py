"""Reading recordings: whatever libsndfile knows, and through a converter on the machine the rest (m4a, video)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.neural_grid import MAKE_RATE_HZ

PLAIN = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64")
CONVERTED = (".m4a", ".aac", ".mp4", ".m4b", ".mov", ".mkv", ".webm", ".wma", ".amr", ".3gp")
LONGEST_S = 4 * 3600.0
ONE_SIDED = 10 ** (-20 / 20)
"""A channel so much quieter than the loudest holds nothing of interest."""
CONVERT_TIMEOUT_S = 600


@dataclass(frozen=True)
class Recording:
    """A recording as it was found: mono samples at 24 kHz, at the level that it had.

    rate_hz: its own sample rate.
    clipped: (N,) bool, samples that lie on a flat top, at 24 kHz as well.
    """

    path: Path
    samples: F32
    rate_hz: int
    clipped: np.ndarray[tuple[int], np.dtype[np.bool_]]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / MAKE_RATE_HZ


def find_recordings(places: Sequence[Path]) -> list[Path]:
    """The recordings that were named, those in named folders (and below) by name.

    Raises:
        VoiceModelError: a place does not exist, or a folder has none.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(
                path
                for path in place.rglob("*")
                if path.suffix.lower() in PLAIN + CONVERTED and not path.name.startswith(".") and path.is_file()
            )
            if not inside:
                raise VoiceModelError(
                    f"The folder {place} has no recording in it. Expected files such as {', '.join(PLAIN[:4])} or .m4a."
                )
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise VoiceModelError(f"There is no file or folder {place}.")
    return list(dict.fromkeys(found))


def read_recording(path: Path) -> Recording:
    """Read one file.

    Raises:
        VoiceModelError: it is no recording, damaged, or of a kind that nothing on this machine can read.
    """
    try:
        samples, rate_hz = _read(path)
    except (soundfile.LibsndfileError, OSError) as error:
        if path.suffix.lower() not in PLAIN:
            return _converted(path)
        raise VoiceModelError(f"The recording {path} cannot be read: {error}") from error
    return _recording(path, samples, rate_hz)


def _read(path: Path) -> tuple[F32, int]:
    """(N, channels) and the rate."""
    with soundfile.SoundFile(str(path)) as file:
        longest = int(LONGEST_S * file.samplerate)
        return np.asarray(file.read(longest, dtype="float32", always_2d=True)), int(file.samplerate)


def _recording(path: Path, samples: F32, rate_hz: int) -> Recording:
    if not 8000 <= rate_hz <= 384_000:
        raise VoiceModelError(f"The recording {path} has {rate_hz} samples a second; 8000 to 384000 were expected.")
    samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
    loudness = np.sqrt(np.mean(np.square(samples, dtype=np.float64), axis=0)) if len(samples) else np.zeros(1)
    kept = samples[:, loudness >= loudness.max() * ONE_SIDED]
    mono = np.asarray(kept.mean(axis=1), np.float32)
    flat = _flat_tops(kept)
    at = np.minimum(np.arange(int(len(mono) * MAKE_RATE_HZ / rate_hz)) * rate_hz // MAKE_RATE_HZ, max(0, len(mono) - 1))
    wide = np.convolve(flat, np.ones(1 + 2 * (rate_hz // MAKE_RATE_HZ)), "same") > 0 if flat.any() else flat
    if rate_hz != MAKE_RATE_HZ:
        mono = soxr.resample(mono, rate_hz, MAKE_RATE_HZ)
    size = min(len(mono), len(at))
    return Recording(path, mono[:size], rate_hz, wide[at[:size]] if size else np.zeros(0, np.bool_))


def _flat_tops(samples: F32) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where three samples or more in a row stay at the recording's own ceiling, in any channel."""
    clipped = np.zeros(len(samples), np.bool_)
    for channel in np.abs(samples.T):
        ceiling = float(channel.max()) if len(channel) else 0.0
        high = channel >= max(0.999 * ceiling, 0.2)
        runs = high[:-2] & high[1:-1] & high[2:] if len(high) > 2 else np.zeros(0, np.bool_)
        for shift in range(3):
            clipped[shift : shift + len(runs)] |= runs
    return clipped


def _converted(path: Path) -> Recording:
    """Let ffmpeg, or macOS's afconvert, turn it into a wav file first."""
    with tempfile.TemporaryDirectory(prefix="obs-twin-") as folder:
        wav = Path(folder) / "sound.wav"
        if program := shutil.which("ffmpeg"):
            command = [program, "-nostdin", "-v", "error", "-i", str(path), "-vn", "-t", str(LONGEST_S), str(wav)]
        elif program := shutil.which("afconvert"):
            command = [program, "-f", "WAVE", "-d", "LEI16", str(path), str(wav)]
        else:
            raise VoiceModelError(
                f"{path} is not a kind of recording that can be read here. Save it as .wav, .flac or .mp3 (any sound "
                "editor does that), or install ffmpeg, which is then used by itself."
            )
        said = ""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=CONVERT_TIMEOUT_S, check=False)
            said = (done.stderr.strip().splitlines() or [""])[-1][:200]
            samples, rate_hz = _read(wav)
        except (OSError, subprocess.TimeoutExpired, soundfile.LibsndfileError) as error:
            raise VoiceModelError(f"{path} cannot be read as a recording: {said or error}") from error
    return _recording(path, samples, rate_hz)

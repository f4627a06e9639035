"""F0 at 16 kHz, one frame each 10 ms, by the methods whose names RVC's users know."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyworld
import swift_f0

from obs_twin.voice.model import F32, F64, VoiceModelError
from obs_twin.voice.rvc.content import CONTENT_RATE_HZ
from obs_twin.voice.rvc.nets import FRAME_SAMPLES
from obs_twin.voice.rvc.rmvpe import Rmvpe

LOWEST_HZ, HIGHEST_HZ = 50.0, 1100.0
VOICED_CONFIDENCE = 0.4
PERIOD_MS = 1000 * FRAME_SAMPLES / CONTENT_RATE_HZ

Tracker = Callable[[F32, int], F64]
"""(samples,) at 16 kHz, number of frames -> F0 (frames,) in Hz, 0 where unvoiced; frame j lies at sample 160 * j."""

_lock = threading.Lock()


def open_tracker(method: str, rmvpe_path: Path | None) -> tuple[str, Tracker, list[str]]:
    """The tracker for a method of `settings.F0_METHODS`: its name, itself, and what was bound, in words.

    Raises VoiceModelError: "rmvpe" without its file, or a file that is none.
    """
    if method == "auto":
        method = "rmvpe" if rmvpe_path is not None else "swift-f0"
    if method == "rmvpe":
        if rmvpe_path is None:
            raise VoiceModelError(
                'the F0 method "rmvpe" needs the file "f0" (rmvpe.onnx), which this twin pack lacks. Make the pack '
                "with --rmvpe FILE, or choose swift-f0, harvest or dio."
            )
        stat = rmvpe_path.stat()
        network = _open_rmvpe(rmvpe_path, (stat.st_size, stat.st_mtime_ns))

        def track(sound: F32, frames: int) -> F64:
            # What lies before is context; a network of fixed length hears less of it.
            most = (network.longest_samples or len(sound)) // FRAME_SAMPLES * FRAME_SAMPLES
            skipped = max(0, len(sound) - most) // FRAME_SAMPLES
            found = network.track(sound[skipped * FRAME_SAMPLES :], max(frames - skipped, 0))
            return np.concatenate([np.zeros(min(skipped, frames)), found])

        return f"rmvpe on {network.provider}", track, network.bound
    found: dict[str, Tracker] = {"swift-f0": _swift, "harvest": _harvest, "dio": _dio}
    return f"{method} on the CPU", found[method], [f"F0: {method}, built in"]


@lru_cache(maxsize=1)
def _open_rmvpe(path: Path, _mark: tuple[int, int]) -> Rmvpe:
    return Rmvpe(path)


@lru_cache(maxsize=1)
def _detector() -> swift_f0.SwiftF0:
    return swift_f0.SwiftF0(threads=1, spin=False)


def _swift(sound: F32, frames: int) -> F64:
    with _lock:
        detector = _detector()
    found = detector.detect(sound, CONTENT_RATE_HZ, LOWEST_HZ, HIGHEST_HZ)
    times_s = np.arange(frames) * FRAME_SAMPLES / CONTENT_RATE_HZ
    confidence = np.interp(times_s, found.timestamps, found.confidence)
    f0_hz = np.exp(np.interp(times_s, found.timestamps, np.log(np.maximum(found.pitch_hz, 1.0))))
    return np.where(confidence >= VOICED_CONFIDENCE, f0_hz, 0.0)


def _harvest(sound: F32, frames: int) -> F64:
    x = sound.astype(np.float64)
    f0_hz, _ = pyworld.harvest(x, CONTENT_RATE_HZ, f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ, frame_period=PERIOD_MS)
    return _fitted(_median_of_3(f0_hz), frames)


def _dio(sound: F32, frames: int) -> F64:
    x = sound.astype(np.float64)
    f0_hz, times_s = pyworld.dio(x, CONTENT_RATE_HZ, f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ, frame_period=PERIOD_MS)
    return _fitted(_median_of_3(pyworld.stonemask(x, f0_hz, times_s, CONTENT_RATE_HZ)), frames)


def _median_of_3(f0_hz: F64) -> F64:
    """As RVC does for these two: a single frame cannot jump."""
    padded = np.pad(f0_hz, 1, mode="edge")
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))


def _fitted(f0_hz: F64, frames: int) -> F64:
    return f0_hz[:frames] if len(f0_hz) >= frames else np.pad(f0_hz, (0, frames - len(f0_hz)))

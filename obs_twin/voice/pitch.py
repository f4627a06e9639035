"""F0 of short windows with the small network of the swift-f0 package (MIT, weights inside the wheel).

Autocorrelation and WORLD's DIO and Harvest were tried first: the one takes a strong first formant for the pitch,
the next jumps by octaves on windows this short, the last costs ten times as much.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import soxr
import swift_f0

from obs_twin.voice.frames import FRAME_S, WORK_RATE_HZ
from obs_twin.voice.model import F64

F0_FLOOR_HZ = 55.0
F0_CEIL_HZ = 600.0
VOICED_CONFIDENCE = 0.4
LEFT_CONTEXT_SAMPLES = round(0.15 * WORK_RATE_HZ)  # what it should see before and after a frame
RIGHT_CONTEXT_SAMPLES = round(0.07 * WORK_RATE_HZ)

_lock = threading.Lock()


@lru_cache(maxsize=1)
def detector() -> swift_f0.SwiftF0:
    return swift_f0.SwiftF0(threads=1, spin=False)


def provider() -> str:
    """What really runs the network, as ONNX Runtime names it."""
    with _lock:
        return str(detector().session.get_providers()[0])


def track(x: F64, first_s: float, count: int) -> F64:
    """F0 (count,) in Hz, 0 where there is no voice, of frames at ``first_s + i * 5 ms`` of ``x`` (N,) at 24 kHz."""
    with _lock:
        network = detector()
    sound = soxr.resample(x.astype(np.float32), WORK_RATE_HZ, swift_f0.SAMPLE_RATE)
    found = network.detect(sound, swift_f0.SAMPLE_RATE, F0_FLOOR_HZ, F0_CEIL_HZ)
    times_s = first_s + np.arange(count) * FRAME_S
    confidence = np.interp(times_s, found.timestamps, found.confidence)
    f0_hz = np.exp(np.interp(times_s, found.timestamps, np.log(np.maximum(found.pitch_hz, 1.0))))
    return np.where(confidence >= VOICED_CONFIDENCE, f0_hz, 0.0)

"""Listening to the device that OBS monitors to: what a meeting's microphone would hear.

The one place that depends on the system. Linux: `parec` of PulseAudio or PipeWire, because OBS names its monitoring
device as PulseAudio does. Windows and macOS: PortAudio (sounddevice), by the device's name.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]

RATE_HZ = 48_000
KEPT_S = 16.0
BLOCK = 480


class CableListener:
    """Keeps the last `KEPT_S` seconds heard, with the time of the newest sample.

    Raises:
        OSError: the device cannot be listened to; the text says which and why.
    """

    def __init__(self, device: str) -> None:
        self._lock = threading.Lock()
        self._heard = np.zeros(int(KEPT_S * RATE_HZ), np.float32)
        self._count = 0
        self._offsets_ns: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: Any = None
        if sys.platform == "linux":
            self._open_parec(device)
        else:
            self._open_portaudio(device)

    def close(self) -> None:
        """Stop listening."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.close()
            self._stream = None

    def heard(self, seconds: float) -> tuple[F32, int] | None:
        """The last `seconds` as `(N,)` samples of `RATE_HZ`, and when the end was heard (monotonic ns).

        Blocks arrive late by chance, never early: the time of a sample is its count on the straight line under the
        arrival times.
        """
        need = int(seconds * RATE_HZ)
        with self._lock:
            if self._count < need or len(self._offsets_ns) < 20:
                return None
            end_ns = min(self._offsets_ns) + self._count * 1_000_000_000 // RATE_HZ
            return self._heard[-need:].copy(), end_ns

    def _take(self, block: F32) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            self._heard = np.concatenate([self._heard[block.size :], block])
            self._count += block.size
            self._offsets_ns.append(now_ns - self._count * 1_000_000_000 // RATE_HZ)
            # Five seconds of arrivals: long enough for a clean minimum, short enough to follow the clocks' drift.
            del self._offsets_ns[: -int(5.0 * RATE_HZ / BLOCK)]

    def _open_parec(self, device: str) -> None:
        program = shutil.which("parec")
        if program is None:
            raise OSError("parec is not installed (Debian: pulseaudio-utils); the cable cannot be listened to")
        # OBS stores a sink's monitor by its own name, or "default".
        source = "@DEFAULT_MONITOR@" if device in ("", "default") else device
        command = [program, "-d", source, "--raw", "--format=float32le", "--channels=1", f"--rate={RATE_HZ}"]
        self._process = subprocess.Popen(
            [*command, "--latency-msec=10"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        threading.Thread(target=self._read_parec, daemon=True, name="cable").start()

    def _read_parec(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            return
        while True:
            raw = process.stdout.read(BLOCK * 4)
            if len(raw) < BLOCK * 4:
                return
            self._take(np.frombuffer(raw, np.float32))

    def _open_portaudio(self, device: str) -> None:
        import sounddevice

        try:
            self._stream = sounddevice.InputStream(
                samplerate=RATE_HZ,
                blocksize=BLOCK,
                device=_input_of(device, sounddevice.query_devices()),
                channels=1,
                dtype="float32",
                latency="low",
                callback=lambda block, _frames, _time, _status: self._take(block[:, 0].copy()),
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise OSError(f"the cable {device!r} cannot be listened to: {error}") from error


def _input_of(name: str, devices: Any) -> int:
    """Number of the recording end of a virtual cable whose playing end is called `name`.

    VB-Cable calls its ends "CABLE Input" and "CABLE Output"; BlackHole has one name for both.
    """
    wanted = name.lower().replace("cable input", "cable output").split(" (")[0]
    for number, device in enumerate(devices):
        if device["max_input_channels"] > 0 and wanted and wanted in str(device["name"]).lower():
            return number
    inputs = ", ".join(str(d["name"]) for d in devices if d["max_input_channels"] > 0)
    raise ValueError(f"no recording device belongs to {name!r}; there are: {inputs}")

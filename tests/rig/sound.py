"""The virtual cable: a PulseAudio daemon of the rig's own with a null sink, and the tap that listens to it.

OBS plays its monitoring into the sink; a meeting app's microphone is the sink's monitor. `CableTap` is that
microphone, with the CLOCK_MONOTONIC time of every sample.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .process import TAP_NICE, Child, RigError, need_program, raise_priority

SINK_NAME = "twin_cable"
MONITOR_NAME = f"{SINK_NAME}.monitor"
SAMPLE_RATE_HZ = 48_000
BLOCK_SAMPLES = SAMPLE_RATE_HZ // 100
LATENCY_MS = 10


class PulseDaemon:
    """Context manager: a PulseAudio daemon whose one sink is the virtual cable. Works as root and in containers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pulse"
        self._socket = self._folder / "native"
        self._daemon: Child | None = None

    def __enter__(self) -> PulseDaemon:
        need_program("pulseaudio", "pulseaudio")
        need_program("parec", "pulseaudio-utils")
        self._folder.mkdir(mode=0o700, parents=True)
        sink = f"sink_name={SINK_NAME} rate={SAMPLE_RATE_HZ} channels=2 sink_properties=device.description=TwinCable"
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes"]
        command += ["--use-pid-file=no", "--log-target=stderr", "--realtime=no", "--high-priority=no"]
        command += ["-L", f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"]
        # Without norewinds the daemon reports an underrun for each of OBS's packets at the start, and OBS answers
        # each with a longer buffer: the voice would come almost a second late, by another amount each time.
        command += ["-L", f"module-null-sink norewinds=1 {sink}"]
        private = {name: str(self._folder) for name in ("HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH")}
        private |= {"PULSE_STATE_PATH": str(self._folder), "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
        self._daemon = Child(command, os.environ | private, self._folder / "daemon.log", nice=TAP_NICE)
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline or not self._daemon.running:
                raise RigError(f"PulseAudio did not start:\n{self._daemon.log_tail()}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._daemon:
            self._daemon.stop()

    def environment(self) -> dict[str, str]:
        return {"PULSE_SERVER": f"unix:{self._socket}", "PULSE_COOKIE": str(self._folder / "cookie")}

    def _answers(self) -> bool:
        if not self._socket.exists():
            return False
        asked = subprocess.run(
            ["pactl", "list", "short", "sinks"], env=os.environ | self.environment(), capture_output=True
        )
        return SINK_NAME in asked.stdout.decode()


@dataclass(frozen=True)
class Sound:
    """What the cable carried: mono float32 samples and when each of them could be read.

    Sample k arrived at `start_ns + k * sample_ns` on CLOCK_MONOTONIC; `jitter_ms` is the median lateness of the
    blocks against that line (what the line's fit leaves over).
    """

    samples: NDArray[np.float32]
    start_ns: int
    sample_ns: float
    jitter_ms: float

    def time_ns(self, sample: float) -> float:
        return self.start_ns + sample * self.sample_ns

    def index(self, time_ns: float) -> float:
        """The (fractional) sample that arrived at that time; may lie outside the recording."""
        return (time_ns - self.start_ns) / self.sample_ns

    def between(self, start_ns: float, end_ns: float) -> Sound:
        """The part that arrived within [start_ns, end_ns)."""
        first = int(np.clip(np.ceil(self.index(start_ns)), 0, len(self.samples)))
        last = int(np.clip(np.ceil(self.index(end_ns)), first, len(self.samples)))
        return Sound(self.samples[first:last], round(self.time_ns(first)), self.sample_ns, self.jitter_ms)


class CableTap:
    """Context manager: records the cable from entry to exit, in a thread that does nothing else."""

    def __init__(self, daemon: PulseDaemon) -> None:
        self._daemon = daemon
        self._blocks: list[bytes] = []
        self._arrivals_ns: list[int] = []
        self._recorder: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> CableTap:
        command = ["parec", "-d", MONITOR_NAME, f"--rate={SAMPLE_RATE_HZ}", "--channels=1", "--format=float32le"]
        command += ["--raw", f"--latency-msec={LATENCY_MS}", f"--process-time-msec={LATENCY_MS}"]
        self._recorder = subprocess.Popen(
            command,
            env=os.environ | self._daemon.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            preexec_fn=lambda: raise_priority(TAP_NICE),
        )
        self._thread = threading.Thread(target=self._read, name="cable-tap", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorder:
            self._recorder.terminate()
            self._recorder.wait()
        if self._thread:
            self._thread.join(5)

    def _read(self) -> None:
        raise_priority(TAP_NICE)
        assert self._recorder
        assert self._recorder.stdout
        descriptor = self._recorder.stdout.fileno()
        while block := os.read(descriptor, 4 * BLOCK_SAMPLES * 64):
            self._arrivals_ns.append(time.monotonic_ns())
            self._blocks.append(block)

    def sound(self) -> Sound:
        """Everything recorded so far. Raises `RigError` when that is less than a second."""
        count = len(self._arrivals_ns)
        blocks = self._blocks[:count]
        ends = np.cumsum([len(block) for block in blocks]) // 4
        if count == 0 or ends[-1] < SAMPLE_RATE_HZ:
            raise RigError("the cable tap has heard less than a second: is the daemon still running?")
        joined = b"".join(blocks)
        samples = np.frombuffer(joined[: 4 * (len(joined) // 4)], np.float32)
        start_ns, sample_ns, jitter_ms = fit_clock(ends, np.array(self._arrivals_ns[:count], np.int64))
        return Sound(samples, start_ns, sample_ns, jitter_ms)


def fit_clock(
    block_ends: NDArray[np.int64], arrivals_ns: NDArray[np.int64], nominal_hz: float = SAMPLE_RATE_HZ
) -> tuple[int, float, float]:
    """The sample clock behind blocks that arrive late, never early.

    Parameters
    ----------
    block_ends : (n,) int64
        Number of samples recorded when each block ended, rising.
    arrivals_ns : (n,) int64
        When each block was read.
    nominal_hz : float
        The rate the device claims.

    Returns
    -------
    start_ns, sample_ns, jitter_ms
        Time of sample 0, nanoseconds per sample, median lateness of the blocks in milliseconds.

    Delays only add, so the clock is the lower envelope of the arrivals: the earliest block of each window of
    half a second, and a straight line through these (Theil-Sen, which a few late windows do not bend). Shorter than
    five seconds, the slope is taken as nominal.
    """
    nominal_ns = 1e9 / nominal_hz
    origin = int(arrivals_ns[0])
    lateness = (arrivals_ns - origin).astype(np.float64) - block_ends * nominal_ns
    window = (block_ends // int(nominal_hz / 2)).astype(np.int64)
    firsts = np.flatnonzero(np.r_[True, np.diff(window) > 0])
    lowest = np.minimum.reduceat(lateness, firsts)
    middle = np.minimum.reduceat(block_ends, firsts).astype(np.float64)
    slope = 0.0
    if block_ends[-1] - block_ends[0] > 5 * nominal_hz:
        first, second = np.triu_indices(len(lowest), k=max(1, len(lowest) // 2))
        slope = float(np.median((lowest[second] - lowest[first]) / (middle[second] - middle[first])))
    intercept = float(np.median(lowest - slope * middle))
    sample_ns = nominal_ns + slope
    jitter_ms = float(np.median(lateness - slope * block_ends - intercept)) / 1e6
    return origin + round(intercept), sample_ns, jitter_ms

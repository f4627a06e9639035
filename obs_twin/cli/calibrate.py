"""`obs-twin calibrate`: measure how differently late picture and voice reach a meeting, and have it evened out.

The engine shows flashes and beeps at the same moments of OBS's own time. We sit where the meeting sits: we look at the
virtual camera and listen to the virtual cable.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.cli.errors import CommandError
from obs_twin.cli.status import ask_engine

LEAST_PAIRS = 4
MAX_SPREAD_MS = 25.0
APPLIED_WITHIN_MS = 3.0
LEFT_WITHIN_MS = 25.0
"""Half a frame at 30 frames/s is what cannot be evened out; what measuring adds is small."""
ROUNDS = 3
CAMERAS_TRIED = 8


@dataclass(frozen=True)
class Recording:
    """What came out of the virtual camera and of the virtual cable over the same seconds.

    Attributes:
        luma: `(N,)` mean brightness of each frame, 0..255.
        luma_ns: `(N,)` when each frame arrived, on the system's monotonic clock.
        samples: `(M,)` mono sound.
        rate_hz: its rate.
        start_ns: when its first sample was heard, on the same clock.
    """

    luma: npt.NDArray[np.float64]
    luma_ns: npt.NDArray[np.int64]
    samples: npt.NDArray[np.float32]
    rate_hz: int
    start_ns: int


def add_parser(subparsers: Any) -> None:
    """Add `calibrate`."""
    text = "measure and even out the difference between the virtual camera and the virtual cable"
    parser = subparsers.add_parser("calibrate", help=text, description=text + ". Viewers see flashes meanwhile.")
    parser.add_argument("--camera", help="number or device of the virtual camera; found by its flashes if not given")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long to measure (default: %(default)s)")
    parser.set_defaults(run=_run)


@dataclass(frozen=True)
class Measured:
    """How much later the voice comes than the picture, with the shift that was in force.

    Attributes:
        applied_ms: that shift.
        later_ms: `(pairs,)`, one for each flash that found its beep.
    """

    applied_ms: float
    later_ms: npt.NDArray[np.float64]

    @property
    def median_ms(self) -> float:
        """The median of `later_ms`."""
        return float(np.median(self.later_ms))

    @property
    def spread_ms(self) -> float:
        """Their scaled median deviation."""
        return 1.4826 * float(np.median(np.abs(self.later_ms - self.median_ms)))

    @property
    def p95_abs_ms(self) -> float:
        """95 % of them are within so many ms of 0."""
        return float(np.percentile(np.abs(self.later_ms), 95))


def measure(record: Callable[[], Recording]) -> Measured:
    """Measure by how much the voice comes later than the picture at the meeting's end.

    Args:
        record: records camera and cable while the test signal is on.

    Raises:
        CommandError: no engine, or the test signal did not arrive; the text says which half was missing.
    """
    from obs_twin.engine.offset import beep_times, flash_times, pair_offsets_ms

    status = ask_engine({"ask": "status"})
    if not any(s["kind"] == "video" for s in status["streams"].values()):
        raise CommandError("No picture flows through a Twin filter. Put Twin Face on your camera and try again.")
    if not any(s["kind"] == "sound" for s in status["streams"].values()):
        raise CommandError("No sound flows through Twin Voice. Put the filter on your microphone and try again.")
    ask_engine({"ask": "test_signal", "on": True})
    try:
        # The signal needs the delay D to come out.
        time.sleep(status["delay_ms"] / 1e3 + 1.0)
        recording = record()
        applied_ms = float(ask_engine({"ask": "status"})["host"]["shift_ms"])
    finally:
        ask_engine({"ask": "test_signal", "on": False})
    flashes = flash_times(recording.luma, recording.luma_ns)
    beeps = beep_times(recording.samples, recording.rate_hz, recording.start_ns)
    found = Measured(applied_ms, pair_offsets_ms(flashes, beeps))
    if len(found.later_ms) < LEAST_PAIRS or found.spread_ms > MAX_SPREAD_MS:
        raise CommandError(
            f"The test signal was not clear: expected at least {LEAST_PAIRS} flashes with their beeps and a spread "
            f"below {MAX_SPREAD_MS:.0f} ms, found {len(flashes)} flashes, {len(beeps)} beeps and "
            f"{len(found.later_ms)} pairs"
            + (f" with a spread of {found.spread_ms:.0f} ms" if len(found.later_ms) else "")
            + ". Check that the virtual camera is started, that the source with Twin Voice has 'Monitor and Output' in "
            "Advanced Audio Properties, and that OBS's monitoring device is the virtual cable. On a computer that is "
            "busy with other things, try again when it is not."
        )
    return found


def wait_until_applied(shift_ms: float, timeout_s: float = 30.0) -> None:
    """Wait until the picture is shifted by `shift_ms` (it is moved slowly), and the test signal has left OBS."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status = ask_engine({"ask": "status"})
        if abs(float(status["host"].get("shift_ms", 1e9)) - shift_ms) < APPLIED_WITHIN_MS:
            break
        time.sleep(0.2)
    time.sleep(float(ask_engine({"ask": "status"})["delay_ms"]) / 1e3 + 1.0)


def calibrate(record: Callable[[], Recording]) -> tuple[float, Measured]:
    """Measure, have the difference evened out, and measure what is left; once more while that is too much.

    So a cable whose buffer grows meanwhile is met too (PulseAudio's monitoring grows it after every gap).

    Args:
        record: see `measure`.

    Returns:
        (m in ms, in force; what is left with it).

    Raises:
        CommandError: see `measure`.
    """
    found = measure(record)
    for _ in range(ROUNDS):
        shift_ms = found.applied_ms + found.median_ms
        ask_engine({"ask": "set_shift", "shift_ns": round(shift_ms * 1e6)})
        wait_until_applied(shift_ms)
        found = measure(record)
        if abs(found.median_ms) <= LEFT_WITHIN_MS:
            break
    wait_until_applied(found.applied_ms)
    return shift_ms, found


def _run(args: argparse.Namespace) -> int:
    from obs_twin.engine.cable import CableListener

    status = ask_engine({"ask": "status"})
    try:
        cable = CableListener(str(status.get("monitoring_device", "")))
    except OSError as error:
        raise CommandError(str(error)) from error
    print("Viewers now see flashes and hear beeps. Measuring ...", flush=True)
    try:
        shift_ms, left = calibrate(lambda: _record(args.camera, cable, args.seconds))
    finally:
        cable.close()
    direction = "before" if shift_ms < 0 else "after"
    print(
        f"The voice arrived {abs(shift_ms):.0f} ms {direction} the picture. Now the picture is shifted by that, and "
        f"OBS's sync offset with it: {left.median_ms:+.0f} ms are left (spread {left.spread_ms:.0f} ms, "
        f"{len(left.later_ms)} flashes)."
    )
    return 0


def _record(camera: str | None, cable: Any, seconds: float) -> Recording:
    from obs_twin.engine.cable import RATE_HZ

    capture = _find_camera(camera)
    luma, times = [], []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        ok, frame = capture.read()
        if ok:
            times.append(time.monotonic_ns())
            luma.append(float(frame[::8, ::8].mean()))
    capture.release()
    heard = cable.heard(seconds)
    if heard is None:
        raise CommandError("Nothing was heard on the virtual cable. Is OBS's monitoring device set to it?")
    samples, end_ns = heard
    start_ns = end_ns - len(samples) * 1_000_000_000 // RATE_HZ
    return Recording(np.array(luma), np.array(times, np.int64), samples, RATE_HZ, start_ns)


def _find_camera(wanted: str | None) -> Any:
    """The virtual camera, opened: the named one, the one called OBS, or the one that flashes."""
    import cv2

    candidates: list[int | str] = [int(wanted) if wanted.isdigit() else wanted] if wanted else _likely_cameras()
    for candidate in candidates:
        capture = cv2.VideoCapture(candidate)
        if capture.isOpened() and (len(candidates) == 1 or _flashes(capture)):
            return capture
        capture.release()
    tried = ", ".join(str(c) for c in candidates)
    raise CommandError(
        f"The virtual camera was not found (tried {tried}). Start it in OBS with 'Start Virtual Camera', close other "
        "programs that use it, or name it with --camera."
    )


def _likely_cameras() -> list[int | str]:
    if sys.platform == "linux":
        folder = Path("/sys/class/video4linux")
        named = [p for p in sorted(folder.glob("video*")) if "obs" in (p / "name").read_text().lower()]
        if named:
            return [f"/dev/{p.name}" for p in named]
    return list(range(CAMERAS_TRIED))


def _flashes(capture: Any, seconds: float = 3.5) -> bool:
    """Whether a camera shows the test signal: frames that are all white, and all black ones."""
    end_s = time.monotonic() + seconds
    seen: set[bool] = set()
    while time.monotonic() < end_s and len(seen) < 2:
        ok, frame = capture.read()
        if ok:
            level, deviation = float(frame.mean()), float(frame.std())
            if deviation < 8.0 and (level > 200.0 or level < 40.0):
                seen.add(level > 200.0)
    return len(seen) == 2

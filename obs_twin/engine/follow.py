"""Following m while live, with no test signal.

Of m's two parts, the cable's changes (another device, a buffer that grew, a drifting clock); the camera's does not.
The cable's delay is how much later the voice that the host played is heard there, found by correlating the two. m moves
by as much as that delay has moved since the calibration.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import soxr

from obs_twin.engine.cable import RATE_HZ, CableListener
from obs_twin.engine.calibration import Calibration
from obs_twin.engine.offset import FollowOffset, audio_delay_s
from obs_twin.engine.priority import lower_thread
from obs_twin.engine.voice import VoiceWorker

log = logging.getLogger(__name__)

WINDOW_S = 4.0
EVERY_S = 2.0
MAX_DELAY_S = 0.8
LEAST_CONFIDENCE = 0.5
FIRST_ESTIMATES = 4
"""So many sure estimates make the base line, if the calibration has left none."""
QUIET = 1e-3
RETRY_S = 10.0


class Follower:
    """Listens to the cable in a thread of its own and adjusts m.

    Args:
        calibration: holds the calibrated m and the cable's delay of that moment.
        voices: the voices that are being sent now.
    """

    def __init__(self, calibration: Calibration, voices: Callable[[], list[VoiceWorker]]) -> None:
        self._calibration = calibration
        self._voices = voices
        self._device: str | None = None
        self._listener: CableListener | None = None
        self._first: list[float] = []
        self._cable: FollowOffset | None = None
        self._problem = ""
        self._estimates = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="follow")
        self._thread.start()

    def listen_to(self, device: str) -> None:
        """Choose OBS's monitoring device."""
        self._device = device

    def restart(self) -> None:
        """After a calibration: a new base line."""
        self._first, self._cable, self._estimates = [], None, 0

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(5.0)
        if self._listener is not None:
            self._listener.close()

    def cable_ns(self) -> int | None:
        """The cable's delay as known now, or None."""
        return None if self._cable is None else round(self._cable.at(time.monotonic_ns()) * 1e6)

    def shift_ns(self) -> int:
        """m: the calibrated value, moved by what the cable has changed since."""
        base_ns, now_ns = self._calibration.cable_ns, self.cable_ns()
        if not self._calibration.known or base_ns is None or now_ns is None:
            return self._calibration.shift_ns
        return self._calibration.shift_ns + now_ns - base_ns

    def status(self) -> dict[str, Any]:
        """For the status: the cable's delay, how often it was found, and what stands in the way."""
        cable_ns = self.cable_ns()
        return {
            "cable_ms": None if cable_ns is None else round(cable_ns / 1e6, 1),
            "estimates": self._estimates,
            "problem": self._problem,
        }

    def _run(self) -> None:
        lower_thread()
        wait_s = EVERY_S
        while not self._stop.wait(wait_s):
            wait_s = EVERY_S
            try:
                if self._listener is None and self._device is not None and self._voices():
                    self._listener = CableListener(self._device)
                    self._problem = ""
                if self._listener is not None:
                    self._measure(self._listener)
            except OSError as error:
                if str(error) != self._problem:
                    log.info("the cable is not followed: %s", error)
                self._problem = str(error)
                self._listener = None
                wait_s = RETRY_S
            except Exception:
                log.exception("following the cable")

    def _measure(self, listener: CableListener) -> None:
        heard = listener.heard(WINDOW_S)
        if heard is None or self._calibration.testing:
            return
        for voice in self._voices():
            sent = voice.sent(WINDOW_S)
            if sent is None or float(np.abs(sent[0]).max()) < QUIET:
                continue
            samples, sent_ns = sent
            if voice.rate_hz != RATE_HZ:
                samples = soxr.resample(samples, voice.rate_hz, RATE_HZ)
            delay_s, confidence = audio_delay_s(samples, heard[0], RATE_HZ, MAX_DELAY_S)
            # The two windows are equally long but end at different times.
            self._take(1e3 * delay_s + (heard[1] - sent_ns) / 1e6, confidence)
            return

    def _take(self, cable_ms: float, confidence: float) -> None:
        if confidence < LEAST_CONFIDENCE:
            return
        self._estimates += 1
        if self._cable is not None:
            self._cable.add(cable_ms, confidence)
            return
        self._first.append(cable_ms)
        if len(self._first) < FIRST_ESTIMATES:
            return
        start_ms = statistics.median(self._first)
        if self._calibration.cable_ns is None:
            self._calibration.set_base(round(start_ms * 1e6))
        self._cable = FollowOffset(start_ms)

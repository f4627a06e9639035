"""The difference m between the two ways into a meeting: remembered per device, measured on request, followed live.

m is how much later the voice is heard (virtual cable) than the picture is seen (virtual camera). On request, the
engine replaces picture and voice by a test signal, a flash and a beep at the same moments of OBS's own timeline, and
whoever listens at the meeting's end (`obs-twin calibrate`) says by how much they differ. While live, the cable's share
is followed with no test signal (`obs_twin.engine.follow`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.link.paths import ensure, user_dirs

log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]

PERIOD_NS = 1_517_000_000
"""No whole number of frames at any usual rate: each flash falls differently between them."""
FLASH_NS = 200_000_000
BEEP_NS = 200_000_000
BEEP_HZ = 1000.0
BEEP_LEVEL = 0.3
MAX_TEST_S = 120.0
"""A calibration that was forgotten, or whose command line died, ends by itself."""


class Calibration:
    """m for the monitoring device in use."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_dirs().config / "calibration.json"
        self._device = "default"
        self._lock = threading.Lock()
        self._test_until_s = 0.0
        self.shift_ns = 0
        self.cable_ns: int | None = None
        """Delay of the cable at the moment of the calibration, the base line for following it."""
        self.known = False

    def use_device(self, device: str) -> None:
        """Switch to what is stored for OBS's monitoring device."""
        self._device = device or "default"
        entry = self._stored().get(self._device)
        self.known = entry is not None
        self.shift_ns = int(entry["shift_ns"]) if entry else 0
        self.cable_ns = int(entry["cable_ns"]) if entry and entry.get("cable_ns") is not None else None

    def set_shift(self, shift_ns: int) -> None:
        """Store a measured m. The cable's delay that belongs to it is still to be found (`set_base`)."""
        self.shift_ns = shift_ns
        self.cable_ns = None
        self.known = True
        self._store()

    def set_base(self, cable_ns: int) -> None:
        """Store the cable's delay that belongs to the m in use, if a calibration left it open."""
        self.cable_ns = cable_ns
        if self.known:
            self._store()

    def _store(self) -> None:
        with self._lock:
            stored = self._stored()
            stored[self._device] = {
                "shift_ns": self.shift_ns,
                "cable_ns": self.cable_ns,
                "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            }
            ensure(self._path.parent)
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(stored, indent=1), encoding="utf-8")
            temporary.replace(self._path)

    def _stored(self) -> dict[str, dict[str, Any]]:
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            return {k: v for k, v in stored.items() if isinstance(v, dict) and isinstance(v.get("shift_ns"), int)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as error:
            log.warning("%s cannot be read (%s); measure again with obs-twin calibrate", self._path, error)
            return {}

    # ---- test signal --------------------------------------------------------------------------------------------

    def test(self, on: bool) -> None:
        """Start or end the test signal."""
        self._test_until_s = time.monotonic() + MAX_TEST_S if on else 0.0

    @property
    def testing(self) -> bool:
        """Whether the test signal is on."""
        return time.monotonic() < self._test_until_s

    def lit_share(self, stamp_ns: int, duration_ns: int) -> float | None:
        """Share (0..1) of a frame, shown from OBS's timestamp `stamp_ns` for `duration_ns`, in which the flash is on;
        None for no test. A frame that is lit for a part of its time is lit in part, so that the flash's true start can
        be read between two frames."""
        if not self.testing or duration_ns <= 0:
            return None
        phase_ns = stamp_ns % PERIOD_NS
        lit_ns = 0
        for start_ns in (0, PERIOD_NS):
            lit_ns += max(0, min(phase_ns + duration_ns, start_ns + FLASH_NS) - max(phase_ns, start_ns))
        return min(1.0, lit_ns / duration_ns)

    def beep(self, stamp_ns: int, count: int, rate_hz: int) -> F32 | None:
        """`(count,)` samples from OBS's timestamp `stamp_ns` on, or None for no test."""
        if not self.testing:
            return None
        phase_ns = (stamp_ns + np.arange(count, dtype=np.int64) * 1_000_000_000 // rate_hz) % PERIOD_NS
        tone = BEEP_LEVEL * np.sin(2.0 * np.pi * BEEP_HZ * phase_ns / 1e9)
        return np.where(phase_ns < BEEP_NS, tone, 0.0).astype(np.float32)

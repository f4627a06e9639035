"""Whether the notices are on: always, unless a person turned one off and said why. Each change is logged.

Also the words of the spoken notice, for those who only listen, and when it is said again: those who come late have not
heard it at the start, and a voice alone carries no badge.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from obs_twin.link.disclosure_rule import notice_on
from obs_twin.twin.log import SessionLog

NOTICES = {"face": {"badge": "badge", "slate": "slate"}, "voice": {"spoken_notice": "spoken"}}
"""For each kind of filter: its setting, and the notice's name in the log."""
SPOKEN_LEVEL = 0.5
REPEAT_MINUTES = 10.0
SHORTEST_REPEAT_MINUTES = 1.0
OUTPUTS = ("virtualcam", "streaming", "recording")
PAUSE_S = 0.6
PAUSE_UNDER_SPEECH_DB = 25.0
SPEECH_FALLS_DB = 0.3
"""A second: by how much the loudest that was heard counts for less."""


class Notices:
    """Writes what people do with the notices into the disclosure log."""

    def __init__(self, session: SessionLog) -> None:
        self._session = session
        self._off: set[str] = set()

    def observe(self, kind: str, settings: dict[str, Any]) -> None:
        """Look at the settings of a filter of that kind."""
        for setting, notice in NOTICES.get(kind, {}).items():
            on = notice_on(settings, setting)
            if on and notice in self._off:
                self._off.discard(notice)
                self._session.restored(notice)
            elif not on and notice not in self._off:
                self._off.add(notice)
                self._session.overridden(notice, str(settings["disclosure_off_reason"]))


class Repeats:
    """When the spoken notice is due again, for each stream, while anything leaves OBS."""

    def __init__(self) -> None:
        self._live: set[str] = set()
        self._said_s: dict[int, float] = {}
        self._since_s = 0.0

    def event(self, event: str, now_s: float) -> bool:
        """An output was started or stopped ("virtualcam_started"). Returns whether one was started."""
        output, _, state = event.rpartition("_")
        if output not in OUTPUTS:
            return False
        if state == "started":
            self._live.add(output)
            self._said_s.clear()  # it is said now
            self._since_s = now_s
            return True
        self._live.discard(output)
        return False

    def go_on(self, outputs: list[str], now_s: float) -> None:
        """These are on already: this engine is not the first."""
        self._live |= set(outputs) & set(OUTPUTS)
        self._since_s = now_s

    def due(self, stream: int, minutes: float, now_s: float) -> bool:
        """Whether the notice is to be said again on that stream; if so, it counts as said."""
        last_s = self._said_s.get(stream, self._since_s)
        if not self._live or now_s - last_s < 60.0 * max(minutes, SHORTEST_REPEAT_MINUTES):
            return False
        self._said_s[stream] = now_s
        return True


class PauseFinder:
    """Tells when somebody pauses, from the level of the sound: good enough for a moment to say something."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._loud_db = -60.0
        self._quiet_s = 0.0

    def hear(self, x: npt.NDArray[np.float32]) -> bool:
        """Take (N,) further samples. Returns whether it has been quiet for a moment."""
        seconds = len(x) / self._rate_hz
        level_db = 10 * float(np.log10(np.mean(x**2) + 1e-12)) if len(x) else -120.0
        self._loud_db = max(level_db, self._loud_db - SPEECH_FALLS_DB * seconds)
        self._quiet_s = self._quiet_s + seconds if level_db < self._loud_db - PAUSE_UNDER_SPEECH_DB else 0.0
        return self._quiet_s >= PAUSE_S


@lru_cache(maxsize=8)
def spoken_notice(name: str, synthetic: bool, rate_hz: int, again: bool = False) -> npt.NDArray[np.float32]:
    """The notice as sound, `(N,) float32` at `rate_hz`, about five seconds; three when it is said `again`."""
    from obs_twin.twin.synthetic.speech import speak

    whose = f"{name} is a synthetic person." if synthetic else f"It is that of {name}, used with consent."
    words = f"You are hearing a synthetic voice. {whose}"
    said = speak(words if again else f"Please note. {words}")
    loudest = max(1e-6, float(np.abs(said.samples).max()))
    sound = soxr.resample(said.samples, said.sample_rate_hz, rate_hz)
    return np.asarray(sound * (SPOKEN_LEVEL / loudest), np.float32)

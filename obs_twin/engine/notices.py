"""Whether the notices are on: always, unless a person turned one off and said why. Each change is logged.

Also the words of the spoken notice, for those who only listen.
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


@lru_cache(maxsize=4)
def spoken_notice(name: str, synthetic: bool, rate_hz: int) -> npt.NDArray[np.float32]:
    """The notice as sound, `(N,) float32` at `rate_hz`, about five seconds."""
    from obs_twin.twin.synthetic.speech import speak

    whose = f"{name} is a synthetic person." if synthetic else f"It is that of {name}, used with consent."
    said = speak(f"Please note. You are hearing a synthetic voice. {whose}")
    loudest = max(1e-6, float(np.abs(said.samples).max()))
    sound = soxr.resample(said.samples, said.sample_rate_hz, rate_hz)
    return np.asarray(sound * (SPOKEN_LEVEL / loudest), np.float32)

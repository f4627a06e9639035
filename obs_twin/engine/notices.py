"""Whether badge and opening notice are on: always, unless a person turned one off and said why.

Each change goes into the disclosure log.
"""

from __future__ import annotations

from typing import Any

from obs_twin.link.disclosure_rule import notice_on
from obs_twin.twin.log import SessionLog

NOTICES = ("badge", "slate")


class Notices:
    """Writes what people do with the notices into the disclosure log."""

    def __init__(self, session: SessionLog) -> None:
        self._session = session
        self._off: set[str] = set()

    def observe(self, face: dict[str, Any]) -> None:
        """Look at a face filter's settings."""
        for notice in NOTICES:
            if notice_on(face, notice) and notice in self._off:
                self._off.discard(notice)
                self._session.restored(notice)
            elif not notice_on(face, notice) and notice not in self._off:
                self._off.add(notice)
                self._session.overridden(notice, str(face["disclosure_off_reason"]))

"""The one rule by which both processes decide whether a notice is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_REASON_CHARS = 3


def notice_on(settings: Mapping[str, Any], notice: str) -> bool:
    """Whether `notice` (a tick box: "badge", "slate", "spoken_notice") is on.

    It is, unless it is turned off and a reason is stated.
    """
    reason = str(settings.get("disclosure_off_reason", "")).strip()
    return bool(settings.get(notice, True)) or len(reason) < LEAST_REASON_CHARS

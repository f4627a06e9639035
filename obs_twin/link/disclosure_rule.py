"""The one rule by which both processes decide whether a notice is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST_REASON_CHARS = 3


def notice_on(face_settings: Mapping[str, Any], notice: str) -> bool:
    """Whether `notice` ("badge" or "slate") is on: it is, unless it is turned off and a reason is stated."""
    reason = str(face_settings.get("disclosure_off_reason", "")).strip()
    return bool(face_settings.get(notice, True)) or len(reason) < LEAST_REASON_CHARS

"""Fetches the models that are missing and tells how far it is. Run in the environment: `python -m installer.models`."""

from __future__ import annotations

import sys
import time

from installer.environment import NOTHING_TO_DO
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.store import ModelStore

__all__ = ["main"]

LINE_EVERY_S = 0.2


class _Lines:
    """Prints progress as lines `0.42 what`, for the set-up to show."""

    def __init__(self) -> None:
        self._printed_s = 0.0

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None:
        now_s = time.monotonic()
        if now_s - self._printed_s >= LINE_EVERY_S:
            self._printed_s = now_s
            print(f"{done_bytes / max(1, total_bytes):.2f} {what} ({total_bytes / 1e6:.0f} MB)", flush=True)


def main() -> int:
    """Fetch what is missing.

    Returns:
        0, or 1 after printing why it could not be done.
    """
    try:
        store = ModelStore()
        if all(status.state == "ready" for status in store.list() if not status.entry.extra):
            print(NOTHING_TO_DO)
        else:
            store.fetch(progress=_Lines())
    except ModelError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

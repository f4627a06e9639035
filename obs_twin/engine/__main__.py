"""`python -m obs_twin.engine`: started by the host, talks on standard input and output, logs on standard error."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

NICE = 5

def _be_modest() -> None:
    """OBS comes first: run at a lower priority than it."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            below_normal = 0x4000
            kernel32 = ctypes.windll.kernel32
            kernel32.SetPriorityClass(kernel32.GetCurrentProcess(), below_normal)
        else:
            os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))


def main() -> int:
    """Run the engine until the host closes standard input."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
    )
    _be_modest()
    # Libraries that print must not disturb the messages on standard output.
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import cv2

    cv2.setNumThreads(1)
    from obs_twin.engine.engine import Engine

    Engine(sys.stdin.buffer, outgoing).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m obs_twin.engine`: started by the host, talks on standard input and output, logs on standard error."""

from __future__ import annotations

import gc
import logging
import os
import sys

from obs_twin.engine.priority import lower_process

SWITCH_S = 0.0005


def main() -> int:
    """Run the engine until the host closes standard input."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"
    )
    lower_process()
    # The voice waits for Python's lock dozens of times in each chunk, and a picture thread that computes gives it up
    # after 5 ms unless told otherwise.
    sys.setswitchinterval(SWITCH_S)
    # Libraries that print must not disturb the messages on standard output.
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    import cv2

    cv2.setNumThreads(1)
    from obs_twin.engine.engine import Engine

    # What was imported stays for good. Looked through again by every full collection, it would stop all threads for
    # 30 ms, the voice's too.
    gc.freeze()
    Engine(sys.stdin.buffer, outgoing).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())

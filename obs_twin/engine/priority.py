"""OBS comes first, then the voice, then the picture: the only module that asks the system for priorities."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

PROCESS_NICE = 5
PICTURE_NICE = 10


def lower_process() -> None:
    """Run this process below OBS. A system that refuses is left as it is."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            below_normal = 0x4000
            kernel32 = ctypes.windll.kernel32
            kernel32.SetPriorityClass(kernel32.GetCurrentProcess(), below_normal)
        else:
            _set_nice(0, PROCESS_NICE)


def lower_thread() -> None:
    """Run this thread below the process's others: a late picture is a repeated frame, a late voice is a gap."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            below_normal = -1
            kernel32 = ctypes.windll.kernel32
            kernel32.SetThreadPriority(kernel32.GetCurrentThread(), below_normal)
        elif sys.platform == "linux":
            # Linux keeps niceness for each thread; elsewhere it belongs to the process. A batch thread that wakes up
            # does not push aside one that runs.
            _set_nice(threading.get_native_id(), PICTURE_NICE)
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


def _set_nice(who: int, nice: int) -> None:
    os.setpriority(os.PRIO_PROCESS, who, max(nice, os.getpriority(os.PRIO_PROCESS, who)))

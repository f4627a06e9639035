"""OBS and the voice come first, then the picture: the only module that asks the system for priorities.

A late picture is a frame shown twice; a late voice is a gap that everybody hears. The voice needs a fifth of a core, so
it takes nothing from OBS that could be seen.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

NICE = 5
"""With 10, three times as many frames were late where OBS filled both cores."""
BELOW_NORMAL_PRIORITY_CLASS = 0x4000
THREAD_PRIORITY_BELOW_NORMAL, THREAD_PRIORITY_HIGHEST = -1, 2


def lower_process() -> None:
    """Run this process below OBS, where threads cannot be told apart or can be raised again; see `raise_voice`.

    On Linux every thread has a niceness of its own, which an ordinary user can never take back: there, `lower_thread`
    does it all. A system that refuses is left as it is.
    """
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            _windows("Process", "SetPriorityClass", BELOW_NORMAL_PRIORITY_CLASS)
        elif sys.platform != "linux":
            _set_nice(0)


def lower_thread() -> None:
    """Run this thread, and those that it starts, below OBS and the voice."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            _windows("Thread", "SetThreadPriority", THREAD_PRIORITY_BELOW_NORMAL)
        elif sys.platform == "linux":
            # A batch thread that wakes up does not push aside one that runs.
            _set_nice(threading.get_native_id())
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


def raise_voice() -> None:
    """Run this thread, the voice's, as OBS's own run."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            # Above its class, which `lower_process` has set below normal: normal again.
            _windows("Thread", "SetThreadPriority", THREAD_PRIORITY_HIGHEST)


def _windows(whose: str, name: str, priority: int) -> None:
    if sys.platform == "win32":
        import ctypes

        current = getattr(ctypes.windll.kernel32, f"GetCurrent{whose}")
        change = getattr(ctypes.windll.kernel32, name)
        # These handles are negative and as wide as a pointer; unless told, ctypes hands on the lower half.
        current.restype = ctypes.c_void_p
        change.argtypes = [ctypes.c_void_p, ctypes.c_int]
        change(current(), priority)


def _set_nice(who: int) -> None:
    if sys.platform != "win32":
        os.setpriority(os.PRIO_PROCESS, who, max(NICE, os.getpriority(os.PRIO_PROCESS, who)))

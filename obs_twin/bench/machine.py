"""The machine that a figure was measured on, in one line."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

REFERENCE_RUNS = 15


def machine() -> str:
    """For example "AMD EPYC 9B14, 2 threads, Linux 6.1, Python 3.11.2"."""
    cpu = _cpu_name()
    return (
        f"{cpu}, {os.cpu_count()} threads, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def reference_line() -> str:
    """How fast a core is just now, in a line: other work on the machine takes its caches and half of its core.

    Timings of two runs compare only where this figure is alike.
    """
    return (
        f"a fixed piece of work takes {reference_ms():.1f} ms of CPU time just now; compare timings where this is alike"
    )


def reference_ms() -> float:
    """Median CPU time of a fixed blend of arithmetic (a matrix product) and memory traffic (a sort, a copy)."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((320, 320)).astype(np.float32)
    values = rng.standard_normal(60_000).astype(np.float32)
    picture = np.zeros((720, 1280, 3), np.uint8)
    spent = []
    for _ in range(REFERENCE_RUNS):
        began = time.process_time()
        matrix @ matrix
        np.sort(values)
        picture.copy()
        spent.append(1000 * (time.process_time() - began))
    return float(np.median(spent))


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

"""The machine that a figure was measured on, in one line."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """For example "AMD EPYC 9B14, 2 threads, Linux 6.1, Python 3.11.2"."""
    cpu = _cpu_name()
    return (
        f"{cpu}, {os.cpu_count()} threads, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

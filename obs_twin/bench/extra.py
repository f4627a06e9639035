"""The packages that only the benches need, and what to say when one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType


class BenchError(RuntimeError):
    """A bench cannot run; the message says what was expected, what was found and what to do."""


def require(module: str) -> ModuleType:
    """Import a package of the optional part "bench".

    Raises:
        BenchError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BenchError(
            f"The bench needs the package {error.name or module!r}, which is not installed. Run: "
            "python -m pip install 'obs-twin[bench]'"
        ) from error

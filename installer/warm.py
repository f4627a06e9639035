"""Compiles every numba kernel once, into numba's own cache beside the sources.

A module with kernels offers `warm_up() -> None`, which calls each of them with tiny arrays of the types that they
get in use. Run in the environment: `python -m installer.warm`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import obs_twin

__all__ = ["kernel_modules", "main"]


def kernel_modules(package: Path) -> list[str]:
    """The names of the modules under `package` that have kernels and offer to warm them."""
    names = []
    for path in sorted(package.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "njit" in source and "\ndef warm_up(" in source:
            names.append(".".join((package.name, *path.relative_to(package).with_suffix("").parts)))
    return names


def main() -> int:
    """Warm them all.

    Returns:
        0; an error of a kernel's own is let through, with its name printed before it.
    """
    names = kernel_modules(Path(obs_twin.__path__[0]))
    for number, name in enumerate(names, 1):
        print(f"{name} ({number} of {len(names)})", flush=True)
        importlib.import_module(name).warm_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())

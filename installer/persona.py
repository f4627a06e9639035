"""Renders the built-in persona's twin pack where this version's is not there yet.

Run in the environment: `python -m installer.persona`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from installer.environment import NOTHING_TO_DO
from obs_twin.link.paths import user_dirs
from obs_twin.twin.manifest import MANIFEST_NAME
from obs_twin.twin.synthetic.persona import PACK_NAME, build_persona_pack

__all__ = ["main"]


def main() -> int:
    """Render it, if need be.

    Returns:
        0; an error is let through with its traceback, for there is nothing that the user could do about it.
    """
    folder = user_dirs().cache / "builtin" / PACK_NAME
    before = _written(folder)
    build_persona_pack(folder)
    if _written(folder) == before:
        print(NOTHING_TO_DO)
    return 0


def _written(folder: Path) -> int:
    manifest = folder / MANIFEST_NAME
    return manifest.stat().st_mtime_ns if manifest.exists() else 0


if __name__ == "__main__":
    sys.exit(main())

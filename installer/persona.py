"""Renders the built-in persona's twin pack where it is not there yet.

Run in the environment: `python -m installer.persona`.
"""

from __future__ import annotations

import sys

from installer.environment import NOTHING_TO_DO
from obs_twin.link.paths import user_dirs
from obs_twin.twin.pack import PackError, find_pack

__all__ = ["main"]

PACK_NAME = "ada"


def main() -> int:
    """Render it, if need be.

    Returns:
        0; an error is let through with its traceback, for there is nothing that the user could do about it.
    """
    try:
        find_pack(PACK_NAME)
    except PackError:
        from obs_twin.twin.synthetic.persona import build_persona_pack

        build_persona_pack(user_dirs().cache / "builtin" / PACK_NAME)
    else:
        print(NOTHING_TO_DO)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a command raises when it cannot do what it was asked."""

from __future__ import annotations


class CommandError(RuntimeError):
    """Shown to the user as it stands, without a traceback: what was expected, what was found, what to do."""

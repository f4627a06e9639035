"""What went wrong while setting up, in words that end with what the user can do."""

from __future__ import annotations

__all__ = ["SetupError"]


class SetupError(Exception):
    """Set-up cannot go on. The text says what was expected, what was found, and what to do next."""

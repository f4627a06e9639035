"""The renderer's cache: what took long to draw is kept, until the drawing code changes."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from functools import lru_cache
from pathlib import Path

from obs_twin.link.paths import user_dirs


def cache_folder() -> Path:
    """Where rendered pictures, clips and packs are kept; may be deleted at any time."""
    return user_dirs().cache / "synthetic"


@lru_cache(maxsize=1)
def _code_key() -> str:
    """Changes whenever any of the drawing code does."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def content_key(*parameters: object) -> str:
    """A name for what ``parameters`` and the drawing code as it is now produce."""
    return hashlib.sha256(repr((parameters, _code_key())).encode()).hexdigest()[:24]


def cached(label: str, suffix: str = "") -> Path:
    """Where the current drawing of ``label`` lies, or would lie: ``label`` names all its parameters."""
    return cache_folder() / f"{label}-{_code_key()}{suffix}"


def store(made: Path, label: str, suffix: str = "") -> Path:
    """Move the finished file or folder ``made`` to its place in the cache, and drop what older code drew of it."""
    place = cached(label, suffix)
    if place.exists():  # another process was quicker, and somebody may be reading it by now
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    for old in cache_folder().glob(f"{label}-*{suffix}"):
        # Another process may be reading it still, or dropping it at the same time.
        with contextlib.suppress(OSError):
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink()
    made.replace(place)
    return place

"""The model store: every model fetched once, checked by sha256, cached for the user.

store = ModelStore()
store.fetch()                        # all that are missing; nothing to do the second time
path = store.path("face_landmark")   # checked the first time it is asked for
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from obs_twin.link.paths import ensure, user_dirs
from obs_twin.zoo.catalogue import LIST_PATH, ModelEntry, ModelError, read_catalogue
from obs_twin.zoo.fetch import Progress, fetch_entries

__all__ = ["ModelEntry", "ModelError", "ModelStatus", "ModelStore", "Progress", "sha256_of"]

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ModelStatus:
    """How one model of the list stands on this machine."""

    entry: ModelEntry
    path: Path
    state: str
    """"ready", "missing" or "damaged"."""
    problem: str = ""
    """For a damaged one: what was expected and what was found."""


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class ModelStore:
    """The models of the list, on this machine.

    Args:
        cache_dir: where fetched files lie; the user's cache folder if None.
        list_path: the list of models.
    """

    def __init__(self, cache_dir: Path | None = None, list_path: Path = LIST_PATH) -> None:
        self._list_path = list_path
        self._cache_dir = user_dirs().models if cache_dir is None else cache_dir
        self._entries = read_catalogue(list_path)
        self._checked: dict[str, tuple[int, int]] = {}

    @property
    def cache_dir(self) -> Path:
        """Where fetched files lie; it need not exist yet."""
        return self._cache_dir

    def entry(self, name: str) -> ModelEntry:
        """The list's entry for `name`.

        Raises:
            ModelError: there is none.
        """
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(sorted(self._entries))
            raise ModelError(f"There is no model called {name!r}. The list has: {known}.") from None

    def path(self, name: str) -> Path:
        """The model's file, known to be the right one.

        Its sha256 is computed the first time, and again only if the file's size or time has changed.

        Raises:
            ModelError: unknown, not fetched yet, truncated or not the right bytes.
        """
        entry = self.entry(name)
        path = self._place(entry)
        try:
            stat = path.stat()
        except OSError:
            raise ModelError(
                f"The model {name!r} is not on this machine (expected at {path}). To fetch it, run: "
                f"obs-twin models fetch {name}"
            ) from None
        mark = (stat.st_size, stat.st_mtime_ns)
        if self._checked.get(name) != mark:
            problem = _problem(entry, path)
            if problem:
                raise ModelError(problem)
            self._checked[name] = mark
        return path

    def fetch(self, names: Iterable[str] | None = None, progress: Progress | None = None) -> tuple[Path, ...]:
        """Fetch what is missing or damaged, and return the paths of all that were asked for.

        Args:
            names: which models; every one of the list that is not for an optional part if None.
            progress: called as `progress(what, done_bytes, total_bytes)`.

        Raises:
            ModelError: no network, full disk, or the bytes that came are not the right ones.
        """
        entries = [self.entry(name) for name in (self._everyones() if names is None else names)]
        wanted = [entry for entry in entries if self._status(entry).state != "ready"]
        for entry in wanted:
            if entry.package is None and not entry.upstream:
                raise ModelError(_problem(entry, self._place(entry)) or f"{entry.name!r} cannot be fetched")
        if wanted:
            try:
                self._fetch(wanted, progress)
            except OSError as error:
                raise ModelError(
                    f"The models cannot be stored in {self._cache_dir}: {error.strerror or error}. Make "
                    "room, or let OBS_TWIN_CACHE name a folder on another disk, then run: obs-twin models "
                    "fetch"
                ) from error
        return tuple(self.path(entry.name) for entry in entries)

    def list(self) -> tuple[ModelStatus, ...]:
        """Every model and whether its file is there; looks at sizes only, so it is quick."""
        return tuple(self._status(entry, hashed=False) for entry in self._entries.values())

    def verify(self, names: Iterable[str] | None = None) -> tuple[ModelStatus, ...]:
        """Compute every file's sha256 and compare it with the list."""
        chosen = self._entries if names is None else names
        return tuple(self._status(self.entry(name)) for name in chosen)

    def _everyones(self) -> tuple[str, ...]:
        return tuple(name for name, entry in self._entries.items() if not entry.extra)

    def _place(self, entry: ModelEntry) -> Path:
        if entry.package is None and not entry.upstream:
            return self._list_path.parent / entry.file
        return self._cache_dir / entry.file

    def _status(self, entry: ModelEntry, hashed: bool = True) -> ModelStatus:
        path = self._place(entry)
        if not path.is_file():
            return ModelStatus(entry, path, "missing")
        problem = _problem(entry, path, hashed)
        return ModelStatus(entry, path, "damaged" if problem else "ready", problem)

    def _fetch(self, wanted: Sequence[ModelEntry], progress: Progress | None) -> None:
        folder = ensure(self._cache_dir)
        fetched = fetch_entries(wanted, folder, progress)
        for entry in wanted:
            part = fetched[entry.name]
            problem = _problem(entry, part)
            if problem:
                part.unlink(missing_ok=True)
                raise ModelError(problem)
            os.replace(part, self._place(entry))


def _problem(entry: ModelEntry, path: Path, hashed: bool = True) -> str:
    """What is wrong with the file of `entry` at `path`, in words; empty if nothing is."""
    todo = f"Delete {path} and run: obs-twin models fetch {entry.name}"
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            what = "truncated" if size < entry.bytes else "not the right file"
            return f"The model {entry.name!r} is {what}: expected {entry.bytes} bytes, found {size}. {todo}"
        found = sha256_of(path) if hashed else entry.sha256
    except OSError as error:
        return f"The model {entry.name!r} at {path} cannot be read: {error.strerror or error}. {todo}"
    if found != entry.sha256:
        expected = entry.sha256
        return f"The model {entry.name!r} has been changed: expected sha256 {expected}, found {found}. {todo}"
    return ""

"""Unpacking a zipped twin pack without trusting it.

The directory of the archive is judged as a whole before anything is written: one entry with a hostile name,
or a link, refuses the archive. Then only the files that are asked for are written, each no longer than it
may be.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from obs_twin.twin.manifest import MANIFEST_NAME, ManifestError, safe_path

MAX_ENTRIES = 2000
MAX_TOTAL_BYTES = 8 << 30
MAX_RATIO = 200
RATIO_FREE_BYTES = 1 << 20
"""Below this size a file may be packed as tightly as it likes: text and blank pictures are."""
COPY_BYTES = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


class PackArchive:
    """A zip file whose directory has been judged harmless.

    Raises:
        ManifestError: damaged, hostile, too large, or without a `twin.json`; the message says which entry.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise ManifestError(f"{path.name} is not a readable zip file: {error}") from error
        try:
            self._entries = _judge(self._zip.infolist())
            self._root = _root(self._entries)
        except BaseException:
            self._zip.close()
            raise

    def close(self) -> None:
        """Close the zip file."""
        self._zip.close()

    def __enter__(self) -> PackArchive:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """The content of a file of the pack, or None if there is none.

        Raises:
            ManifestError: longer than `limit_bytes`, or damaged.
        """
        entry = self._entries.get(self._root + path)
        if entry is None:
            return None
        if entry.file_size > limit_bytes:
            raise ManifestError(f"{path} has {entry.file_size} bytes; at most {limit_bytes} are allowed")
        return b"".join(self._blocks(entry, limit_bytes))

    def extract(self, paths: Iterable[tuple[str, int]], folder: Path) -> None:
        """Write files of the pack below `folder`, which must be ours alone. A missing one is left out.

        Args:
            paths: (path below the pack, most bytes it may have) of each file.
            folder: where to.

        Raises:
            ManifestError: damaged or too long.
            OSError: it cannot be written.
        """
        for path, limit_bytes in paths:
            entry = self._entries.get(self._root + path)
            if entry is None:
                continue
            target = folder.joinpath(*safe_path(path).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                for block in self._blocks(entry, limit_bytes):
                    out.write(block)

    def _blocks(self, entry: zipfile.ZipInfo, limit_bytes: int) -> Iterable[bytes]:
        left = limit_bytes
        for block in self._unpack(entry):
            left -= len(block)
            if left < 0:
                raise ManifestError(f"{entry.filename} is longer than the {limit_bytes} bytes it should have")
            yield block

    def _unpack(self, entry: zipfile.ZipInfo) -> Iterable[bytes]:
        try:
            with self._zip.open(entry) as source:
                while block := source.read(COPY_BYTES):
                    yield block
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise ManifestError(f"{entry.filename} in the zip file is damaged: {error}") from error


def _judge(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(entries) > MAX_ENTRIES:
        raise ManifestError(f"the zip file has {len(entries)} entries; at most {MAX_ENTRIES} are allowed")
    total_bytes = sum(entry.file_size for entry in entries)
    if total_bytes > MAX_TOTAL_BYTES:
        raise ManifestError(
            f"the zip file unpacks to {total_bytes / 1e9:.1f} GB; at most {MAX_TOTAL_BYTES / 1e9:.1f} GB are allowed"
        )
    judged: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for entry in entries:
        # `filename` is zipfile's tidied form: cut at a NUL, and with slashes for the system's own separator.
        name = entry.orig_filename.removesuffix("/") if entry.is_dir() else entry.orig_filename
        try:
            safe_path(name)
        except ManifestError as error:
            raise ManifestError(f"the zip file is refused: {error}") from error
        if name.casefold() in seen:
            raise ManifestError(f"the zip file is refused: it holds {name!r} twice")
        seen.add(name.casefold())
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ManifestError(f"the zip file is refused: {name!r} is a link or a device, not a plain file")
        if entry.flag_bits & _ENCRYPTED:
            raise ManifestError(f"the zip file is refused: {name!r} is locked with a password")
        if entry.compress_type not in _METHODS:
            raise ManifestError(f"the zip file is refused: {name!r} is packed by an unusual method")
        if entry.file_size > RATIO_FREE_BYTES and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
            raise ManifestError(f"the zip file is refused: {name!r} would grow more than {MAX_RATIO}-fold")
        if not entry.is_dir():
            judged[name] = entry
    return judged


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The prefix of the pack's files: none, or the one folder that was zipped."""
    if MANIFEST_NAME in entries:
        return ""
    found = [name for name in entries if PurePosixPath(name).name == MANIFEST_NAME and name.count("/") == 1]
    if len(found) != 1:
        raise ManifestError(f"the zip file holds no {MANIFEST_NAME}, so it is not a twin pack")
    return found[0].removesuffix(MANIFEST_NAME)

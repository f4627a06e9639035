"""Opening a twin pack: the one gate between a set of model files and a live twin.

    with open_pack(path) as pack:                       # raises PackError: the card is shown, with the
    error's words
        photos = pack.paths("face")
        ...
        pack.check()                                    # every few seconds while live

Nothing of a pack is used before all of this holds: the manifest is as it was written, each listed file has
its exact bytes, and (for a real person) the consent record is signed by a key trusted as that person's, fits
these models, is neither too early nor expired nor revoked, and covers the use. Files that the manifest does
not list are ignored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from obs_twin.link.paths import user_dirs
from obs_twin.twin.archive import PackArchive
from obs_twin.twin.consent import MAX_RECORD_BYTES, RECORD_NAME, ConsentRecord, Use, parse_record
from obs_twin.twin.gate import check_consent
from obs_twin.twin.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    ManifestError,
    check_pack_name,
    parse_manifest,
)
from obs_twin.twin.refusal import (
    ConsentAltered,
    ConsentExpired,
    ConsentForeign,
    ConsentMissing,
    ConsentNotYetValid,
    ConsentRevoked,
    ConsentScope,
    PackDamaged,
    PackError,
    PackMissing,
    PackUnsafe,
    TrustUnreadable,
)
from obs_twin.twin.scratch import ScratchFolder
from obs_twin.twin.trust import LocalTrust
from obs_twin.zoo.store import sha256_of

__all__ = [
    "ConsentAltered",
    "ConsentExpired",
    "ConsentForeign",
    "ConsentMissing",
    "ConsentNotYetValid",
    "ConsentRevoked",
    "ConsentScope",
    "PackDamaged",
    "PackError",
    "PackInfo",
    "PackMissing",
    "PackUnsafe",
    "TrustUnreadable",
    "TwinPack",
    "find_pack",
    "list_packs",
    "open_pack",
    "pack_dirs",
    "read_manifest",
    "read_pack",
]

_AGAIN = "Get the pack again from the person who made it."
_LIST = "To see those that there are: obs-twin twin list"


@dataclass(frozen=True)
class PackInfo:
    """One line of a list of packs. `problem` is empty if the pack could be opened (its hashes aside)."""

    path: Path
    name: str
    display_name: str
    synthetic: bool
    expires: datetime | None
    consent_id: str | None
    problem: str
    face_kind: str = ""


class TwinPack:
    """An opened pack. Close it (or use `with`) to remove what was unpacked; see `open_pack`."""

    def __init__(
        self,
        source: Path,
        folder: Path,
        manifest: Manifest,
        record: ConsentRecord | None,
        trust: LocalTrust,
        scope: Use,
        scratch: ScratchFolder | None,
    ) -> None:
        self.source = source
        self.folder = folder
        self.manifest = manifest
        self.record = record
        self._trust = trust
        self._scope = scope
        self._scratch = scratch
        self._marks = {file.path: _mark(folder / file.path) for file in manifest.files}

    @property
    def name(self) -> str:
        """The pack's short name, as on the command line."""
        return self.manifest.name

    @property
    def display_name(self) -> str:
        """Whose twin it is, as the badge says it."""
        return self.manifest.display_name

    @property
    def synthetic(self) -> bool:
        """True if that person does not exist."""
        return self.manifest.synthetic

    @property
    def consent_line(self) -> str:
        """For the panel and the report, in one line."""
        if self.record is None:
            return "synthetic person, no consent needed"
        expires = self.record.expires
        return f"consent {self.record.id} by {self.record.subject_name}, until {expires:%Y-%m-%d %H:%M} UTC"

    @property
    def roles(self) -> tuple[str, ...]:
        """What the pack brings: "face", "voice", "background"."""
        return tuple(part.role for part in self.manifest.parts)

    def kind(self, role: str) -> str | None:
        """The kind of the model for `role`, or None if the pack has none."""
        part = self.manifest.part(role)
        return None if part is None else part.kind

    def paths(self, role: str) -> tuple[Path, ...]:
        """The verified files for `role`, in the manifest's order; empty if the pack has none."""
        part = self.manifest.part(role)
        return () if part is None else tuple(self.folder / file.path for file in part.files)

    def check(self, now: datetime | None = None, scope: Use | None = None) -> None:
        """Whether the pack may still be live: a few microseconds, and no file of it is read again.

        Args:
            now: the time, with time zone; the present if None.
            scope: what it is used for from now on; as before if None.

        Raises:
            PackError: expired, revoked, no longer trusted, out of scope, or a model file was replaced.
        """
        self._scope = scope or self._scope
        check_consent(self.source, self.manifest, self.record, now or _present(), self._scope, self._trust)
        for path, mark in self._marks.items():
            if _mark(self.folder / path) != mark:
                raise PackDamaged(
                    f"The file {path} of the twin pack {self.name!r} was replaced while the twin was live. "
                    "Open the pack again."
                )

    def close(self) -> None:
        """Remove what was unpacked from a zip. The pack must not be used afterwards."""
        if self._scratch is not None:
            self._scratch.close()
            self._scratch = None

    def __enter__(self) -> TwinPack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_pack(
    path: Path | str,
    *,
    now: datetime | None = None,
    scope: Use | None = None,
    trust: LocalTrust | None = None,
) -> TwinPack:
    """Open a twin pack, if everything about it is in order.

    Args:
        path: the pack's folder, or a zip of it.
        now: the time, with time zone; the present if None.
        scope: what the twin is about to be used for. A consent that is limited in some respect refuses a use
            that says nothing about it.
        trust: the local lists; the user's own if None.

    Raises:
        PackError: one of its kinds above.
    """
    source = Path(path)
    moment = now or _present()
    use = scope or Use()
    lists = trust or LocalTrust()
    if source.is_dir():
        manifest, record = _judge_folder(source, moment, use, lists)
        _verify_files(source, source, manifest, record)
        return TwinPack(source, source, manifest, record, lists, use, None)
    if not source.is_file():
        raise PackMissing(f"There is no twin pack at {source}. {_LIST}")
    return _open_zip(source, moment, use, lists)


def pack_dirs() -> tuple[Path, ...]:
    """Where packs are looked for: the user's own, then the built-in personas that were rendered here."""
    dirs = user_dirs()
    return (dirs.packs, dirs.cache / "builtin")


def find_pack(name: str, dirs: Sequence[Path] | None = None) -> Path:
    """The path of a pack, from its name or from a path.

    Raises:
        PackMissing: there is none.
    """
    if os.sep in name or "/" in name or name.endswith(".zip") or Path(name, MANIFEST_NAME).is_file():
        given = Path(name).expanduser()
        if given.exists():
            return given
        raise PackMissing(f"There is no twin pack at {given}. {_LIST}")
    folders = pack_dirs() if dirs is None else dirs
    with contextlib.suppress(ManifestError):
        check_pack_name(name)
        for folder in folders:
            for candidate in (folder / name, folder / f"{name}.zip"):
                if candidate.exists():
                    return candidate
    places = " and ".join(str(folder) for folder in folders)
    raise PackMissing(
        f"There is no twin pack called {name!r} in {places}. To see those that there are: obs-twin twin "
        "list. To make one: obs-twin twin new NAME --photo FILE"
    )


def list_packs(
    dirs: Sequence[Path] | None = None, *, now: datetime | None = None, trust: LocalTrust | None = None
) -> tuple[PackInfo, ...]:
    """Every pack in `dirs`, the refused ones with the reason. Model files are not read: `open_pack` does that."""
    lists = trust or LocalTrust()
    found: list[PackInfo] = []
    for folder in pack_dirs() if dirs is None else dirs:
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.suffix == ".zip" or (path / MANIFEST_NAME).is_file():
                found.append(_info(path, now or _present(), lists))
    return tuple(found)


def read_pack(path: Path | str) -> tuple[Manifest, ConsentRecord | None]:
    """The manifest and the record of a pack, whether it may be opened or not; for `inspect`.

    Raises:
        PackError: they cannot be read, or are not as they were written.
    """
    source = Path(path)
    manifest, raw = _read(source)
    return manifest, None if raw is None else _parse_record(source, raw)


def read_manifest(path: Path | str) -> Manifest:
    """The manifest of a pack, whatever its record is like.

    Raises:
        PackError: it cannot be read, or is not as it was written.
    """
    return _read(Path(path))[0]


def _read(source: Path) -> tuple[Manifest, bytes | None]:
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise PackMissing(f"There is no twin pack at {source}. {_LIST}")
    with _archive(source) as archive:
        return _read_archive(source, archive)


def _info(path: Path, now: datetime, trust: LocalTrust) -> PackInfo:
    try:
        manifest, record = read_pack(path)
    except PackError as error:
        return PackInfo(path, path.stem, "", False, None, None, str(error))
    problem = ""
    try:
        check_consent(path, manifest, record, now, None, trust)
    except PackError as error:
        problem = str(error)
    expires, consent_id = (None, None) if record is None else (record.expires, record.id)
    face = manifest.part("face")
    return PackInfo(
        path,
        manifest.name,
        manifest.display_name,
        manifest.synthetic,
        expires,
        consent_id,
        problem,
        "" if face is None else face.kind,
    )


def _open_zip(source: Path, now: datetime, scope: Use, trust: LocalTrust) -> TwinPack:
    with _archive(source) as archive:
        manifest, raw = _read_archive(source, archive)
        record = None if raw is None else _parse_record(source, raw)
        check_consent(source, manifest, record, now, scope, trust)
        try:
            scratch = ScratchFolder(user_dirs().cache / "unpacked")
        except OSError as error:
            raise PackError(
                f"{source.name} cannot be unpacked: {error}. Make room on the disk and try again."
            ) from error
        try:
            files = _listed(manifest, record)
            archive.extract(((file.path, file.bytes) for file in files), scratch.path)
            _verify_files(source, scratch.path, manifest, record)
            return TwinPack(source, scratch.path, manifest, record, trust, scope, scratch)
        except ManifestError as error:
            scratch.close()
            raise PackDamaged(f"The twin pack {source.name} cannot be unpacked: {error}. {_AGAIN}") from error
        except OSError as error:
            scratch.close()
            raise PackError(
                f"{source.name} cannot be unpacked into {scratch.path}: {error}. Make room on the disk and try again."
            ) from error
        except BaseException:
            scratch.close()
            raise


def _archive(source: Path) -> PackArchive:
    try:
        return PackArchive(source)
    except ManifestError as error:
        raise PackUnsafe(f"The twin pack {source.name} is not opened: {error}. {_AGAIN}") from error


def _read_archive(source: Path, archive: PackArchive) -> tuple[Manifest, bytes | None]:
    try:
        raw = archive.read(MANIFEST_NAME, MAX_MANIFEST_BYTES)
        record = archive.read(RECORD_NAME, MAX_RECORD_BYTES)
        if raw is None:
            raise ManifestError(f"there is no {MANIFEST_NAME}")
        return parse_manifest(raw), record
    except ManifestError as error:
        raise PackDamaged(f"The twin pack {source.name} cannot be used: {error}. {_AGAIN}") from error


def _read_folder(source: Path) -> tuple[Manifest, bytes | None]:
    try:
        raw = _read_small(source / MANIFEST_NAME, MAX_MANIFEST_BYTES)
        if raw is None:
            raise ManifestError(f"there is no {MANIFEST_NAME} in the folder")
        return parse_manifest(raw), _read_small(source / RECORD_NAME, MAX_RECORD_BYTES)
    except (ManifestError, OSError) as error:
        raise PackDamaged(f"The twin pack {source} cannot be used: {error}. {_AGAIN}") from error


def _judge_folder(source: Path, now: datetime, scope: Use, trust: LocalTrust) -> tuple[Manifest, ConsentRecord | None]:
    manifest, raw = _read_folder(source)
    record = None if raw is None else _parse_record(source, raw)
    check_consent(source, manifest, record, now, scope, trust)
    return manifest, record


def _read_small(path: Path, limit_bytes: int) -> bytes | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        raw = file.read(limit_bytes + 1)
    if len(raw) > limit_bytes:
        raise ManifestError(f"{path.name} is longer than {limit_bytes} bytes")
    return raw


def _parse_record(source: Path, raw: bytes) -> ConsentRecord:
    try:
        return parse_record(raw)
    except ManifestError as error:
        raise ConsentAltered(
            f"The consent record of the twin pack {source.name} is refused: {error}. Ask the person shown "
            "for a new record."
        ) from error


def _listed(manifest: Manifest, record: ConsentRecord | None) -> Iterable[FileEntry]:
    yield from manifest.files
    if record is not None and record.clip is not None:
        yield record.clip


def _verify_files(source: Path, folder: Path, manifest: Manifest, record: ConsentRecord | None) -> None:
    for file in _listed(manifest, record):
        where = f"The file {file.path} of the twin pack {source.name}"
        path = folder / file.path
        try:
            if not path.is_file():
                raise PackDamaged(f"{where} is missing. {_AGAIN}")
            size = path.stat().st_size
            if size != file.bytes:
                what = "is truncated" if size < file.bytes else "has been changed"
                raise PackDamaged(f"{where} {what}: expected {file.bytes} bytes, found {size}. {_AGAIN}")
            found = sha256_of(path)
        except OSError as error:
            raise PackDamaged(f"{where} cannot be read: {error.strerror or error}. {_AGAIN}") from error
        if found != file.sha256:
            raise PackDamaged(f"{where} has been changed: expected sha256 {file.sha256}, found {found}. {_AGAIN}")


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _present() -> datetime:
    return datetime.now(timezone.utc)

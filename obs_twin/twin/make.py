"""Making a twin pack: copy the model files into a folder, list them, have the subject sign.

folder = write_pack(packs / "ada", name="ada", display_name="Ada Lovelace", subject_kind="person",
                    parts=[PartFiles("face", "mesh", {"face/photo.png": Path("me.png")}, "her own
                    photo")])
add_consent(folder, key=key, operator="Grace Hopper", days=30)
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from obs_twin.link.paths import user_dirs
from obs_twin.twin.consent import (
    DEFAULT_DAYS,
    RECORD_NAME,
    ConsentRecord,
    Scope,
    encode_record,
    new_record,
    standard_statement,
)
from obs_twin.twin.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    ManifestError,
    Part,
    check_display_name,
    check_pack_name,
    encode_manifest,
    parse_manifest,
    safe_path,
)
from obs_twin.twin.trust import write_atomic
from obs_twin.zoo.store import sha256_of

CLIP_STEM = "consent/statement"


class MakeError(RuntimeError):
    """A pack or a key cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class PartFiles:
    """One model of a pack to be: {path in the pack: file to copy, or its content}."""

    role: str
    kind: str
    files: Mapping[str, Path | bytes]
    provenance: str


def write_pack(
    folder: Path,
    *,
    name: str,
    display_name: str,
    subject_kind: str,
    parts: Sequence[PartFiles],
    created: datetime | None = None,
) -> Path:
    """Write a pack without a consent record, whole or not at all, and return its folder.

    Args:
        folder: must not exist yet.
        name: the pack's short name.
        display_name: whose twin it is; the badge shows it.
        subject_kind: "person" or "synthetic".
        parts: the models.
        created: the time that the manifest gives; the present if None.

    Raises:
        MakeError: the folder exists, a source is missing, or a value is not allowed.
    """
    if folder.exists():
        raise MakeError(f"{folder} exists already. Choose another name, or delete the old pack first.")
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        manifest = Manifest(
            name=check_pack_name(name),
            display_name=check_display_name(display_name),
            subject_kind=subject_kind,
            parts=tuple(_copy_part(part, temporary) for part in parts),
            created=created or datetime.now(timezone.utc),
        )
        raw = encode_manifest(manifest)
        parse_manifest(raw)  # whatever cannot be opened later is not written
        (temporary / MANIFEST_NAME).write_bytes(raw)
        temporary.rename(folder)
    except (ManifestError, OSError) as error:
        raise MakeError(f"The twin pack {name!r} cannot be made: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def add_consent(
    folder: Path,
    *,
    key: Ed25519PrivateKey,
    operator: str,
    days: int = DEFAULT_DAYS,
    scope: Scope | None = None,
    statement: str | None = None,
    clip: Path | None = None,
    now: datetime | None = None,
) -> ConsentRecord:
    """Sign a consent record for the pack as it is, and put it in; an older record is replaced.

    Args:
        folder: the pack.
        key: the subject's own key.
        operator: who will use the twin.
        days: how long the consent lasts.
        scope: what it is limited to; no limit if None.
        statement: the words agreed to; the standard ones if None.
        clip: a recording of the subject saying them, copied into the pack.
        now: when the consent begins; the present if None.

    Raises:
        MakeError: not a folder with a pack, or a value is not allowed.
    """
    try:
        manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
        if manifest.synthetic:
            raise ManifestError("a synthetic person gives no consent")
        start = now or datetime.now(timezone.utc)
        roles = [part.role for part in manifest.parts]
        entry = None
        if clip is not None:
            path = f"{CLIP_STEM}{clip.suffix.lower()}"
            entry = _copy_file(path, clip, folder)
        record = new_record(
            subject_name=manifest.display_name,
            operator=operator,
            models_digest=manifest.models_digest,
            key=key,
            start=start,
            days=days,
            scope=scope,
            statement=statement
            or standard_statement(
                manifest.display_name, operator, scope or Scope(), start + timedelta(days=days), roles
            ),
            clip=entry,
        )
        write_atomic(folder / RECORD_NAME, encode_record(record))
    except (ManifestError, OSError) as error:
        raise MakeError(f"The consent for {folder.name!r} cannot be written: {error}") from error
    return record


def export_zip(folder: Path, target: Path) -> None:
    """Write a pack's listed files, manifest and record as one zip; whole or not at all.

    Raises:
        MakeError: the pack is incomplete or the zip cannot be written.
    """
    temporary = target.with_name(f".{target.name}.new")
    try:
        manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
        paths = [MANIFEST_NAME, *(file.path for file in manifest.files)]
        consent = folder / "consent"
        if consent.is_dir():
            paths += [f"consent/{path.name}" for path in sorted(consent.iterdir()) if path.is_file()]
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in paths:
                archive.write(folder / path, path)
        temporary.replace(target)
    except (ManifestError, OSError) as error:
        temporary.unlink(missing_ok=True)
        raise MakeError(f"The twin pack {folder.name!r} cannot be exported to {target}: {error}") from error


def key_path(person: str) -> Path:
    """Where a person's signing key lies, if it was made on this machine; one key for all of their twins."""
    digest = hashlib.sha256(person.casefold().encode("utf-8")).hexdigest()[:16]
    return user_dirs().data / "keys" / f"{digest}.pem"


def subject_key(path: Path, passphrase: str = "") -> Ed25519PrivateKey:
    """The subject's signing key from `path`, made there if there is none.

    Args:
        path: a PEM file, readable by its owner only.
        passphrase: locks the file; empty for none.

    Raises:
        MakeError: wrong passphrase, or not such a key.
    """
    secret = passphrase.encode("utf-8") or None
    try:
        if path.exists():
            key = load_pem_private_key(path.read_bytes(), secret)
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError("an Ed25519 key was expected")
            return key
        key = Ed25519PrivateKey.generate()
        lock: KeySerializationEncryption = NoEncryption() if secret is None else BestAvailableEncryption(secret)
        write_atomic(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MakeError(f"The signing key {path} cannot be used: {error}. Is the passphrase right?") from error
    return key


def _copy_part(part: PartFiles, folder: Path) -> Part:
    files = tuple(_copy_file(path, source, folder) for path, source in part.files.items())
    return Part(part.role, part.kind, files, part.provenance)


def _copy_file(path: str, source: Path | bytes, folder: Path) -> FileEntry:
    target = folder.joinpath(*safe_path(path).parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        target.write_bytes(source)
    elif source != target:
        shutil.copyfile(source, target)
    return FileEntry(path, sha256_of(target), target.stat().st_size)

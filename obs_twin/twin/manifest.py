"""The manifest of a twin pack, `twin.json`: who is shown, and exactly which model files make the twin.

    {
      "created": "2026-11-22T08:00:00Z",
      "format": 1,
      "models": [{"role": "face", "kind": "mesh", "provenance": "...",
                  "files": [{"path": "face/photo.png", "sha256": "...", "bytes": 123456}]}],
      "name": "ada",
      "seal": "...",
      "subject": {"display_name": "Ada Lovelace", "kind": "person"}
    }

The file has one valid spelling (`encode`), and `seal` is the sha256 of that spelling without the seal, so
any change is noticed, also where nothing is signed. Against a deliberate forger the seal is no help; the
signature in the consent record is, which covers `models_digest`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any

MANIFEST_NAME = "twin.json"
MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_NAME_CHARS = 80

PERSON = "person"
SYNTHETIC = "synthetic"

KINDS: Mapping[str, frozenset[str]] = {
    "face": frozenset({"dfm", "mesh"}),
    "voice": frozenset({"neural", "rvc", "world"}),
    "background": frozenset({"image"}),
}
"""Roles that a pack may fill, and the kinds of model this version can open for each."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PACK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_FORBIDDEN = set('<>:"|?*\\')


class ManifestError(ValueError):
    """A document is not as the format demands; the message says where."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a pack: its path with forward slashes below the pack's folder, and its exact content."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Part:
    """One model of the twin: what it is for, how it is opened, its files, and where it comes from."""

    role: str
    kind: str
    files: tuple[FileEntry, ...]
    provenance: str


@dataclass(frozen=True)
class Manifest:
    """The parsed `twin.json`."""

    name: str
    display_name: str
    subject_kind: str
    parts: tuple[Part, ...]
    created: datetime

    @property
    def synthetic(self) -> bool:
        """True if the person shown does not exist."""
        return self.subject_kind == SYNTHETIC

    def part(self, role: str) -> Part | None:
        """The model for `role`, or None if the pack has none."""
        return next((part for part in self.parts if part.role == role), None)

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every listed file."""
        return tuple(file for part in self.parts for file in part.files)

    @property
    def models_digest(self) -> str:
        """The sha256 of the list of models: what a consent record is given for."""
        return hashlib.sha256(encode([_part_document(part) for part in self.parts])).hexdigest()


def check_pack_name(name: str) -> str:
    """Return `name` if it is fit for a pack: small letters, digits, `-` and `_`, at most 40.

    Raises:
        ManifestError: it is not.
    """
    if not _PACK_NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ManifestError(
            f"{name!r} is not a name for a twin pack: use small letters, digits, '-' and '_', at most 40, "
            "beginning with a letter or digit"
        )
    return name


def check_display_name(name: str) -> str:
    """Return `name` if it can be shown as a person's name: 1 to 80 printable characters.

    Raises:
        ManifestError: it cannot.
    """
    if not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable() or name != name.strip():
        raise ManifestError(f"the name {name!r} is empty, longer than {MAX_NAME_CHARS} characters, or not printable")
    return name


def safe_path(path: str) -> PurePosixPath:
    """Return `path` if it stays below its folder and is a plain file name on every system.

    Refused are absolute paths, `..`, drive letters, backslashes, names that Windows reserves for devices or
    changes silently (a last dot or space), and control characters.

    Raises:
        ManifestError: which of these it is.
    """
    if not path or len(path) > 240:
        raise ManifestError(f"a path of {len(path)} characters; 1 to 240 are allowed")
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise ManifestError(f"the path {path!r} holds control characters")
    if _FORBIDDEN & set(path):
        raise ManifestError(f"the path {path!r} holds one of {' '.join(sorted(_FORBIDDEN))}")
    if path.startswith("/"):
        raise ManifestError(f"the path {path!r} is absolute")
    for piece in path.split("/"):
        if piece in ("", ".", ".."):
            raise ManifestError(f"the path {path!r} has a part {piece!r}, which may lead out of the pack")
        if piece[-1] in ". ":
            raise ManifestError(f"the path {path!r} has a part that ends in a dot or a space")
        if _RESERVED.fullmatch(piece):
            raise ManifestError(f"the path {path!r} uses {piece!r}, the name of a device on Windows")
    return PurePosixPath(path)


def encode(document: object) -> bytes:
    """The one valid spelling of a document of a pack: sorted keys, two spaces, UTF-8, a last newline."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8")


def decode(raw: bytes, what: str) -> dict[str, Any]:
    """Parse a document and insist on its one valid spelling (line ends may be Windows').

    Raises:
        ManifestError: not JSON, not an object, or spelled in any other way.
    """
    try:
        document = json.loads(raw.decode("utf-8"))
        canonical = encode(document)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{what} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ManifestError(f"{what} should be one JSON object, found {type(document).__name__}")
    if canonical != raw.replace(b"\r\n", b"\n"):
        raise ManifestError(f"{what} has been changed: it is not spelled as OBS Twin writes it")
    return document


def format_time(moment: datetime) -> str:
    """A time as packs hold it: UTC, whole seconds, like 2026-11-22T08:00:00Z."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object, what: str) -> datetime:
    """The inverse of `format_time`.

    Raises:
        ManifestError: not such a time.
    """
    if isinstance(text, str):
        try:
            moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        except ValueError:
            pass
        else:
            if format_time(moment) == text:
                return moment
    raise ManifestError(f"{what} should be a time like 2026-11-22T08:00:00Z, found {text!r}")


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `twin.json`."""
    document = {
        "format": MANIFEST_FORMAT,
        "name": manifest.name,
        "subject": {"display_name": manifest.display_name, "kind": manifest.subject_kind},
        "models": [_part_document(part) for part in manifest.parts],
        "created": format_time(manifest.created),
    }
    document["seal"] = hashlib.sha256(encode(document)).hexdigest()
    return encode(document)


def parse_manifest(raw: bytes) -> Manifest:
    """Parse and check `twin.json`.

    Raises:
        ManifestError: altered, of another format, with unknown roles or kinds, or with unsafe paths.
    """
    document = decode(raw, MANIFEST_NAME)
    seal = document.pop("seal", None)
    if document.get("format") != MANIFEST_FORMAT:
        raise ManifestError(
            f"{MANIFEST_NAME} has format {document.get('format')!r}; this version reads format {MANIFEST_FORMAT}"
        )
    if seal != hashlib.sha256(encode(document)).hexdigest():
        raise ManifestError(f"{MANIFEST_NAME} has been changed since it was written: its seal does not fit")
    fields = require(document, MANIFEST_NAME, format=int, name=str, subject=dict, models=list, created=str)
    subject = require(fields["subject"], "subject", display_name=str, kind=str)
    if subject["kind"] not in (PERSON, SYNTHETIC):
        raise ManifestError(f"the subject's kind should be 'person' or 'synthetic', found {subject['kind']!r}")
    parts = tuple(_parse_part(item) for item in fields["models"])
    roles = [part.role for part in parts]
    if not parts or len(set(roles)) != len(roles):
        raise ManifestError(f"a pack needs one model or more, and at most one per role; found {roles}")
    paths = [file.path.casefold() for part in parts for file in part.files]
    if len(set(paths)) != len(paths):
        raise ManifestError("a file is listed twice")
    return Manifest(
        name=check_pack_name(fields["name"]),
        display_name=check_display_name(subject["display_name"]),
        subject_kind=subject["kind"],
        parts=parts,
        created=parse_time(fields["created"], "created"),
    )


def require(document: object, what: str, **types: type | tuple[type, ...]) -> dict[str, Any]:
    """Return `document` if it is an object with exactly these keys, each of its type.

    Raises:
        ManifestError: it is not.
    """
    if not isinstance(document, dict) or set(document) != set(types):
        found = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise ManifestError(f"{what} should have the keys {sorted(types)}, found {found}")
    for key, wanted in types.items():
        value = document[key]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise ManifestError(f"{what}: {key!r} is a {type(value).__name__}, which it must not be")
    return document


def parse_file(item: object, what: str) -> FileEntry:
    """Parse one `{"path", "sha256", "bytes"}`.

    Raises:
        ManifestError: anything else.
    """
    fields = require(item, what, path=str, sha256=str, bytes=int)
    safe_path(fields["path"])
    if not _SHA256.fullmatch(fields["sha256"]) or fields["bytes"] < 0:
        raise ManifestError(f"{what}: {fields['path']!r} has no valid sha256 and size")
    return FileEntry(fields["path"], fields["sha256"], fields["bytes"])


def file_document(file: FileEntry) -> dict[str, object]:
    """The inverse of `parse_file`."""
    return {"path": file.path, "sha256": file.sha256, "bytes": file.bytes}


def _parse_part(item: object) -> Part:
    fields = require(item, "a model", role=str, kind=str, files=list, provenance=str)
    role, kind = fields["role"], fields["kind"]
    if role not in KINDS:
        raise ManifestError(f"the role {role!r} is unknown; this version knows {', '.join(sorted(KINDS))}")
    if kind not in KINDS[role]:
        known = ", ".join(sorted(KINDS[role]))
        raise ManifestError(
            f"the {role} model is of kind {kind!r}, which this version cannot open; it can open {known}"
        )
    files = tuple(parse_file(file, f"the {role} model's file") for file in fields["files"])
    if not files:
        raise ManifestError(f"the {role} model lists no files")
    return Part(role, kind, files, fields["provenance"])


def _part_document(part: Part) -> dict[str, object]:
    return {
        "role": part.role,
        "kind": part.kind,
        "files": [file_document(file) for file in part.files],
        "provenance": part.provenance,
    }

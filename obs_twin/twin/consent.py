"""The consent record, `consent/record.json`: the person shown says what may be done with their twin.

The record is signed with the subject's own Ed25519 key (RFC 8032) and names, by `models_digest`, exactly the
model files it was given for. What it can prove: that whoever holds this key agreed to these models, for this
use, in this time. That the key is really that person's is a human's judgement, made once per key
(`obs_twin.twin.trust`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from obs_twin.twin.manifest import (
    FileEntry,
    ManifestError,
    check_display_name,
    decode,
    encode,
    file_document,
    format_time,
    parse_file,
    parse_time,
    require,
)

RECORD_NAME = "consent/record.json"
RECORD_FORMAT = 1
MAX_RECORD_BYTES = 1 << 18
DEFAULT_DAYS = 30
MAX_DAYS = 366
_SIGNED_PREFIX = b"obs-twin consent record 1\n"
"""Keeps a signature over a record from being used as one over anything else."""

STATEMENT = (
    "I, {subject}, am aware that {material} used to make a digital twin of me, and that {operator} may use it live to "
    "appear with my {looks}, always labelled as a digital twin, for: {uses}. I was told that I can end this consent at "
    "any time. It ends by itself on {expires}."
)
MATERIAL = {"face": "pictures of my face", "voice": "recordings of my voice", "background": "pictures of my room"}
LOOKS = {"face": "face", "voice": "voice", "background": "room"}


@dataclass(frozen=True)
class Scope:
    """For what the twin may be used. In each list, an empty one means no limit; words compare without case."""

    purposes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()

    def describe(self) -> str:
        """In plain words, for the statement and for `inspect`."""
        limits = [
            ("purpose", self.purposes),
            ("audience", self.audiences),
            ("event", self.events),
            ("program", self.apps),
        ]
        words = [
            f"the {label if len(values) == 1 else label + 's'} {_and([f'{value!r}' for value in values])}"
            for label, values in limits
            if values
        ]
        return f"{_and(words)} only" if words else "live meetings, recordings and streams"


@dataclass(frozen=True)
class Use:
    """What the twin is about to be used for, as far as the operator has said."""

    purpose: str | None = None
    audience: str | None = None
    event: str | None = None
    app: str | None = None

    def outside(self, scope: Scope) -> str:
        """Why this use is outside of `scope`, in words; empty if it is inside.

        Where the scope has a limit, saying nothing is outside.
        """
        for what, given, allowed in (
            ("purpose", self.purpose, scope.purposes),
            ("audience", self.audience, scope.audiences),
            ("event", self.event, scope.events),
            ("program", self.app, scope.apps),
        ):
            if not allowed:
                continue
            names = ", ".join(repr(name) for name in allowed)
            if given is None:
                return f"it is limited to the {what} {names}, and nobody has said yet which {what} this is"
            if given.strip().casefold() not in {name.casefold() for name in allowed}:
                return f"it is limited to the {what} {names}, and this is {given!r}"
        return ""


@dataclass(frozen=True)
class ConsentRecord:
    """A parsed record. `signature` is empty until it is signed; times are UTC, whole seconds."""

    id: str
    subject_name: str
    operator: str
    statement: str
    scope: Scope
    start: datetime
    expires: datetime
    models_digest: str
    public_key: str
    clip: FileEntry | None = None
    signature: str = field(default="", repr=False)

    @property
    def fingerprint(self) -> str:
        """The subject's key in a form that people can compare, like "3f1c 99a0 ...": 16 bytes of its sha256."""
        return fingerprint(self.public_key)


def fingerprint(public_key: str) -> str:
    """See `ConsentRecord.fingerprint`."""
    digest = hashlib.sha256(bytes.fromhex(public_key)).hexdigest()[:32]
    return " ".join(digest[i : i + 4] for i in range(0, 32, 4))


def public_key_of(key: Ed25519PrivateKey) -> str:
    """The public half, as 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def standard_statement(
    subject_name: str, operator: str, scope: Scope, expires: datetime, roles: Iterable[str] = ("face", "voice")
) -> str:
    """What the subject agrees to, in the words that OBS Twin proposes, for a twin that has models for `roles`."""
    known = [role for role in MATERIAL if role in set(roles)]
    return STATEMENT.format(
        subject=subject_name,
        operator=operator,
        material=_and([MATERIAL[role] for role in known]) + " were",
        looks=_and([LOOKS[role] for role in known]),
        uses=scope.describe(),
        expires=f"{expires:%d %B %Y}",
    )


def new_record(
    *,
    subject_name: str,
    operator: str,
    models_digest: str,
    key: Ed25519PrivateKey,
    start: datetime,
    days: int = DEFAULT_DAYS,
    scope: Scope | None = None,
    statement: str,
    clip: FileEntry | None = None,
) -> ConsentRecord:
    """Make and sign a record.

    Raises:
        ManifestError: a value that no record may hold.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ManifestError(f"a consent may last 1 to {MAX_DAYS} days; {days} were asked for")
    scope = scope or Scope()
    start = start.replace(microsecond=0)
    expires = start + timedelta(days=days)
    draft = ConsentRecord(
        id=secrets.token_hex(8),
        subject_name=check_display_name(subject_name),
        operator=check_display_name(operator),
        statement=statement,
        scope=scope,
        start=start,
        expires=expires,
        models_digest=models_digest,
        public_key=public_key_of(key),
        clip=clip,
    )
    return replace(draft, signature=key.sign(_signed_bytes(draft)).hex())


def encode_record(record: ConsentRecord) -> bytes:
    """The bytes of `consent/record.json`."""
    return encode(_document(record) | {"signature": record.signature})


def parse_record(raw: bytes) -> ConsentRecord:
    """Parse a record and check its signature against the key it names (not whether that key is trusted).

    Raises:
        ManifestError: altered, incomplete, of another format, or the signature does not fit.
    """
    document = decode(raw, RECORD_NAME)
    if document.get("format") != RECORD_FORMAT:
        raise ManifestError(
            f"{RECORD_NAME} has format {document.get('format')!r}; this version reads format {RECORD_FORMAT}"
        )
    texts = ("id", "subject_name", "operator", "statement", "start", "expires", "models_sha256", "public_key")
    types: dict[str, type | tuple[type, ...]] = dict.fromkeys((*texts, "signature"), str)
    types |= {"format": int, "scope": dict, "clip": (dict, type(None))}
    fields = require(document, RECORD_NAME, **types)
    scope = require(fields["scope"], "scope", purposes=list, audiences=list, events=list, apps=list)
    record = ConsentRecord(
        id=fields["id"],
        subject_name=check_display_name(fields["subject_name"]),
        operator=check_display_name(fields["operator"]),
        statement=fields["statement"],
        scope=Scope(**{key: _words(values, key) for key, values in scope.items()}),
        start=parse_time(fields["start"], "start"),
        expires=parse_time(fields["expires"], "expires"),
        models_digest=fields["models_sha256"],
        public_key=fields["public_key"],
        clip=None if fields["clip"] is None else parse_file(fields["clip"], "the statement's clip"),
        signature=fields["signature"],
    )
    if record.expires <= record.start or record.expires - record.start > timedelta(days=MAX_DAYS):
        raise ManifestError(f"the consent lasts from {fields['start']} to {fields['expires']}, which is not allowed")
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(record.public_key))
        key.verify(bytes.fromhex(record.signature), _signed_bytes(record))
    except (ValueError, InvalidSignature) as error:
        raise ManifestError(
            f"{RECORD_NAME} has been changed since {record.subject_name} signed it: its signature does not fit"
        ) from error
    return record


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _words(values: Iterable[object], what: str) -> tuple[str, ...]:
    words = []
    for value in values:
        if not isinstance(value, str) or not value.strip():
            raise ManifestError(f"the scope's {what} should be a list of texts, found {value!r}")
        words.append(value)
    return tuple(words)


def _signed_bytes(record: ConsentRecord) -> bytes:
    return _SIGNED_PREFIX + encode(_document(record))


def _document(record: ConsentRecord) -> dict[str, object]:
    return {
        "format": RECORD_FORMAT,
        "id": record.id,
        "subject_name": record.subject_name,
        "operator": record.operator,
        "statement": record.statement,
        "scope": {
            "purposes": list(record.scope.purposes),
            "audiences": list(record.scope.audiences),
            "events": list(record.scope.events),
            "apps": list(record.scope.apps),
        },
        "start": format_time(record.start),
        "expires": format_time(record.expires),
        "models_sha256": record.models_digest,
        "public_key": record.public_key,
        "clip": None if record.clip is None else file_document(record.clip),
    }

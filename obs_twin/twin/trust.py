"""What this user has decided about people and packs: trusted keys, revoked consents, known people.

Three short lists in the configuration folder:

- `trusted_keys.json`: keys accepted, by a deliberate act, as belonging to a named person;
- `revoked.json`: consents that were withdrawn; their models are refused by their content, whatever pack they
come in;
- `people.json`: files that are known to show or sound like a real person, which no pack may call synthetic.

A list that cannot be read refuses everything: it might hold a revocation.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from obs_twin.link.paths import ensure, user_dirs
from obs_twin.twin.consent import ConsentRecord
from obs_twin.twin.manifest import Manifest, format_time


class TrustError(RuntimeError):
    """A list cannot be read or written; the message says which and what to do."""


class LocalTrust:
    """The three lists of one user.

    They are read again whenever a file has changed, so that a revocation from the command line stops a
    running twin.

    Args:
        folder: where the lists lie; the user's configuration folder if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = user_dirs().config if folder is None else folder
        self._cache: dict[str, tuple[tuple[int, int], list[dict[str, Any]]]] = {}

    def trusts(self, public_key: str, subject_name: str) -> bool:
        """Whether this key was accepted as that person's."""
        return any(
            item.get("public_key") == public_key and _same_name(item.get("subject_name"), subject_name)
            for item in self._read("trusted_keys")
        )

    def trust(self, public_key: str, subject_name: str, now: datetime) -> None:
        """Accept a key as a person's. Call it only after a human has confirmed it."""
        if not self.trusts(public_key, subject_name):
            item = {"public_key": public_key, "subject_name": subject_name, "added": format_time(now)}
            self._append("trusted_keys", item)

    def distrust(self, public_key: str) -> bool:
        """Take a key off the list; returns whether it was on it."""
        items = self._read("trusted_keys")
        kept = [item for item in items if item.get("public_key") != public_key]
        if len(kept) == len(items):
            return False
        self._write("trusted_keys", kept)
        return True

    def trusted_keys(self) -> list[dict[str, Any]]:
        """The list: `public_key`, `subject_name`, `added`."""
        return [dict(item) for item in self._read("trusted_keys")]

    def revoke(self, manifest: Manifest, record: ConsentRecord | None, now: datetime, reason: str) -> None:
        """Withdraw a consent for good: the record and the models that it was given for."""
        self._append(
            "revoked",
            {
                "record_id": None if record is None else record.id,
                "models_sha256": manifest.models_digest,
                "files": likeness_files(manifest),
                "name": manifest.name,
                "revoked": format_time(now),
                "reason": reason,
            },
        )

    def revoke_record(self, record_id: str, now: datetime, reason: str) -> None:
        """Withdraw a consent of which only the record's id is known."""
        item: dict[str, Any] = {"record_id": record_id, "models_sha256": None, "files": [], "name": None}
        self._append("revoked", item | {"revoked": format_time(now), "reason": reason})

    def revocation(self, manifest: Manifest, record: ConsentRecord | None) -> dict[str, Any] | None:
        """The revocation that hits this pack, or None.

        A new record for models that were revoked is hit as well: a withdrawn consent is renewed with new
        models, made with the person, and not with a new date.
        """
        files = set(likeness_files(manifest))
        for item in self._read("revoked"):
            same_record = record is not None and item.get("record_id") == record.id
            if same_record or item.get("models_sha256") == manifest.models_digest or files & set(item["files"]):
                return dict(item)
        return None

    def remember_person(self, manifest: Manifest, now: datetime) -> None:
        """Note that the face and voice files of `manifest` are a real person's."""
        known = {file for item in self._read("people") for file in item["files"]}
        files = [file for file in likeness_files(manifest) if file not in known]
        if files:
            item = {"files": files, "display_name": manifest.display_name, "added": format_time(now)}
            self._append("people", item)

    def known_person(self, manifest: Manifest) -> str | None:
        """The name of the real person that a file of `manifest` is known to show, or None."""
        files = set(likeness_files(manifest))
        for item in self._read("people"):
            if files & set(item["files"]):
                return str(item.get("display_name"))
        return None

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, name: str) -> list[dict[str, Any]]:
        path = self._path(name)
        try:
            stat = path.stat()
        except FileNotFoundError:
            self._cache.pop(name, None)
            return []
        except OSError as error:
            raise TrustError(_unreadable(path, error)) from error
        mark = (stat.st_mtime_ns, stat.st_size)
        cached = self._cache.get(name)
        if cached is not None and cached[0] == mark:
            return cached[1]
        try:
            items = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise ValueError("a list of objects was expected")
            if name != "trusted_keys" and not all(isinstance(item.get("files"), list) for item in items):
                raise ValueError("an entry has no list of files")
        except (OSError, ValueError, RecursionError) as error:
            raise TrustError(_unreadable(path, error)) from error
        self._cache[name] = (mark, items)
        return items

    def _append(self, name: str, item: dict[str, Any]) -> None:
        self._write(name, [*self._read(name), item])

    def _write(self, name: str, items: Iterable[dict[str, Any]]) -> None:
        path = self._path(name)
        text = json.dumps(list(items), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        try:
            write_atomic(path, text.encode("utf-8"))
        except OSError as error:
            raise TrustError(f"{path} cannot be written: {error.strerror or error}. Nothing was changed.") from error
        self._cache.pop(name, None)


def likeness_files(manifest: Manifest) -> list[str]:
    """The sha256 of the files that make the face and the voice (not the room, which people may share)."""
    return [file.sha256 for part in manifest.parts if part.role in ("face", "voice") for file in part.files]


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a whole file or nothing; readable by its owner only, where the system can do that."""
    ensure(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _same_name(found: object, wanted: str) -> bool:
    return isinstance(found, str) and found.casefold() == wanted.casefold()


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be read ({error}). It may hold a revocation, so no twin is opened. Repair it, or "
        "restore it from a backup."
    )

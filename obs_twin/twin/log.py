"""The disclosure log: what was live when, with whose consent, and who turned which notice off and why.

One JSON object a line, in the user's state folder. It stays on this machine, and it holds no picture and no
sound.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from obs_twin.link.paths import ensure, user_dirs
from obs_twin.twin.consent import ConsentRecord
from obs_twin.twin.manifest import Manifest

LOG_NAME = "disclosure.jsonl"
MAX_BYTES = 4 << 20
NOTICES = ("badge", "slate", "spoken", "watermark")


class SessionLog:
    """Appends to the disclosure log. Several processes may write: each event is one short write at the
    file's end.

    Args:
        path: the log file; the user's own if None.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = user_dirs().state / LOG_NAME if path is None else path

    def started(self, manifest: Manifest, record: ConsentRecord | None, providers: dict[str, str]) -> None:
        """The twin went live.

        Args:
            manifest, record: of the opened pack.
            providers: {role: what runs its model, on what hardware}.
        """
        self._write(
            "start",
            pack=manifest.name,
            subject=manifest.display_name,
            synthetic=manifest.synthetic,
            consent_id=None if record is None else record.id,
            models_sha256=manifest.models_digest,
            providers=providers,
        )

    def stopped(self, pack: str, reason: str, figures: dict[str, float] | None = None) -> None:
        """The twin went off; `figures` are those of the session (frames, delays in ms)."""
        self._write("stop", pack=pack, reason=reason, figures=figures or {})

    def refused(self, pack: str, code: str, message: str) -> None:
        """A pack was not opened, or was stopped while live (`PackError.code` and its words)."""
        self._write("refused", pack=pack, code=code, message=message)

    def overridden(self, notice: str, reason: str) -> None:
        """A notice was turned off.

        Raises:
            ValueError: no reason was given, or there is no such notice.
        """
        if notice not in NOTICES:
            raise ValueError(f"the notice should be one of {', '.join(NOTICES)}; found {notice!r}")
        if len(reason.strip()) < 3:
            raise ValueError(f"the {notice} can only be turned off with a stated reason; found {reason!r}")
        self._write("override", notice=notice, reason=reason.strip())

    def restored(self, notice: str) -> None:
        """A notice was turned on again."""
        self._write("restore", notice=notice)

    def reveal(self, on: bool) -> None:
        """The actor's real face and voice were shown, by a deliberate act, or hidden again."""
        self._write("reveal", on=on)

    def panic(self, on: bool) -> None:
        """Card and silence, at once; or the end of it."""
        self._write("panic", on=on)

    def consent(self, what: str, manifest: Manifest, record_id: str | None) -> None:
        """A consent was given, trusted or withdrawn on this machine (`what`: "signed", "trusted", "revoked")."""
        self._write(f"consent_{what}", pack=manifest.name, subject=manifest.display_name, consent_id=record_id)

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event that can be read, oldest first; a line cut off by a crash is left out."""
        for path in (self._older(), self.path):
            if path.is_file():
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    try:
                        event = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(event, dict):
                        yield event

    def _older(self) -> Path:
        return self.path.with_suffix(".1.jsonl")

    def _write(self, event: str, **fields: object) -> None:
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": moment, "event": event, **fields}, ensure_ascii=False) + "\n"
        ensure(self.path.parent)
        if self.path.is_file() and self.path.stat().st_size > MAX_BYTES:
            os.replace(self.path, self._older())
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode("utf-8", errors="replace"))
        finally:
            os.close(handle)

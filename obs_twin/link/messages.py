"""Control messages between host and engine: one JSON object a line, over the engine's standard input and output.

Rare and small (settings, states); pictures and sound never travel here. The end of the stream is a message too: it
means that the other side is gone.

From the host: `hello`, `open_video`, `open_sound`, `settings`, `say`, `close`, `shift`, `quit`.
From the engine: `ready`, `opened`, `status`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import IO, Any

Message = dict[str, Any]


class Writer:
    """Sends messages; safe to call from several threads. A broken pipe is not an error here: the watch-dog sees
    the process end and starts the next one, which is told everything anew."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Message) -> bool:
        """Send one message. Returns False if the other side is gone."""
        line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except (OSError, ValueError):
            return False
        return True


def read(stream: IO[bytes]) -> Iterator[Message]:
    """Messages until the other side closes. Lines that are no JSON object (a library that printed) are passed over."""
    while True:
        try:
            line = stream.readline()
        except (OSError, ValueError):
            return
        if not line:
            return
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and isinstance(message.get("type"), str):
            yield message

"""The door for the command line: status, calibration, m.

A `multiprocessing.connection` listener (Unix socket, named pipe on Windows) whose address and secret lie in the state
folder, readable by this user only. One request, one answer, both plain dictionaries, sent as JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from obs_twin.link.paths import ensure, user_dirs

log = logging.getLogger(__name__)

Answer = dict[str, Any]

MAX_SOCKET_PATH = 100


class EngineNotRunningError(RuntimeError):
    """No engine answers; the text says how to start one."""


def _door() -> Path:
    return user_dirs().state / "engine.json"


def _address(door: Path) -> str | None:
    """Where to listen: a socket beside the door, so that a killed engine leaves nothing elsewhere; else the system's
    own choice (Windows has named pipes; a Unix socket's path must be short)."""
    socket_path = door.with_suffix(".sock")
    if sys.platform == "win32" or len(os.fsencode(socket_path)) > MAX_SOCKET_PATH:
        return None
    socket_path.unlink(missing_ok=True)
    return str(socket_path)


class ControlServer:
    """Answers requests in a thread of its own."""

    def __init__(self, handle: Callable[[dict[str, Any]], Answer]) -> None:
        self._handle = handle
        self._secret = secrets.token_hex(16)
        path = _door()
        ensure(path.parent)
        self._listener = Listener(_address(path), authkey=self._secret.encode())
        content = json.dumps({"pid": os.getpid(), "address": self._listener.address, "secret": self._secret})
        temporary = path.with_suffix(f".{os.getpid()}")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        temporary.replace(path)
        threading.Thread(target=self._serve, daemon=True, name="control").start()

    def close(self) -> None:
        """Stop answering."""
        with contextlib.suppress(OSError):
            self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            except Exception as error:
                # A stranger without the secret, or a client that went away half way.
                log.info("control connection refused: %r", error)
                continue
            with contextlib.suppress(OSError, EOFError):
                self._answer(connection)
            connection.close()

    def _answer(self, connection: Connection[Any, Any]) -> None:
        while connection.poll(30.0):
            raw = connection.recv_bytes(1 << 20)
            try:
                answer = self._handle(json.loads(raw))
            except Exception as error:
                log.exception("request")
                answer = {"error": f"the request could not be answered: {error!r}"}
            connection.send_bytes(json.dumps(answer).encode())


def ask(request: dict[str, Any]) -> Answer:
    """Send one request to the running engine.

    Raises:
        EngineNotRunningError: there is none.
    """
    try:
        door = json.loads(_door().read_text(encoding="utf-8"))
        with Client(door["address"], authkey=door["secret"].encode()) as connection:
            connection.send_bytes(json.dumps(request).encode())
            answer: Answer = json.loads(connection.recv_bytes(1 << 24))
            return answer
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise EngineNotRunningError(
            "No OBS Twin engine is running. Start OBS with the OBS Twin script and put a Twin filter on a source "
            f"(a running engine would be named in {_door()})."
        ) from error

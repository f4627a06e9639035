"""The watch-dog: patient with an engine that is still starting, quick with one that fell silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from obs_twin.host import engine_process
from obs_twin.host.engine_process import EngineProcess

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for the engine is a shell script")

SILENT_S, BEGINS_WITHIN_S = 0.4, 1.5


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], EngineProcess]]:
    """Starts an `EngineProcess` whose engine is a shell script."""
    monkeypatch.setattr(engine_process, "SILENT_S", SILENT_S)
    monkeypatch.setattr(engine_process, "BEGINS_WITHIN_S", BEGINS_WITHIN_S)
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path))
    started: list[EngineProcess] = []

    def start(script: str) -> EngineProcess:
        path = tmp_path / "engine"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("OBS_TWIN_PYTHON", str(path))
        process = EngineProcess(lambda: None, lambda _message: None, lambda _text: None)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.stop(0.1)


def tick(process: EngineProcess, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        process.tick()
        time.sleep(0.02)


def test_an_engine_may_take_its_time_to_start(engine: Callable[[str], EngineProcess]) -> None:
    process = engine("exec sleep 30")
    tick(process, 2 * SILENT_S)
    assert process.restarts == 0
    tick(process, BEGINS_WITHIN_S)
    assert process.restarts == 1


def test_an_engine_that_falls_silent_is_started_again(engine: Callable[[str], EngineProcess]) -> None:
    process = engine("""echo '{"type": "ready"}'; exec sleep 30""")
    tick(process, 2.5 * SILENT_S)
    assert process.restarts >= 1

"""OBS Twin on the bench: its filters in the scene, its engine's status, its calibration from what the taps get."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from obs_twin.cli.calibrate import Measured, Recording, calibrate
from obs_twin.engine.control import EngineNotRunningError, ask

from . import measure
from .bench import Bench
from .camera import PictureTap
from .clip import Clip
from .process import RigError
from .scene import Filter, SceneCollection, Script, Settings, media
from .sound import SAMPLE_RATE_HZ

SCRIPT = Path(__file__).resolve().parents[2] / "obs_twin" / "obs_twin_script.py"
NAMES = {
    "obs_twin_face": "Twin Face",
    "obs_twin_voice": "Twin Voice",
    "obs_twin_background": "Twin Background",
}
ENVIRONMENT = {"OBS_TWIN_PYTHON": sys.executable}
TEST_SIGNAL_S = 10.0
ACTOR = "Actor"

_environment_lock = threading.RLock()


def twin_filters(kinds: Sequence[str], delay_ms: int, **settings: Settings) -> tuple[Filter, ...]:
    """Filters by their ids, first to last, each with the delay D and its own settings (`face={...}`)."""
    return tuple(
        Filter(kind, NAMES[kind], {"delay_ms": delay_ms, **settings.get(kind.removeprefix("obs_twin_"), {})})
        for kind in kinds
    )


def twin_collection(clip: Path, filters: tuple[Filter, ...]) -> SceneCollection:
    """A clip with the filters, and the script that brings them."""
    return SceneCollection((media(ACTOR, clip, filters),), (Script(SCRIPT),))


class Twin:
    """The engine behind a running bench."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def ask(self, **request: object) -> dict[str, Any]:
        """One request to the bench's own engine. Raises `EngineNotRunningError` while there is none."""
        with self._home():
            return ask(request)

    @contextlib.contextmanager
    def _home(self) -> Iterator[None]:
        """This bench's engine is the one that the command line's functions reach."""
        with _environment_lock, mock.patch.dict(os.environ, OBS_TWIN_HOME=str(self._bench.twin_home)):
            yield

    def status(self) -> dict[str, Any]:
        """The engine's account of itself; empty while there is none."""
        try:
            return self.ask(ask="status")
        except EngineNotRunningError:
            return {}

    def stream(self, kind: str) -> dict[str, Any]:
        """The first stream of a kind ("video", "sound") in the status; empty while there is none."""
        streams = self.status().get("streams", {}).values()
        return next((dict(stream) for stream in streams if stream["kind"] == kind), {})

    def problem(self) -> str:
        """The first thing that the engine or the host complains of; empty when all is well."""
        status = self.status()
        parts = [
            stream.get(part, {})
            for stream in status.get("streams", {}).values()
            for part in ("face", "voice", "background")
        ]
        found = [part.get("problem", "") for part in parts] + [status.get("host", {}).get("problem", "")]
        return next((problem for problem in found if problem), "")

    def showing(self) -> set[str]:
        """What the sources with Twin filters show now, in the host's words: "twin", "card", "slate" ..."""
        return set(self.status().get("host", {}).get("showing", {}).values())

    def wait_showing(self, what: str = "twin", timeout_s: float = 180.0) -> None:
        """Until that and nothing else is shown; `RigError` with the engine's complaint when it never is."""
        deadline = time.monotonic() + timeout_s
        while self.showing() != {what}:
            if time.monotonic() > deadline or not self._bench.obs.running:
                log = self._bench.twin_home / "logs" / "engine.log"
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else "no engine log"
                raise RigError(f"shown instead of {what}: {self.showing()}; {self.problem()}\n{tail}")
            time.sleep(0.3)

    def engine_pid(self) -> int | None:
        pid = self.status().get("pid")
        return None if pid is None else int(pid)

    def record_test_signal(self) -> Recording:
        """What comes out of camera and cable for some seconds: for `obs_twin.cli.calibrate`."""
        with PictureTap(self._bench.camera, measure.brightness) as tap:
            time.sleep(TEST_SIGNAL_S)
        sound = self._bench.cable.sound().between(tap.times_ns[0], tap.times_ns[-1])
        luma, times = np.array(tap.seen, np.float64), np.array(tap.times_ns, np.int64)
        return Recording(luma, times, sound.samples, SAMPLE_RATE_HZ, round(sound.time_ns(0)))

    def calibrate(self) -> tuple[float, Measured]:
        """`obs-twin calibrate` with the taps instead of devices: (m in ms, in force; what is left)."""
        with self._home():
            return calibrate(self.record_test_signal)

    def measure_step(self, clip: Clip, seconds: float) -> measure.Step:
        """How far the voice is ahead of the picture at the meeting's end, over that time."""
        picture, voice = self.measure_series(clip, seconds)
        return measure.step(picture, voice)

    def measure_series(self, clip: Clip, seconds: float) -> tuple[measure.ContentSeries, measure.ContentSeries]:
        """Picture and voice as the taps got them over that time."""
        with PictureTap(self._bench.camera, measure.read_counter) as tap:
            time.sleep(seconds)
        sound = self._bench.cable.sound().between(tap.times_ns[0], tap.times_ns[-1])
        return measure.picture_series(tap.times_ns, tap.seen, clip), measure.voice_series(sound, clip)

"""OBS with a configuration that is thrown away: started, driven over obs-websocket, closed as a user closes it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import obsws_python

from .display import Display
from .process import OBS_NICE, Child, RigError, need_program
from .scene import SceneCollection
from .sound import MONITOR_NAME, SAMPLE_RATE_HZ

# Not handed on to OBS: it embeds the system's Python, which must not see our virtual environment.
PRIVATE_VARIABLES = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE")

# Where OBS 29's main window has them; Qt's menus take no keys without a window manager.
TOOLS_MENU = (379, 13)
SCRIPTS_ITEM = (388, 147)


@dataclass(frozen=True)
class Timing:
    """One row of OBS's profiler table, in milliseconds."""

    min_ms: float
    median_ms: float
    max_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Ending:
    """How OBS ended and what it said about itself.

    exit_status : negative is the signal that killed it
    memory_leaks : OBS's own count, None when it did not get as far as counting
    profile : rows of the profiler table by name, such as `tick_sources`, `render_video`, `obs_graphics_thread`
    lagged_frames, skipped_frames : OBS's own totals just before the virtual camera was stopped
    """

    exit_status: int
    memory_leaks: int | None
    profile: dict[str, Timing]
    lagged_frames: int
    skipped_frames: int
    rendered_frames: int
    log: str


class Obs:
    """Context manager: one OBS on a display, with its virtual camera on.

    Leaving the context kills OBS when it still runs; `close()` is the way a user closes it. `environment` is added
    to OBS's own (the camera's, the sound daemon's, `OBS_TWIN_HOME`).
    """

    def __init__(
        self,
        folder: Path,
        display: Display,
        collection: SceneCollection,
        environment: Mapping[str, str],
        size: tuple[int, int] = (640, 360),
        fps: int = 30,
        virtual_camera: bool = True,
        profile_settings: Mapping[str, Mapping[str, object]] | None = None,
        preview: bool = False,
    ) -> None:
        self.folder = folder
        self.display = display
        self.size = size
        self.fps = fps
        self.collection = collection
        self.scene_path = folder / "config/obs-studio/basic/scenes/Rig.json"
        self._profile_settings = profile_settings or {}
        self._preview = preview
        self._environment = dict(environment)
        self._virtual_camera = virtual_camera
        self._port = _free_port()
        self._child: Child | None = None
        self._client: Any = None

    def __enter__(self) -> Obs:
        need_program("obs", "obs-studio")
        self._write_configuration()
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, timeout_s: float = 60.0) -> None:
        """Starts OBS (again, after `close()`, with the configuration that it saved) and waits for obs-websocket."""
        arguments = ["obs", "--multi"]
        if self._virtual_camera:
            arguments.append("--startvirtualcam")
        inherited = {name: value for name, value in os.environ.items() if name not in PRIVATE_VARIABLES}
        private = {name: str(self.folder / name.lower()) for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME")}
        for path in private.values():
            Path(path).mkdir(mode=0o700, exist_ok=True)
        private |= {
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "QT_QPA_PLATFORM": "xcb",
            "NO_AT_BRIDGE": "1",
        }
        environment = inherited | private | self.display.environment() | self._environment
        self._child = Child(arguments, environment, self.folder / "obs.log", nice=OBS_NICE)
        self._connect(timeout_s)

    @property
    def pid(self) -> int:
        return self._process().pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def log(self) -> str:
        """What OBS has printed so far."""
        return self._process().log_path.read_text(errors="replace")

    def wait_log(self, pattern: str, timeout_s: float = 20.0) -> re.Match[str]:
        """Waits until a line of the log matches; `RigError` with the log's tail when none does."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.log, re.MULTILINE):
                return found
            if not self.running:
                break
            time.sleep(0.1)
        raise RigError(f"OBS never logged {pattern!r}:\n{self._process().log_tail()}")

    def ask(self, request: str, **data: object) -> dict[str, Any]:
        """One request of obs-websocket 5, such as `ask("GetStats")`; its answer's data. `RigError` when OBS refuses."""
        try:
            answer: dict[str, Any] | None = self._client.send(request, data or None, raw=True)
        except Exception as error:
            raise RigError(f"{request} {data}: {error}") from error
        return answer or {}

    def close(self, timeout_s: float = 30.0) -> Ending:
        """Stops the virtual camera and closes the main window; waits for OBS to end, kills it when it does not."""
        stats: dict[str, Any] = {}
        with contextlib.suppress(RigError):
            stats = self.ask("GetStats")
            if self.ask("GetVirtualCamStatus").get("outputActive"):
                # OBS asks the user before it quits with an output running.
                self.ask("StopVirtualCam")
                self._wait_camera_stopped()
        self._disconnect()
        if self.running:
            self.display.ask_to_close(self.main_window())
        with contextlib.suppress(TimeoutError):
            self._wait_end(timeout_s)
        status = self._process().kill()
        log = self.log
        leaks = re.search(r"Number of memory leaks: (\d+)", log)
        return Ending(
            exit_status=status,
            memory_leaks=int(leaks[1]) if leaks else None,
            profile=parse_profile(log),
            lagged_frames=int(stats.get("renderSkippedFrames", 0)),
            skipped_frames=int(stats.get("outputSkippedFrames", 0)),
            rendered_frames=int(stats.get("renderTotalFrames", 0)),
            log=log,
        )

    def kill(self) -> None:
        """Ends OBS and its children at once; harmless when it has ended."""
        self._disconnect()
        if self._child:
            self._child.kill()

    def main_window(self) -> int:
        return self.display.wait_window(r"^OBS .*- Profile:")

    def open_filters(self, source: str) -> int:
        """Opens the source's Filters dialog; its window id."""
        self.ask("OpenInputFiltersDialog", inputName=source)
        return self.display.wait_window(rf"Filters for '{re.escape(source)}'")

    def open_scripts(self) -> int:
        """Opens Tools > Scripts by its menu; the dialog's window id."""
        main = self.main_window()
        self.display.raise_window(main)
        self.display.click_in(main, *TOOLS_MENU)
        time.sleep(0.5)
        self.display.click_in(main, *SCRIPTS_ITEM)
        return self.display.wait_window(r"^Scripts$")

    def _process(self) -> Child:
        if self._child is None:
            raise RigError("OBS has not been started")
        return self._child

    def _write_configuration(self) -> None:
        width, height = self.size
        base = self.folder / "config/obs-studio"
        profile = base / "basic/profiles/Rig"
        for path in (profile, self.scene_path.parent):
            path.mkdir(parents=True, exist_ok=True)
        _write_ini(
            base / "global.ini",
            {
                "General": {
                    "FirstRun": "true",
                    "LastVersion": 0x7F000000,
                    "InfoIncrement": -1,
                },
                "Basic": {
                    "Profile": "Rig",
                    "ProfileDir": "Rig",
                    "SceneCollection": self.collection.name,
                    "SceneCollectionFile": "Rig",
                },
                "OBSWebSocket": {
                    "FirstLoad": "false",
                    "ServerEnabled": "true",
                    "ServerPort": self._port,
                    "AlertsEnabled": "false",
                    "AuthRequired": "false",
                },
                "BasicWindow": {"PreviewEnabled": str(self._preview).lower(), "ShowTransitions": "false"},
            },
        )
        settings: dict[str, dict[str, object]] = {
            "General": {"Name": "Rig"},
            "Video": {
                "BaseCX": width,
                "BaseCY": height,
                "OutputCX": width,
                "OutputCY": height,
                "FPSType": 0,
                "FPSCommon": self.fps,
                "ColorFormat": "NV12",
                "ColorSpace": "709",
                "ColorRange": "Partial",
            },
            "Output": {"Mode": "Simple"},
            "SimpleOutput": {"FilePath": self.folder, "RecFormat": "mkv", "RecQuality": "Small", "RecEncoder": "x264"},
            "Audio": {
                "SampleRate": SAMPLE_RATE_HZ,
                "ChannelSetup": "Stereo",
                "MonitoringDeviceId": MONITOR_NAME,
                "MonitoringDeviceName": "TwinCable",
            },
        }
        for section, values in self._profile_settings.items():
            settings.setdefault(section, {}).update(values)
        _write_ini(profile / "basic.ini", settings)
        self.scene_path.write_text(json.dumps(self.collection.to_json(self.size), indent=1))

    def _connect(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.running:
                raise RigError(f"OBS ended at its start:\n{self._process().log_tail()}")
            try:
                # The library logs a traceback for a refused connection, so knock first.
                socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
                self._client = obsws_python.ReqClient(host="127.0.0.1", port=self._port, password="", timeout=20)
                # The server listens before the scenes are loaded, and refuses until then.
                self.ask("GetSceneList")
                return
            except Exception as error:
                self._disconnect()
                if time.monotonic() > deadline:
                    raise RigError(f"obs-websocket does not answer ({error}):\n{self._process().log_tail()}") from error
            time.sleep(0.2)

    def _disconnect(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.disconnect()
            self._client = None

    def _wait_camera_stopped(self) -> None:
        deadline = time.monotonic() + 10
        while self.ask("GetVirtualCamStatus").get("outputActive") and time.monotonic() < deadline:
            time.sleep(0.05)

    def _wait_end(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.running:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.05)


PROFILE_ROW = re.compile(
    r"([\w()>-]+?)(?:\([\d.]+ ms\))?: "
    r"min=([\d.]+) ms, median=([\d.]+) ms, max=([\d.]+) ms, (?:99th percentile=([\d.]+) ms)?"
)


def parse_profile(log: str) -> dict[str, Timing]:
    """The rows of "Profiler Results" (not of "Time Between Calls") in OBS's log, by name."""
    table = log.replace("\xa0", " ").partition("== Profiler Results")[2].partition("== Profiler Time Between Calls")[0]
    rows: dict[str, Timing] = {}
    for name, low, median, high, p99 in PROFILE_ROW.findall(table):
        rows.setdefault(name, Timing(float(low), float(median), float(high), float(p99 or high)))
    return rows


def _write_ini(path: Path, sections: Mapping[str, Mapping[str, object]]) -> None:
    lines = []
    for section, values in sections.items():
        lines.append(f"[{section}]")
        lines += [f"{key}={value}" for key, value in values.items()]
    path.write_text("\n".join(lines) + "\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

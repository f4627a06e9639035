"""Everything together: display, sound daemon, camera and OBS, started and ended as one."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from obs_twin.link.paths import user_dirs

from .camera import Camera
from .display import Display
from .obs import Obs
from .scene import SceneCollection
from .sound import CableTap, PulseDaemon


class Bench:
    """Context manager: a real OBS that plays `collection`, tapped at the virtual camera and the virtual cable.

    Inside the context: `display`, `camera`, `cable` (recording from the start), `obs`, `twin_home` (the private state
    folder, OBS_TWIN_HOME). `folder` is deleted at the end unless it was given.
    """

    def __init__(
        self,
        collection: SceneCollection,
        size: tuple[int, int] = (640, 360),
        fps: int = 30,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        virtual_camera: bool = True,
        profile_settings: Mapping[str, Mapping[str, object]] | None = None,
        screen: tuple[int, int] = (1280, 960),
        preview: bool = False,
        on_display: str | None = None,
    ) -> None:
        self._given_folder = folder
        # A short path: sockets below it must fit in 107 characters.
        self.folder = folder or Path(tempfile.mkdtemp(prefix="rig-"))
        self.twin_home = self.folder / "twin"
        self._collection = collection
        self._size = size
        self._fps = fps
        self._environment = dict(environment or {})
        self._virtual_camera = virtual_camera
        self._profile_settings = profile_settings
        self._screen = screen
        self._preview = preview
        self._on_display = on_display
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.twin_home.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            if self._given_folder is None:
                stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.display = stack.enter_context(Display(self.folder, *self._screen, self._on_display))
            self.sound = stack.enter_context(PulseDaemon(self.folder))
            self.camera = stack.enter_context(Camera(self.folder))
            self.cable = stack.enter_context(CableTap(self.sound))
            # A state folder of its own, but the models that the user has already fetched.
            environment = {"OBS_TWIN_HOME": str(self.twin_home), "OBS_TWIN_CACHE": str(user_dirs().cache)}
            environment |= self._environment
            environment |= self.sound.environment() | self.camera.environment()
            self.obs = stack.enter_context(
                Obs(
                    self.folder,
                    self.display,
                    self._collection,
                    environment,
                    self._size,
                    self._fps,
                    self._virtual_camera,
                    self._profile_settings,
                    self._preview,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def wait_frames(self, count: int, timeout_s: float = 30.0) -> None:
        """Waits until the virtual camera has given that many more frames."""
        goal = self.camera.frames + count
        deadline = time.monotonic() + timeout_s
        while self.camera.frames < goal:
            if time.monotonic() > deadline or not self.obs.running:
                raise TimeoutError(f"{goal - self.camera.frames} frames are missing:\n{self.obs.log[-2000:]}")
            time.sleep(0.05)

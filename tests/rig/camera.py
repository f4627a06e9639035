"""The virtual camera's device, replaced for one OBS (fake_v4l2.c), and the tap that reads it like a meeting app."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from .process import TAP_NICE, RigError, need_program, raise_priority

HEADER = struct.Struct("<IIIIQ")  # struct frame_header of fake_v4l2.c
FRAME_MAGIC = 0x45524D46
F_SETPIPE_SZ = 1031
PIPE_BYTES = 1 << 20  # the most that a user without rights may ask for


@dataclass(frozen=True)
class TappedFrame:
    """One frame as the meeting got it.

    yuyv is (H, W, 2) uint8, limited range, BT.709 as OBS is set up here; it is valid only during the callback.
    """

    number: int
    time_ns: int
    yuyv: NDArray[np.uint8]

    @property
    def luma(self) -> NDArray[np.uint8]:
        """(H, W) uint8 view, 16..235."""
        view: NDArray[np.uint8] = self.yuyv[:, :, 0]
        return view

    def bgr(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, full range."""
        return yuyv_to_bgr(self.yuyv)


FrameCallback = Callable[[TappedFrame], None]


def yuyv_to_bgr(yuyv: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 2) uint8 YUYV, limited range, BT.709 -> (H, W, 3) uint8 BGR.

    OpenCV's own conversion is BT.601, which shifts skin towards orange.
    """
    height, width, _ = yuyv.shape
    luma = (yuyv[:, :, 0].astype(np.float32) - 16) * (255 / 219)
    chroma = yuyv[:, :, 1].reshape(height, width // 2, 2).astype(np.float32) - 128
    chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR) * (255 / 224)
    blue = luma + 1.8556 * chroma[:, :, 0]
    green = luma - 0.1873 * chroma[:, :, 0] - 0.4681 * chroma[:, :, 1]
    red = luma + 1.5748 * chroma[:, :, 1]
    return np.clip(np.stack((blue, green, red), axis=2) + 0.5, 0, 255).astype(np.uint8)


class Camera:
    """Context manager: a device for one OBS and a reader that never lets it wait.

    `environment()` goes into OBS's environment. Each frame is handed to the callbacks on the reader's thread;
    they must be quick (a few milliseconds): the pipe holds half a frame, and OBS waits in write() when it is full.
    """

    def __init__(self, folder: Path) -> None:
        self._fifo = folder / "camera"
        self._callbacks: list[FrameCallback] = []
        self._thread: threading.Thread | None = None
        self._descriptor = -1
        self._closing = False
        self.frames = 0
        self.error: Exception | None = None

    def __enter__(self) -> Camera:
        os.mkfifo(self._fifo, 0o600)
        # Open for writing too, so that there is no end of file while OBS's virtual camera is off.
        self._descriptor = os.open(self._fifo, os.O_RDWR)
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(self._descriptor, F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._read, name="camera-tap", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        os.write(self._descriptor, bytes(HEADER.size))  # wakes the reader
        if self._thread:
            self._thread.join(5)
        os.close(self._descriptor)
        if self.error and not error:
            raise RigError(f"the camera tap failed: {self.error!r}") from self.error

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(build_shim()), "RIG_CAMERA_FIFO": str(self._fifo)}

    def subscribe(self, callback: FrameCallback) -> Callable[[], None]:
        """Calls back with every frame from now on; the returned function ends that."""
        self._callbacks = [*self._callbacks, callback]

        def unsubscribe() -> None:
            self._callbacks = [other for other in self._callbacks if other is not callback]

        return unsubscribe

    def _read(self) -> None:
        raise_priority(TAP_NICE)
        buffer = np.empty(0, np.uint8)
        while True:
            magic, width, height, payload, time_ns = HEADER.unpack(self._read_exactly(HEADER.size))
            if self._closing:
                return
            if magic != FRAME_MAGIC or payload != 2 * width * height:
                self.error = RigError(f"{payload} bytes for a frame of {width}x{height}, magic {magic:#x}")
                return
            if len(buffer) != payload:
                buffer = np.empty(payload, np.uint8)
            self._read_into(memoryview(buffer.data))
            if self.error:
                continue  # keep emptying the pipe: OBS must be able to stop
            frame = TappedFrame(self.frames, time_ns, buffer.reshape(height, width, 2))
            self.frames += 1
            try:
                for callback in self._callbacks:
                    callback(frame)
            except Exception as error:
                self.error = error

    def _read_exactly(self, size: int) -> bytes:
        data = bytearray(size)
        self._read_into(memoryview(data))
        return bytes(data)

    def _read_into(self, view: memoryview) -> None:
        done = 0
        while done < len(view):
            done += os.readv(self._descriptor, [view[done:]])


class PictureTap:
    """Context manager: keeps what a test wants of each frame, from entry to exit.

    `look` makes something small of a frame (a number, a thumbnail); `times_ns` and `seen` run side by side.
    """

    def __init__(self, camera: Camera, look: Callable[[TappedFrame], object]) -> None:
        self._camera = camera
        self._look = look
        self._unsubscribe: Callable[[], None] | None = None
        self.times_ns: list[int] = []
        self.seen: list[object] = []

    def __enter__(self) -> PictureTap:
        self._unsubscribe = self._camera.subscribe(self._on_frame)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._unsubscribe:
            self._unsubscribe()

    def _on_frame(self, frame: TappedFrame) -> None:
        seen = self._look(frame)
        self.times_ns.append(frame.time_ns)
        self.seen.append(seen)


def build_shim() -> Path:
    """Compiles fake_v4l2.c once per user and source version; returns the library's path."""
    source = Path(__file__).with_name("fake_v4l2.c")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "obs-twin" / "rig"
    library = cache / f"fake_v4l2-{digest}.so"
    if library.exists():
        return library
    need_program("gcc", "gcc and libc6-dev")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = Path(folder) / "shim.so"
        command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RigError(f"fake_v4l2.c does not compile:\n{done.stderr}")
        built.replace(library)  # atomic: two runs may build at once
    return library

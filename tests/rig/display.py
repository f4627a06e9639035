"""An X server without a screen (Xvfb), photographs of it, and a hand on its mouse and keyboard (xdotool)."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .process import Child, RigError, need_program


class Display:
    """Context manager: Xvfb on a free display number, 24 bits deep; or the user's own, when `existing` names it.

    `name` (":7") is valid inside the context; `environment()` is what a client needs to find the server.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 960, existing: str | None = None) -> None:
        self.width = width
        self.height = height
        self.name = existing or ""
        self.has_screen = existing is not None
        self._log_path = folder / "xvfb.log"
        self._server: Child | None = None

    def __enter__(self) -> Display:
        if self.has_screen:
            return self
        need_program("Xvfb", "xvfb")
        read_end, write_end = os.pipe()
        screen = f"{self.width}x{self.height}x24"
        command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"]
        try:
            self._server = Child(command, dict(os.environ), self._log_path, pass_fds=(write_end,))
        finally:
            os.close(write_end)
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        if not number:
            raise RigError(f"Xvfb did not start: {self._log_path.read_text(errors='replace')[-500:]}")
        self.name = f":{number}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.stop()

    def environment(self) -> dict[str, str]:
        software = {} if self.has_screen else {"LIBGL_ALWAYS_SOFTWARE": "1", "LP_NUM_THREADS": "1"}
        return {"DISPLAY": self.name, **software}

    def screenshot(self, window: int | None = None) -> NDArray[np.uint8]:
        """The whole screen, or the part of it where a window is, as (H, W, 3) uint8 BGR.

        Read from the server's frame buffer, so that menus and other windows on top are in the picture.
        """
        x, y, width, height = (0, 0, self.width, self.height) if window is None else self.geometry(window)
        left, top = max(x, 0), max(y, 0)
        width, height = min(x + width, self.width) - left, min(y + height, self.height) - top
        command = ["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0"]
        command += ["-video_size", f"{width}x{height}", "-i", f"{self.name}+{left},{top}"]
        pixels = self._run([*command, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"])
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def save_screenshot(self, path: Path, window: int | None = None) -> None:
        cv2.imwrite(str(path), self.screenshot(window))

    def windows(self, title_pattern: str) -> list[int]:
        """Ids of the visible windows whose title matches the regular expression, in the server's order."""
        found = self._run(["xdotool", "search", "--onlyvisible", "--name", title_pattern], may_fail=True).decode()
        return [int(line) for line in found.split()]

    def wait_window(self, title_pattern: str, timeout_s: float = 15.0) -> int:
        """Id of the first visible window with that title; `RigError` when none comes in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.windows(title_pattern)
            if found:
                return found[0]
            time.sleep(0.2)
        raise RigError(f"no window with a title like {title_pattern!r} within {timeout_s:.0f} s")

    def title(self, window: int) -> str:
        return self._run(["xdotool", "getwindowname", str(window)], may_fail=True).decode().strip()

    def geometry(self, window: int) -> tuple[int, int, int, int]:
        """x, y, width, height of the window in screen pixels."""
        lines = self._run(["xdotool", "getwindowgeometry", "--shell", str(window)]).decode().split()
        values = dict(line.split("=", 1) for line in lines)
        return int(values["X"]), int(values["Y"]), int(values["WIDTH"]), int(values["HEIGHT"])

    def place(self, window: int, x: int, y: int, width: int, height: int) -> None:
        """Moves and resizes the window (there is no window manager that would object)."""
        self._run(["xdotool", "windowsize", str(window), str(width), str(height)])
        self._run(["xdotool", "windowmove", str(window), str(x), str(y)])

    def raise_window(self, window: int) -> None:
        self._run(["xdotool", "windowraise", str(window), "windowfocus", str(window)], may_fail=True)

    def click(self, x: int, y: int, button: int = 1) -> None:
        """Clicks at a point of the screen."""
        self._run(["xdotool", "mousemove", str(x), str(y), "sleep", "0.1", "click", str(button)])

    def click_in(self, window: int, x: int, y: int, button: int = 1) -> None:
        """Clicks at a point of the window, counted from its top left corner."""
        left, top, _, _ = self.geometry(window)
        self.click(left + x, top + y, button)

    def keys(self, *names: str) -> None:
        """Presses keys or chords, named as xdotool names them ("Return", "alt+t")."""
        self._run(["xdotool", "key", "--clearmodifiers", *names])

    def type_text(self, text: str) -> None:
        self._run(["xdotool", "type", "--delay", "20", text])

    def ask_to_close(self, window: int) -> None:
        """Sends WM_DELETE_WINDOW, which is what the window's close button does."""
        _send_delete_window(self.name, window)

    def _run(self, command: list[str], may_fail: bool = False) -> bytes:
        need_program(command[0], command[0])
        done = subprocess.run(command, env=os.environ | self.environment(), capture_output=True, timeout=20)
        if done.returncode and not may_fail:
            raise RigError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout


class _ClientMessage(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),  # XEvent is a union of 24 longs; Xlib copies all of it
    )


def _send_delete_window(display_name: str, window: int) -> None:
    x11: Any = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    x11.XInternAtom.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
    x11.XSendEvent.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
    x11.XCloseDisplay.argtypes = (ctypes.c_void_p,)
    connection = x11.XOpenDisplay(display_name.encode())
    if not connection:
        raise RigError(f"cannot open display {display_name}")
    client_message = 33
    event = _ClientMessage(type=client_message, window=window, format=32)
    event.message_type = x11.XInternAtom(connection, b"WM_PROTOCOLS", 0)
    event.data[0] = x11.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
    x11.XSendEvent(connection, window, 0, 0, ctypes.byref(event))
    x11.XCloseDisplay(connection)  # flushes

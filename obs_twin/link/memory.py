"""Memory that two processes share and that the system takes back by itself.

Whatever dies, and however it dies, nothing may be left behind in shared memory. So no named POSIX segment is used:

- Linux: a memfd. It has no name anywhere; the other process opens it through `/proc/PID/fd/N`, and the pages go
  when the last of the two lets go.
- Windows: a named mapping backed by the page file. Windows drops it with its last handle.
- macOS and other systems: an unnamed-to-be file in the temporary folder; the creator unlinks it as soon as the
  other side has opened it, at the latest when it closes.

`create` is called by the host, `open_shared` by the engine with the text that `SharedMemory.handle` gave.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import secrets
import sys
import tempfile
from pathlib import Path


class SharedMemory:
    """One mapping. `address` is its first byte; the mapping stays valid until `close`."""

    def __init__(self, mapping: mmap.mmap, handle: str, fd: int | None = None, path: Path | None = None) -> None:
        self.mapping = mapping
        self.handle = handle
        self.bytes = len(mapping)
        self._fd = fd
        self._path = path
        self._first_byte: ctypes.c_char | None = ctypes.c_char.from_buffer(mapping)
        self.address = ctypes.addressof(self._first_byte)

    def peer_has_opened(self) -> None:
        """Tell the creator that the other side holds the mapping: a name that is left may go now."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None

    def close(self) -> None:
        """Let go. Structures laid over the memory must have been dropped; if one is still held somewhere, the
        mapping lives until that one goes, and not longer."""
        self.peer_has_opened()
        self._first_byte = None
        with contextlib.suppress(BufferError):
            self.mapping.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def create(size_bytes: int) -> SharedMemory:
    """Make zeroed memory of `size_bytes`.

    Raises:
        OSError: the system has no room; the message says how much was asked for.
    """
    try:
        if sys.platform == "win32":
            name = f"obs-twin-{os.getpid()}-{secrets.token_hex(8)}"
            return SharedMemory(mmap.mmap(-1, size_bytes, tagname=name), name)
        if sys.platform == "linux":
            fd = os.memfd_create("obs-twin", os.MFD_CLOEXEC)
            os.ftruncate(fd, size_bytes)
            return SharedMemory(mmap.mmap(fd, size_bytes), f"/proc/{os.getpid()}/fd/{fd}", fd)
        fd, path = tempfile.mkstemp(prefix="obs-twin-")
        os.ftruncate(fd, size_bytes)
        return SharedMemory(mmap.mmap(fd, size_bytes), path, fd, Path(path))
    except OSError as error:
        megabytes = size_bytes / 1e6
        raise OSError(
            error.errno,
            f"OBS Twin needs {megabytes:.0f} MB of memory for its delayed pictures and the system refused "
            f"({error.strerror}). Choose a shorter delay or a smaller picture, or close other programs.",
        ) from error


def open_shared(handle: str, size_bytes: int) -> SharedMemory:
    """Open what the other process made.

    Raises:
        OSError: it is gone (the other process has closed it or died), or smaller than `size_bytes`.
    """
    if sys.platform == "win32":
        return SharedMemory(mmap.mmap(-1, size_bytes, tagname=handle), handle)
    fd = os.open(handle, os.O_RDWR | os.O_CLOEXEC)
    try:
        found = os.fstat(fd).st_size
        if found < size_bytes:
            raise OSError(f"shared memory {handle}: expected {size_bytes} bytes, found {found}")
        return SharedMemory(mmap.mmap(fd, size_bytes), handle)
    finally:
        os.close(fd)

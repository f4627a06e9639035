"""Records what the meeting got: the virtual camera's frames and the cable's sound, in step as they arrived."""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from .camera import Camera, TappedFrame
from .process import RigError, need_program
from .sound import SAMPLE_RATE_HZ, Sound

QUEUE_FRAMES = 90


class Recorder:
    """Context manager: encodes the camera's frames (H.264 in Matroska, no sound yet) from entry to exit.

    Coding happens in ffmpeg at low priority behind a queue, so that the tap never waits. When the machine cannot
    keep up, frames are repeated instead (`repeated`), and the timing stays.
    """

    def __init__(self, camera: Camera, path: Path, size: tuple[int, int], fps: int) -> None:
        need_program("ffmpeg", "ffmpeg")
        self.path = path
        self.fps = fps
        self.repeated = 0
        self.times_ns: list[int] = []
        self._camera = camera
        self._size = size
        self._frames: queue.Queue[bytes | None] = queue.Queue(QUEUE_FRAMES)
        self._owed = 0
        self._unsubscribe: Callable[[], None] | None = None
        self._encoder: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Recorder:
        width, height = self._size
        command = ["nice", "-n", "5", "ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuyv422"]
        command += ["-s", f"{width}x{height}", "-r", str(self.fps), "-i", "-", "-threads", "1", "-c:v", "libx264"]
        command += ["-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", "-color_range", "tv"]
        command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", str(self.path)]
        self._encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self._thread = threading.Thread(target=self._feed, name="recorder", daemon=True)
        self._thread.start()
        self._unsubscribe = self._camera.subscribe(self._on_frame)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._unsubscribe
        self._unsubscribe()
        self._frames.put(None)
        assert self._encoder
        assert self._thread
        self._thread.join()
        _, complaint = self._encoder.communicate()
        if self._encoder.returncode and not error:
            raise RigError(f"ffmpeg could not record {self.path}: {complaint.decode(errors='replace')}")

    @property
    def start_ns(self) -> int:
        """When the first frame came, by the clock that fits all of them best.

        OBS repeats frames rather than leave one out, so frame k belongs to start + k / fps; single frames come late.
        """
        if not self.times_ns:
            raise RigError("no frame came from the virtual camera: is it on?")
        times = np.array(self.times_ns, np.int64)
        return int(np.median(times - np.arange(len(times)) * 10**9 // self.fps))

    @property
    def end_ns(self) -> int:
        return self.start_ns + len(self.times_ns) * 10**9 // self.fps

    def _on_frame(self, frame: TappedFrame) -> None:
        self.times_ns.append(frame.time_ns)
        try:
            self._frames.put_nowait(frame.yuyv.tobytes())
        except queue.Full:
            self._owed += 1

    def _feed(self) -> None:
        assert self._encoder
        assert self._encoder.stdin
        try:
            while (frame := self._frames.get()) is not None:
                owed, self._owed = self._owed, 0
                self.repeated += owed
                for _ in range(1 + owed):
                    self._encoder.stdin.write(frame)
        except BrokenPipeError:
            while self._frames.get() is not None:  # ffmpeg's complaint is reported at the end
                pass


def mux(recorder: Recorder, sound: Sound, path: Path) -> Sound:
    """Joins the recorded picture with the sound that arrived while it was recorded; returns that sound.

    Raises `RigError` when the cable was not tapped all that time.
    """
    part = sound.between(recorder.start_ns, recorder.end_ns)
    late_s = (part.start_ns - recorder.start_ns) / 1e9
    if not len(part.samples) or late_s > 0.1:
        raise RigError("the cable was not being tapped while the camera was recorded")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "sound.wav"
        soundfile.write(wav, part.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        command = ["ffmpeg", "-loglevel", "error", "-y", "-i", str(recorder.path)]
        command += ["-itsoffset", f"{max(late_s, 0):.4f}", "-i", str(wav), "-map", "0:v", "-map", "1:a"]
        done = subprocess.run([*command, "-c:v", "copy", "-c:a", "aac", "-b:a", "160k", str(path)], capture_output=True)
    if done.returncode:
        raise RigError(f"ffmpeg could not write {path}: {done.stderr.decode(errors='replace')}")
    return part

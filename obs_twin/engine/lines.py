"""Prepared lines: what the twin says at a key's press, in its own voice, in the microphone's place.

A line is made before it is needed, as soon as it stands in the filter's settings for a moment (each letter that is
typed changes them), so that it is there at once when the key is pressed. What is said is heard D after the press, as
everything is that is said into the microphone at that moment; the microphone is not heard meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from obs_twin.engine.priority import lower_thread
from obs_twin.voice.model import VoiceModelError, VoiceSettings
from obs_twin.voice.resample import AlignedResampler
from obs_twin.voice.saying import TwinSpeaker

if TYPE_CHECKING:
    from obs_twin.engine.twins import Twin
    from obs_twin.engine.voice import VoiceWorker

log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]

LINES = 4
SETTLED_S = 2.0
"""Settings that have not changed for so long are what the user meant."""
TWIN_WITHIN_S = 60.0
KEPT = 16

_Key = tuple[Any, ...]


def line_text(settings: Mapping[str, Any] | None, number: int) -> str:
    """The text of prepared line `number`, 1 to `LINES`; empty if there is none."""
    return str((settings or {}).get(f"say_line_{number}", "")).strip()


class PreparedLines:
    """Makes the lines of all streams and keeps the last few; safe to call from several threads."""

    def __init__(self) -> None:
        self._made: OrderedDict[_Key, F32] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._changes = 0

    def observe(self, worker: VoiceWorker) -> None:
        """Settings of that stream changed: make its lines, once they have settled."""
        settings = worker.settings
        worker.note = ""
        if any(line_text(settings, number) for number in range(1, LINES + 1)):
            self._changes += 1
            arguments = (worker, settings, self._changes)
            threading.Thread(target=self._prepare, args=arguments, daemon=True, name="prepare lines").start()

    def say(self, worker: VoiceWorker, number: int) -> None:
        """Say prepared line `number` on that stream, as soon as it is made. If there is none, the pane says so."""
        worker.note = ""
        if not line_text(worker.settings, number):
            worker.note = f"The key for line {number} was pressed, but that line is empty: write it below."
        else:
            threading.Thread(target=self._say, args=(worker, number), daemon=True, name="say a line").start()

    def _prepare(self, worker: VoiceWorker, settings: Mapping[str, Any] | None, change: int) -> None:
        lower_thread()
        time.sleep(SETTLED_S)
        deadline = time.monotonic() + TWIN_WITHIN_S
        while self._changes == change and worker.settings is settings and time.monotonic() < deadline:
            twin = worker.twin()
            if twin is not None and twin.pack is not None:
                for number in range(1, LINES + 1):
                    self._line(worker, twin, line_text(settings, number))
                return
            time.sleep(0.5)

    def _say(self, worker: VoiceWorker, number: int) -> None:
        lower_thread()
        twin = worker.twin()
        if twin is None or twin.pack is None:
            worker.note = f"Line {number} was not said: there is no twin whose consent is in order."
            log.warning("%s", worker.note)
            return
        sound = self._line(worker, twin, line_text(worker.settings, number))
        if sound is not None and twin.pack is not None:
            worker.announce(sound, at_once=False)

    def _line(self, worker: VoiceWorker, twin: Twin, text: str) -> F32 | None:
        """The line as sound at the stream's rate, `(N,)`; None if it cannot be said."""
        files = twin.voice_files()
        if not text or files is None or twin.pack is None:
            return None
        wanted = worker.settings or {}
        pitch = float(wanted.get("pitch_semitones", 0.0))
        options = dict(wanted.get("rvc") or {}) if files[0] == "rvc" else {}
        key = (twin.pack.manifest.models_digest, pitch, tuple(sorted(options.items())), worker.rate_hz, text)
        with self._making:  # one at a time, and none twice
            with self._lock:
                if key in self._made:
                    self._made.move_to_end(key)
                    return self._made[key]
            try:
                speaker = TwinSpeaker(files[0], files[1], VoiceSettings(pitch_semitones=pitch, options=options))
                resampler = AlignedResampler(speaker.sample_rate_hz, worker.rate_hz)
                sound = np.concatenate([resampler.push(speaker.say(text)), resampler.flush()])
            except (VoiceModelError, OSError) as error:
                worker.note = f"The line {text[:40]!r} cannot be said: {error}"
                log.error("%s", worker.note)
                return None
            with self._lock:
                self._made[key] = sound
                while len(self._made) > KEPT:
                    self._made.popitem(last=False)
            return sound

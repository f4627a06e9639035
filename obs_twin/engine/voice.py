"""The engine's end of one sound ring: the microphone's samples in, the twin's voice at the same positions out.

The delay is the host's: here, sample k of the voice is written at position k, as soon as it is known. Whatever must
not be heard (no consent, no voice, still loading) is written as silence.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.engine.metrics import Metrics
from obs_twin.engine.notices import PauseFinder
from obs_twin.engine.priority import raise_voice
from obs_twin.engine.twins import Twin, TwinLibrary
from obs_twin.link.sound import REVEAL, SoundRing
from obs_twin.voice.device_match import DeviceMatcher
from obs_twin.voice.model import VoiceModel, VoiceModelError, VoiceSettings
from obs_twin.voice.neural import NeuralVoice
from obs_twin.voice.plan import price_list
from obs_twin.voice.registry import open_voice
from obs_twin.voice.rvc.voice import RvcVoice

log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]

LIGHT = "light"
"""Setting "converter": the light voice instead of the twin's own, where the pack has the target's statistics."""
POLL_S = 0.005
COMPUTE_MS = 90.0
"""Kept free of the delay for computing and for the packets' own jitter."""
CONTEXT_S = 0.4
"""After a restart, the converter hears this much again before its output counts."""
MAX_BLOCK_S = 0.25
ANNOUNCE_AFTER_S = 0.15
PAUSE_WITHIN_S = 30.0
"""Somebody who does not pause for so long is interrupted."""
LISTED_DELAYS_MS = (300, 500, 700, 1000, 1500, 2500, 5000)
"""For which the pane says what they cost."""
MEASURED_FROM_S = 10.0
"""After so much converted sound, the costs are this machine's own."""


class VoiceWorker:
    """Converts one stream.

    Args:
        ring: opened by the caller, closed by `stop`.
        beep: given (OBS's timestamp of the first sample in ns, count, rate), the calibration's sound, or None.
    """

    def __init__(
        self,
        ring: SoundRing,
        twins: TwinLibrary,
        name: str,
        beep: Callable[[int, int, int], F32 | None] = lambda _ns, _n, _rate: None,
    ) -> None:
        self.name = name
        self.metrics = Metrics()
        self.settings: dict[str, Any] | None = None
        self.problem = ""
        self.note = ""
        self.rate_hz = ring.rate_hz
        self._ring = ring
        self._twins = twins
        self._beep = beep
        self._lanes = [
            np.frombuffer(ring.shared.mapping, np.float32, ring.capacity, ring.lane_offset(lane))
            for lane in range(ring.channels + 1)
        ]
        self._model: VoiceModel | None = None
        self._model_key: tuple[Any, ...] = ()
        self._actor_f0_hz: float | None = None  # learnt by a converter before this one
        self._discard = 0
        self._next_in = 0
        self._next_out = 0
        self._matcher = DeviceMatcher(self.rate_hz)
        self._announced: list[tuple[int, F32]] = []
        self._waiting: deque[tuple[F32, bool, bool]] = deque()
        self._pauses = PauseFinder(self.rate_hz)
        self._for_pause: deque[tuple[int, F32]] = deque()
        self._busy_s = 0.0
        self._converted_s = 0.0
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"voice {name}")
        self._thread.start()

    def stop(self) -> None:
        """End the thread and let go of the ring."""
        self._running = False
        self._thread.join(5.0)
        self._lanes.clear()
        self._ring.close()

    def announce(self, samples: F32, *, at_once: bool = True, in_a_pause: bool = False) -> None:
        """Put `(N,)` samples at the stream's rate in place of the voice.

        `at_once`: a notice, from what is played next on. Else a prepared line, in place of what is said into the
        microphone from now on, and after whatever is being announced; `in_a_pause`: once the speaker pauses.
        """
        self._waiting.append((samples, at_once, in_a_pause))

    def sent(self, seconds: float) -> tuple[F32, int] | None:
        """The last `seconds` of voice that the host has played, and when its end was played (monotonic ns)."""
        header = self._ring.header
        end_ns = int(header.in_time_ns)
        end = int(header.in_pos) - int(header.delay_samples)
        count = int(seconds * self.rate_hz)
        if end - count < int(header.out_from) or end > int(header.out_pos):
            return None
        return self._read(self._ring.voice_lane, end - count, count), end_ns

    # ---- the stream ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        raise_voice()
        while self._running:
            try:
                if not self._step():
                    time.sleep(POLL_S)
            except Exception:
                self.metrics.counts["error"] += 1
                if self.metrics.counts["error"] % 200 == 1:
                    log.exception("%s: voice", self.name)
                self._model = None
                self._model_key = ()
                time.sleep(0.1)

    def _step(self) -> bool:
        """Convert what there is. Returns whether there was anything."""
        header = self._ring.header
        in_pos = int(header.in_pos)
        if in_pos == 0:
            return False
        self._keep_model(in_pos)
        self._start_announcement(in_pos)
        ready = in_pos - self._next_in
        if ready > self._ring.capacity - self.rate_hz:
            self.metrics.counts["lost_too_late"] += 1
            self._begin(in_pos, in_pos)
            return True
        if ready <= 0:
            return False
        count = min(ready, int(MAX_BLOCK_S * self.rate_hz))
        block = self._mono(self._next_in, count)
        self._matcher.measure(block)
        self._use_pause(block)
        stamp_ns = int(header.origin_stamp_ns) + self._next_in * 1_000_000_000 // self.rate_hz
        self._next_in += count
        beep = self._beep(stamp_ns, count, self.rate_hz)
        if beep is not None:
            self._write(self._catch_up(beep))
        elif header.flags & REVEAL:
            self._write(self._catch_up(block))
        elif self._model is None:
            self._write(self._catch_up(np.zeros(count, np.float32)))
        else:
            start = time.thread_time()
            if self._next_out > self._next_in - count and not self._discard:
                # After a replacement that ended before the first sample that counts.
                self._discard = self._next_out - (self._next_in - count)
            with self.metrics.stage("convert"):
                # The other kinds have no speech that they learnt from to be brought nearer to.
                matched = self._matcher.correct(block) if isinstance(self._model, NeuralVoice) else block
                voice = self._model.push(matched)
            self._busy_s += time.thread_time() - start
            self._converted_s += count / self.rate_hz
            self._write(voice)
        return True

    def _catch_up(self, block: F32) -> F32:
        """What is to be written for a block that replaces the converter's output, so that positions stay true.

        The converter still owes samples before the block: they become silence. Or the block is context before the first
        sample that counts: then that part of it is left out.
        """
        if self._model is not None:
            self._model.reset()
        self._matcher.reset()
        gap = self._next_in - block.size - self._next_out
        written = np.concatenate([np.zeros(max(0, gap), np.float32), block[max(0, -gap) :]])
        self._discard = 0
        return written

    def _write(self, voice: F32) -> None:
        if self._discard:
            dropped = min(self._discard, voice.size)
            self._discard -= dropped
            voice = voice[dropped:]
        if not voice.size:
            return
        self._put(self._next_out, self._with_announcement(self._next_out, voice))
        self._next_out += voice.size
        self._ring.header.out_pos = self._next_out

    def _put(self, position: int, voice: F32) -> None:
        lane = self._lanes[self._ring.voice_lane]
        start = position % self._ring.capacity
        first = min(voice.size, self._ring.capacity - start)
        lane[start : start + first] = voice[:first]
        if voice.size > first:
            lane[: voice.size - first] = voice[first:]

    def _start_announcement(self, in_pos: int) -> None:
        """A notice is for those who listen now, so it also replaces voice that waits for its delay to pass."""
        if not self._waiting:
            return
        waiting, at_once, in_a_pause = self._waiting.popleft()
        header = self._ring.header
        if in_a_pause:
            self._for_pause.append((in_pos + int(PAUSE_WITHIN_S * self.rate_hz), waiting))
            return
        if not at_once:
            self._append_announcement(in_pos, waiting)
            return
        soon = in_pos - int(header.delay_samples) + int(ANNOUNCE_AFTER_S * self.rate_hz)
        start = max(soon, int(header.out_from), 0)
        self._announced.append((start, waiting))
        written = min(start + waiting.size, int(header.out_pos)) - start
        if written > 0:
            self._put(start, waiting[:written])

    def _append_announcement(self, position: int, sound: F32) -> None:
        """In place of what comes in at `position`, or after whatever is announced there. First in the list, so that no
        notice that is for at once is ever covered by it."""
        start = max([position, *(begin + other.size for begin, other in self._announced)])
        self._announced.insert(0, (start, sound))

    def _use_pause(self, block: F32) -> None:
        """Say what waits for a pause of the speaker, or has waited long enough; `block` was just taken in."""
        pausing = self._pauses.hear(block)
        if self._for_pause and (pausing or self._next_in > self._for_pause[0][0]):
            self._append_announcement(self._next_in, self._for_pause.popleft()[1])

    def _with_announcement(self, position: int, voice: F32) -> F32:
        """`voice`, to be written at `position`, with the parts of lines and notices that fall on it."""
        self._announced = [item for item in self._announced if position < item[0] + item[1].size]
        for start, notice in self._announced:
            first, end = max(position, start), min(position + voice.size, start + notice.size)
            if end > first:
                voice = voice.copy()
                voice[first - position : end - position] = notice[first - start : end - start]
        return voice

    def _keep_model(self, in_pos: int) -> None:
        """Open the converter that the settings, the twin and the delay ask for."""
        settings = self.settings
        header = self._ring.header
        twin = self.twin()
        files = twin.voice_files() if twin is not None else None
        if files is not None and (settings or {}).get("converter") == LIGHT and "target" in files[1]:
            files = ("world", files[1])
        delay_ms = 1000.0 * int(header.delay_samples) / self.rate_hz
        budget_ms = delay_ms - COMPUTE_MS
        pitch = float((settings or {}).get("pitch_semitones", 0.0))
        options = dict((settings or {}).get("rvc") or {}) if files is not None and files[0] == "rvc" else {}
        own = tuple(sorted(options.items()))
        key = (files[0], tuple(sorted(files[1].items())), round(budget_ms), pitch, own) if files else ()
        if key == self._model_key and self._next_in:
            return
        self._model_key = key
        if isinstance(self._model, NeuralVoice):
            self._actor_f0_hz = self._model.actor_f0_hz or self._actor_f0_hz
        self._model = None
        self.problem = ""
        if files is not None:
            try:
                self._model = open_voice(
                    files[0],
                    files[1],
                    sample_rate_hz=self.rate_hz,
                    delay_budget_ms=budget_ms,
                    settings=VoiceSettings(pitch_semitones=pitch, actor_f0_hz=self._actor_f0_hz, options=options),
                )
                if isinstance(self._model, RvcVoice):
                    log.info("%s: bound: %s; %s", self.name, "; ".join(self._model.bound), self._model.layout_text)
            except (VoiceModelError, OSError) as error:
                self.problem = f"Silence: {error}"
                log.error("%s: %s", self.name, error)
        out_from, out_pos = int(header.out_from), int(header.out_pos)
        # The oldest sample that will still be played; what an engine before this one wrote stays good.
        due = in_pos - int(header.delay_samples) + int(0.1 * self.rate_hz)
        if self._next_in:
            self._begin(self._next_out, self._next_out)
        elif out_pos > max(due, out_from):
            self._begin(max(0, out_pos - int(CONTEXT_S * self.rate_hz)), out_pos, keep_from=True)
        else:
            start = max(0, due)
            self._begin(max(0, start - int(CONTEXT_S * self.rate_hz)), start)

    def _begin(self, first_in: int, first_out: int, keep_from: bool = False) -> None:
        """Start to convert at `first_in`; what comes out before `first_out` is thrown away."""
        oldest = max(0, int(self._ring.header.in_pos) - self._ring.capacity + self.rate_hz)
        first_in = max(first_in, min(oldest, first_out))
        if self._model is not None:
            self._model.reset()
        self._matcher.reset()
        continuous = first_out == self._next_out or keep_from
        self._next_in, self._next_out = first_in, first_out
        self._discard = first_out - first_in
        header = self._ring.header
        if not continuous or not header.out_pos:
            header.out_from = first_out
            header.out_pos = first_out

    def twin(self) -> Twin | None:
        """The twin that the filter asks for."""
        settings = self.settings
        return None if settings is None else self._twins.get(str(settings.get("twin") or ""))

    def _mono(self, position: int, count: int) -> F32:
        """The microphone's channels, averaged."""
        mono = self._read(0, position, count)
        for lane in range(1, self._ring.channels):
            mono += self._read(lane, position, count)
        if self._ring.channels > 1:
            mono *= np.float32(1.0 / self._ring.channels)
        return mono

    def _read(self, lane: int, position: int, count: int) -> F32:
        samples = self._lanes[lane]
        start = position % self._ring.capacity
        first = min(count, self._ring.capacity - start)
        return np.concatenate([samples[start : start + first], samples[: count - first]])

    # ---- state --------------------------------------------------------------------------------------------------

    def rtf(self) -> float:
        """Processor time of this thread per second of sound since the start."""
        return self._busy_s / self._converted_s if self._converted_s else 0.0

    def _delays(self) -> list[str]:
        """What each delay costs and gives, for the pane; empty where the delay makes no difference."""
        if not isinstance(self._model, NeuralVoice):
            return []
        slower = self.rtf() / self._model.plan.cost if self._converted_s > MEASURED_FROM_S else 1.0
        return price_list(LISTED_DELAYS_MS, COMPUTE_MS, slower)

    def status(self) -> dict[str, Any]:
        """For the panel, the command line and the report."""
        twin = self.twin()
        problem, headline = self.problem, "Starting ..."
        if twin is not None and not twin.loading:
            if twin.problem:
                problem = f"Silence: {twin.problem}"
            elif twin.voice_files() is None:
                problem = f"Silence: the twin {twin.display_name} brings no voice. Choose another twin."
            else:
                headline = f"Speaking with the voice of {twin.display_name}"
        lag_ms = 0.0
        if self._model is not None:
            lag_ms = 1000.0 * self._model.lookahead_samples / self.rate_hz
        return {
            "kind": "sound",
            "name": self.name,
            "rate_hz": self.rate_hz,
            "rtf": round(self.rtf(), 4),
            "lookahead_ms": round(lag_ms, 1),
            "counts": dict(self.metrics.counts),
            "stage_ms": self.metrics.stage_ms(),
            "voice": {
                "headline": headline,
                "problem": problem,
                "consent": twin.consent if twin is not None else "",
                "note": self.note,
                "figures": f"{100 * self.rtf():.0f} % of one core, hears {lag_ms:.0f} ms ahead",
                "provider": self._model.provider if self._model is not None else "",
                "delays": self._delays(),
                "device": self._matcher.state()[: 2 if isinstance(self._model, NeuralVoice) else 1],
                "advice": self._matcher.advice(),
                "rvc": self._model.settings if isinstance(self._model, RvcVoice) else None,
                "bound": self._model.bound[0] if isinstance(self._model, RvcVoice) else "",
                "twin": twin.name if twin is not None else "",
            },
        }

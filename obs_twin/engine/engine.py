"""The engine: one process for all filters. Wires the rooms to the link.

The host tells it of rings and settings (`obs_twin.link.messages`); each ring gets a worker. Twice a second it says how
it is; the same goes into `status.json` in the state folder, for the command line and the demo's report.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from dataclasses import fields
from typing import IO, Any

from obs_twin.engine.calibration import Calibration
from obs_twin.engine.control import ControlServer
from obs_twin.engine.follow import Follower
from obs_twin.engine.lines import PreparedLines
from obs_twin.engine.notices import REPEAT_MINUTES, Notices, Repeats, spoken_notice
from obs_twin.engine.twins import RECHECK_S, TwinLibrary
from obs_twin.engine.video import VideoWorker
from obs_twin.engine.voice import VoiceWorker
from obs_twin.link import messages
from obs_twin.link.disclosure_rule import notice_on
from obs_twin.link.frames import FrameRing
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.link.sound import SoundRing
from obs_twin.twin.consent import Use
from obs_twin.twin.log import SessionLog
from obs_twin.zoo.store import ModelStore

log = logging.getLogger(__name__)

STATUS_S = 0.5
ANNOUNCE_WITHIN_S = 60.0
"""A twin that becomes live later than this after the start has no listeners who have not seen its card."""


class Engine:
    """See the module's text.

    Args:
        incoming, outgoing: the host's messages, and ours to it.
    """

    def __init__(self, incoming: IO[bytes], outgoing: IO[bytes]) -> None:
        self._incoming = incoming
        self._writer = messages.Writer(outgoing)
        self._session = SessionLog()
        self._twins = TwinLibrary(ModelStore(), self._session)
        self._calibration = Calibration()
        self._follower = Follower(self._calibration, self._voices)
        self._video: dict[int, VideoWorker] = {}
        self._voice: dict[int, VoiceWorker] = {}
        self._wishes: dict[int, messages.Message] = {}
        self._lock = threading.Lock()
        self._notices = Notices(self._session)
        self._repeats = Repeats()
        self._lines = PreparedLines()
        self._delay_ns = 0
        self._device = ""
        self._host: dict[str, Any] = {}
        self._started_s = time.monotonic()
        self._running = True

    def run(self) -> None:
        """Until the host says quit, or goes away."""
        control = ControlServer(self._request)
        reporter = threading.Thread(target=self._report, daemon=True, name="status")
        reporter.start()
        self._writer.send({"type": "ready", "pid": os.getpid()})
        for message in messages.read(self._incoming):
            if message["type"] == "quit":
                break
            try:
                self._on_message(message)
            except Exception:
                log.exception("message %s", message.get("type"))
        self._running = False
        control.close()
        for twin in self._twins.live():
            self._session.stopped(twin.name, "OBS or its script ended")
        self._follower.stop()
        reporter.join(2.0)
        workers: list[VideoWorker | VoiceWorker] = [*self._video.values(), *self._voice.values()]
        for worker in workers:
            worker.stop()

    # ---- the host's messages ------------------------------------------------------------------------------------

    def _on_message(self, message: messages.Message) -> None:
        kind = message["type"]
        if kind == "open_video":
            self._open_video(message)
        elif kind == "open_sound":
            self._open_sound(message)
        elif kind == "settings":
            self._settings(message)
        elif kind == "close":
            self._close(int(message["stream"]))
        elif kind == "delay":
            self._delay_ns = int(message["delay_ns"])
        elif kind == "use":
            self._twins.use = Use(**{f.name: str(message.get(f.name) or "").strip() or None for f in fields(Use)})
        elif kind == "hello":
            self._repeats.go_on(list(message.get("live") or ()), time.monotonic())
            self._device = str(message.get("monitoring_device", ""))
            self._calibration.use_device(self._device)
            self._follower.listen_to(self._device)
        elif kind == "host":
            self._host = {k: v for k, v in message.items() if k != "type"}
        elif kind == "say":
            for voice in self._voices():
                self._lines.say(voice, int(message["line"]))
        elif kind == "event":
            self._event(str(message.get("event", "")))

    def _event(self, event: str) -> None:
        log.info("event %s", event)
        name, _, state = event.rpartition("_")
        if name == "reveal":
            self._session.reveal(state == "on")
        elif name == "panic":
            self._session.panic(state == "on")
        elif event == "say_notice":
            for voice in self._voices():
                self._announce(voice, again=True, in_a_pause=False)
        elif self._repeats.event(event, time.monotonic()):
            for voice in self._voices():
                self._announce(voice, again=False, in_a_pause=False)

    def _repeat_notices(self) -> None:
        """Say the spoken notice again on the streams where it is due."""
        with self._lock:
            voices = dict(self._voice)
        for number, voice in voices.items():
            minutes = float((voice.settings or {}).get("notice_minutes") or REPEAT_MINUTES)
            if self._repeats.due(number, minutes, time.monotonic()):
                self._announce(voice, again=True, in_a_pause=True)

    @staticmethod
    def _announce(voice: VoiceWorker, *, again: bool, in_a_pause: bool) -> None:
        """Say the notice; speaking takes a moment, and messages must go on."""
        arguments = (voice, again, in_a_pause)
        threading.Thread(target=Engine._say_notice, args=arguments, daemon=True, name="notice").start()

    @staticmethod
    def _say_notice(voice: VoiceWorker, again: bool, in_a_pause: bool) -> None:
        deadline = time.monotonic() + ANNOUNCE_WITHIN_S
        while time.monotonic() < deadline:
            twin = voice.twin()
            if twin is not None and twin.pack is not None:
                if notice_on(voice.settings or {}, "spoken_notice"):
                    sound = spoken_notice(twin.display_name, twin.synthetic, voice.rate_hz, again)
                    voice.announce(sound, at_once=not in_a_pause, in_a_pause=in_a_pause)
                return
            time.sleep(0.2)

    def _open_video(self, message: messages.Message) -> None:
        number = int(message["stream"])
        self._close(number)
        ring = FrameRing.open(str(message["handle"]), int(message["bytes"]))
        self._writer.send({"type": "opened", "stream": number})
        worker = VideoWorker(ring, self._twins, str(message.get("name", "")), self._calibration.lit_share)
        with self._lock:
            self._video[number] = worker
        self._tell(number)

    def _open_sound(self, message: messages.Message) -> None:
        number = int(message["stream"])
        self._close(number)
        ring = SoundRing.open(str(message["handle"]), int(message["bytes"]))
        self._writer.send({"type": "opened", "stream": number})
        worker = VoiceWorker(ring, self._twins, str(message.get("name", "")), self._calibration.beep)
        with self._lock:
            self._voice[number] = worker
        self._tell(number)

    def _settings(self, message: messages.Message) -> None:
        self._wishes[int(message["stream"])] = message
        self._tell(int(message["stream"]))

    def _tell(self, number: int) -> None:
        """Give a worker its settings: they may come before the ring, and outlive it."""
        message = self._wishes.get(number)
        if message is None:
            return
        for kind in ("face", "voice"):
            if message.get(kind) is not None:
                self._notices.observe(kind, message[kind])
        if number in self._video:
            self._video[number].set_wishes(message.get("face"), message.get("background"))
        if number in self._voice:
            self._voice[number].settings = message.get("voice")
            self._lines.observe(self._voice[number])

    def _close(self, number: int) -> None:
        with self._lock:
            worker: VideoWorker | VoiceWorker | None = self._video.pop(number, None) or self._voice.pop(number, None)
        if worker is not None:
            worker.stop()

    def _voices(self) -> list[VoiceWorker]:
        with self._lock:
            return list(self._voice.values())

    # ---- the command line's requests ----------------------------------------------------------------------------

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        what = request.get("ask")
        if what == "status":
            return self._status()
        if what == "test_signal":
            self._calibration.test(bool(request["on"]))
            return {"ok": True, "shift_ns": self._calibration.shift_ns}
        if what == "set_shift":
            self._calibration.set_shift(int(request["shift_ns"]))
            self._follower.restart()
            return {"ok": True, "shift_ns": self._calibration.shift_ns}
        return {"error": f"unknown request {what!r}; known are status, test_signal, set_shift"}

    # ---- state --------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        with self._lock:
            workers: dict[int, VideoWorker | VoiceWorker] = {**self._video, **self._voice}
        return {
            "type": "status",
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "delay_ms": self._delay_ns / 1e6,
            "shift_ns": self._follower.shift_ns(),
            "monitoring_device": self._device,
            "calibrated": self._calibration.known,
            "calibrating": self._calibration.testing,
            "following": self._follower.status(),
            "twins": self._twins.listing(),
            "streams": {str(number): worker.status() for number, worker in workers.items()},
            "host": self._host,
        }

    def _report(self) -> None:
        path = ensure(user_dirs().state) / "status.json"
        rechecked_s = 0.0
        while self._running:
            try:
                if time.monotonic() - rechecked_s > RECHECK_S:
                    rechecked_s = time.monotonic()
                    self._twins.recheck()
                    self._repeat_notices()
                status = self._status()
                self._writer.send(status)
                temporary = path.with_suffix(".tmp")
                temporary.write_text(json.dumps(status), encoding="utf-8")
                temporary.replace(path)
            except OSError as error:
                log.warning("status: %s", error)
            except Exception:
                log.exception("status")
            time.sleep(STATUS_S)

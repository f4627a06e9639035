"""Everything of ours inside OBS, wired together; one per process.

The host outlives the script: OBS may unload and load the script at will (reload, another scene collection) while
filters of ours exist, and those must go on failing closed. `get` gives the one host; the script only calls it.

Threads: OBS's graphics thread and audio threads run the streams' `cross`; OBS's user interface thread creates,
updates and removes filters; our housekeeping thread does everything that may take time. No lock of ours is held
over a call into libobs.
"""

from __future__ import annotations

import atexit
import re
import sys
import threading
import time
from typing import Any

from obs_twin.host import filters, libobs, panel
from obs_twin.host.delay import Delay
from obs_twin.host.engine_process import EngineProcess
from obs_twin.host.libobs import LibObs
from obs_twin.host.register import Registry
from obs_twin.host.sound import SoundStream
from obs_twin.host.video import VideoStream
from obs_twin.link import messages
from obs_twin.link.disclosure_rule import notice_on
from obs_twin.link.frames import FrameRing
from obs_twin.link.sound import SoundRing

TICK_S = 0.05
SWITCH_S = 0.0005
SLATE_S = 5.0
REST_NS = 300_000_000
"""A source that changes its format all the time gets the card, not a ring for each change."""
RETIRE_S = 2.0
"""A ring that a hot path may just be using is unmapped this much later."""
NUMBER = re.compile(r"[-+]?\d[\d.]*")
LIVE_EVENTS = ("virtualcam_started", "streaming_started", "recording_started")


class _Attached:
    """A stream, its number on the link, and a weak reference to its OBS source."""

    def __init__(self, number: int, stream: VideoStream | SoundStream, weak: int) -> None:
        self.number = number
        self.stream = stream
        self.weak = weak
        self.filters: list[filters.TwinFilter] = []
        self.sync_ns: int | None = None


class Host:
    """See the module's text."""

    def __init__(self) -> None:
        # OBS's threads wait for Python's lock in each callback. A thread that computes gives it up after 5 ms unless
        # told otherwise, and that is a sixth of a frame.
        sys.setswitchinterval(SWITCH_S)
        self.obs = LibObs()
        self.registry = Registry(self.obs)
        self.delay = Delay()
        self.engine = EngineProcess(self._engine_started, self._engine_said, self.obs.log)
        self.status: messages.Message = {}
        self.twins: list[dict[str, Any]] = []
        self.use: dict[str, str] = {}
        self.reveal = False
        self.panic = False
        self._filters: list[filters.TwinFilter] = []
        self._video: dict[int, _Attached] = {}
        self._sound: dict[int, _Attached] = {}
        self._retired: list[tuple[float, FrameRing | SoundRing]] = []
        self._next_number = 1
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._running = False
        self._thread: threading.Thread | None = None
        self._script_loaded = False
        self._live: set[str] = set()
        self._pane_shape: dict[int, list[str]] = {}

    # ---- the script ---------------------------------------------------------------------------------------------

    def script_loaded(self) -> None:
        """Register the filter types (first time) or enable them again, and start work."""
        for filter_type in filters.filter_types(self):
            self.registry.register(filter_type)
        self._script_loaded = True
        self._ensure_running()

    def script_unloaded(self) -> None:
        """The script is gone. Filters that still exist go on (and go on failing closed)."""
        self._script_loaded = False
        if not self._filters:
            self.stop()

    def frontend_event(self, event: str) -> None:
        """Something of OBS's user interface: `event` as in `LIVE_EVENTS`, or "exit"."""
        if event == "exit":
            self.stop()
            return
        output, _, state = event.rpartition("_")
        if state == "stopped":
            self._live.discard(output)
        if event in LIVE_EVENTS:
            self._live.add(output)
            until = time.monotonic_ns() + int(SLATE_S * 1e9)
            for attached in list(self._video.values()):
                stream = attached.stream
                if isinstance(stream, VideoStream) and stream.effects.face and stream.controls.slate:
                    stream.controls.slate_until_ns = until
        self.engine.send({"type": "event", "event": event})

    def set_reveal(self, reveal: bool) -> None:
        """Deliberately show the real picture and voice (from what is captured now on)."""
        self.reveal = reveal
        self._spread_controls()
        self.engine.send({"type": "event", "event": "reveal_on" if reveal else "reveal_off"})

    def set_panic(self, panic: bool) -> None:
        """Card and silence, at once."""
        self.panic = panic
        self._spread_controls()
        self.engine.send({"type": "event", "event": "panic_on" if panic else "panic_off"})

    def say_line(self, number: int) -> None:
        """Say a prepared line (1 to `filters.SAY_LINES`) with the twin's voice, on each source that has one."""
        self.engine.send({"type": "say", "line": number})

    def say_notice(self) -> None:
        """Say the spoken notice now, on each source that has a twin's voice."""
        self.engine.send({"type": "event", "event": "say_notice"})

    def panel_text(self) -> tuple[tuple[str, int], str]:
        """State for the script's panel: what is wrong (empty if nothing is) and how bad that is, and the rest."""
        return panel.overview(self)

    # ---- the filters (user interface thread, or OBS's loading) ----------------------------------------------------

    def add_filter(self, twin_filter: filters.TwinFilter) -> None:
        """A filter was created."""
        with self._lock:
            self._filters.append(twin_filter)
        self._ensure_running()

    def drop_filter(self, twin_filter: filters.TwinFilter) -> None:
        """A filter was destroyed."""
        self.detach(twin_filter)
        with self._lock:
            if twin_filter in self._filters:
                self._filters.remove(twin_filter)
        if not self._filters and not self._script_loaded:
            self.stop()

    def attach_video(self, twin_filter: filters.VideoFilter, parent: int) -> VideoStream:
        """First frame: find or make the crossing of this source."""
        with self._lock:
            attached = self._video.get(parent)
        if attached is None:
            stream = VideoStream(self.obs, parent, self.obs.source_name(parent))
            stream.video_delay_ns = self.delay.video_delay_ns
            attached = self._new(stream, parent)
            with self._lock:
                self._video[parent] = attached
        attached.filters.append(twin_filter)
        assert isinstance(attached.stream, VideoStream)
        effects = attached.stream.effects
        (effects.face if twin_filter.kind == "face" else effects.background).append(twin_filter.source)
        self._spread_controls()
        self._tell_settings(attached)
        return attached.stream

    def attach_sound(self, twin_filter: filters.VoiceFilter, parent: int) -> SoundStream:
        """First packet: find or make the crossing of this source."""
        with self._lock:
            attached = self._sound.get(parent)
        if attached is None:
            rate_hz, channels = self.obs.audio_format()
            stream = SoundStream(parent, self.obs.source_name(parent), rate_hz, channels)
            stream.delay_samples = round(self.delay.delay_ns * rate_hz / 1e9)
            attached = self._new(stream, parent)
            with self._lock:
                self._sound[parent] = attached
        attached.filters.append(twin_filter)
        twin_filter.remember_sync_offset(parent)
        self._spread_controls()
        self._tell_open(attached)
        self._tell_settings(attached)
        assert isinstance(attached.stream, SoundStream)
        return attached.stream

    def detach(self, twin_filter: filters.TwinFilter) -> None:
        """A filter leaves its source; the last one closes the crossing."""
        for table in (self._video, self._sound):
            for parent, attached in list(table.items()):
                if twin_filter not in attached.filters:
                    continue
                attached.filters.remove(twin_filter)
                if isinstance(attached.stream, VideoStream):
                    for handles in (attached.stream.effects.face, attached.stream.effects.background):
                        if twin_filter.source in handles:
                            handles.remove(twin_filter.source)
                if attached.filters:
                    self._spread_controls()
                    self._tell_settings(attached)
                else:
                    with self._lock:
                        table.pop(parent, None)
                    self._close(attached)
        if isinstance(twin_filter, filters.VideoFilter | filters.VoiceFilter):
            twin_filter.stream = None

    def settings_changed(self, twin_filter: filters.TwinFilter) -> None:
        """A filter's settings changed: tell the engine, and the hot path what concerns it."""
        self._spread_controls()
        for attached in self._all():
            if twin_filter in attached.filters:
                self._tell_settings(attached)

    def choose_delay(self, delay_ms: int) -> None:
        """Set the one delay D, from any pane or the panel, and show it in all of them."""
        if not self.delay.set_delay_ms(delay_ms):
            return
        with self._lock:
            known = list(self._filters)
        for twin_filter in known:
            if twin_filter.values.get("delay_ms") != self.delay.delay_ms:
                twin_filter.show_delay(self.delay.delay_ms)
        self._tell_delay()
        self._wake.set()

    def state_use(self, use: dict[str, str]) -> None:
        """What the operator says the twins are used for: texts by the names of the consent's limits."""
        if use != self.use:
            self.use = use
            self._tell_use()

    def twin_options(self, chosen: str) -> list[tuple[str, str]]:
        """(shown, value) of each twin pack that the engine found; the chosen one even if it is missing."""
        options = [(str(t.get("title") or t["name"]), str(t["name"])) for t in self.twins]
        if chosen and chosen not in [value for _shown, value in options]:
            options.insert(0, (f"{chosen} (not found on this computer)" if self.twins else chosen, chosen))
        return options

    def face_kind(self, name: str) -> str:
        """What kind of model draws that twin's face ("mesh", "dfm"); empty while the engine has not said."""
        return next((str(twin.get("face") or "") for twin in self.twins if twin.get("name") == name), "")

    def filter_state(self, twin_filter: filters.TwinFilter) -> tuple[str, int]:
        """State for a filter's pane."""
        for attached in self._all():
            if twin_filter in attached.filters:
                return panel.filter_text(self, twin_filter, attached.number, attached.stream)
        return "Waiting for the first picture or sound of this source.", libobs.TEXT_INFO_NORMAL

    def engine_state(self, twin_filter: filters.TwinFilter) -> dict[str, Any]:
        """What the engine says of this filter; empty before it has said anything."""
        for attached in self._all():
            if twin_filter in attached.filters:
                streams = self.status.get("streams", {})
                state: dict[str, Any] = streams.get(str(attached.number), {}).get(twin_filter.kind, {})
                return state
        return {}

    def voice_delays(self, twin_filter: filters.TwinFilter) -> list[str]:
        """What each delay costs and gives for this voice, as the engine says; empty if it makes no difference."""
        for attached in self._all():
            if twin_filter in attached.filters:
                return panel.voice_delays(self, attached.number)
        return []

    def attached_streams(self) -> list[tuple[int, VideoStream | SoundStream, list[filters.TwinFilter]]]:
        """(number, stream, filters) of every crossing."""
        return [(a.number, a.stream, list(a.filters)) for a in self._all()]

    # ---- engine -------------------------------------------------------------------------------------------------

    def _engine_started(self) -> None:
        """A new engine knows nothing: tell it everything."""
        name, device = self.obs.monitoring_device()
        live = sorted(self._live)
        self.engine.send({"type": "hello", "monitoring_device": device, "monitoring_name": name, "live": live})
        self._tell_delay()
        self._tell_use()
        for attached in self._all():
            self._tell_open(attached)
            self._tell_settings(attached)

    def _engine_said(self, message: messages.Message) -> None:
        if message["type"] == "opened":
            for attached in self._all():
                if attached.number == message.get("stream") and attached.stream.ring is not None:
                    attached.stream.ring.shared.peer_has_opened()
        elif message["type"] == "status":
            self.status = message
            self.twins = message.get("twins", self.twins)
            if "shift_ns" in message:
                self.delay.set_shift_ns(int(message["shift_ns"]))

    def _tell_delay(self) -> None:
        self.engine.send({"type": "delay", "delay_ns": self.delay.delay_ns, "shift_ns": self.delay.shift_ns})

    def _tell_use(self) -> None:
        self.engine.send({"type": "use", **self.use})

    def _tell_open(self, attached: _Attached) -> None:
        ring = attached.stream.ring
        if ring is None:
            return
        kind = "open_video" if isinstance(ring, FrameRing) else "open_sound"
        self.engine.send(
            {
                "type": kind,
                "stream": attached.number,
                "handle": ring.shared.handle,
                "bytes": ring.shared.bytes,
                "name": attached.stream.name,
            }
        )

    def _tell_settings(self, attached: _Attached) -> None:
        message: messages.Message = {"type": "settings", "stream": attached.number}
        for twin_filter in attached.filters:
            message[twin_filter.kind] = twin_filter.values
        self.engine.send(message)

    # ---- housekeeping -------------------------------------------------------------------------------------------

    def _ensure_running(self) -> None:
        if self._running:
            return
        self._running = True
        self.engine.start()
        self._thread = threading.Thread(target=self._housekeeping, daemon=True, name="obs-twin housekeeping")
        self._thread.start()

    def stop(self) -> None:
        """End the engine and the housekeeping thread; whatever still flows fails closed."""
        if not self._running:
            return
        self._running = False
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)
        self.engine.stop()

    def _housekeeping(self) -> None:
        ticks = 0
        while self._running:
            try:
                self._tick(ticks)
            except Exception as error:
                self.registry.errors["housekeeping"] += 1
                if self.registry.errors["housekeeping"] % 1000 == 1:
                    self.obs.log(f"housekeeping: {error!r}", libobs.LOG_ERROR)
            ticks += 1
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _tick(self, ticks: int) -> None:
        now_ns = time.monotonic_ns()
        self.engine.tick()
        streams = self._all()
        watched = any(now_ns - a.stream.last_frame_ns < 10**9 for a in streams if isinstance(a.stream, VideoStream))
        self.delay.tick(now_ns, watched)
        for attached in streams:
            stream = attached.stream
            if isinstance(stream, VideoStream):
                stream.video_delay_ns = self.delay.video_delay_ns
                self._keep_ring(attached, stream)
            else:
                stream.delay_samples = round(self.delay.delay_ns * stream.rate_hz / 1e9)
                self._keep_sync_offset(attached)
        while self._retired and self._retired[0][0] < time.monotonic():
            self._retired.pop(0)[1].close()
        if ticks % 10 == 0:
            self._tell_panes()
            self._tell_counts()

    def _keep_ring(self, attached: _Attached, stream: VideoStream) -> None:
        ring = stream.ring
        if ring is not None and stream.wanted is None:
            needed = stream.slots_needed(self.delay.video_delay_ns, self.obs.fps())
            if needed > ring.slots:
                self._retired.append((time.monotonic() + RETIRE_S, ring))
                stream.make_again()
        if stream.wanted is None or time.monotonic_ns() - stream.made_ns < REST_NS:
            return
        if ring is not None and stream.ring is ring:
            self._retired.append((time.monotonic() + RETIRE_S, ring))
        if stream.make_ring(self.delay.video_delay_ns, self.obs.fps()) is not None:
            if stream.controls.slate and stream.effects.face:
                stream.controls.slate_until_ns = time.monotonic_ns() + int(SLATE_S * 1e9)
            self._tell_open(attached)

    def _keep_sync_offset(self, attached: _Attached) -> None:
        shift_ns = self.delay.shift_ns // 1_000_000 * 1_000_000
        if attached.sync_ns == shift_ns:
            return
        attached.sync_ns = shift_ns
        source = self.obs.obs_weak_source_get_source(attached.weak)
        if source:
            self.obs.obs_source_set_sync_offset(source, shift_ns)
            self.obs.obs_source_release(source)

    def _tell_counts(self) -> None:
        """What only the host knows, for the engine's status file."""
        self.engine.send(
            {
                "type": "host",
                "restarts": self.engine.restarts,
                "delay_ms": self.delay.delay_ms,
                "shift_ms": round(self.delay.shift_ns / 1e6, 2),
                "errors": dict(self.registry.errors),
                "counts": {str(a.number): dict(a.stream.counts) for a in self._all()},
                "showing": {str(a.number): a.stream.showing for a in self._all() if isinstance(a.stream, VideoStream)},
                "problem": self.picture_problem(),
            }
        )

    def _tell_panes(self) -> None:
        """Ask OBS to redraw the panes of filters whose state text changed in kind (not in its figures)."""
        for attached in self._all():
            if isinstance(attached.stream, VideoStream):
                attached.stream.steady.look(attached.stream.showing, time.monotonic())
        with self._lock:
            known = list(self._filters)
        for twin_filter in known:
            text, _level = self.filter_state(twin_filter)
            note = str(self.engine_state(twin_filter).get("note", ""))
            shape = [text.split("\n", 1)[0], str(len(self.twins)), NUMBER.sub("", note)]
            if twin_filter.kind == "face":
                shape.append(self.face_kind(str(twin_filter.values.get("twin", ""))))
            elif twin_filter.kind == "voice":
                voice = self.engine_state(twin_filter)
                shape += [str(bool(voice.get(part))) for part in ("rvc", "delays")]
                shape += [NUMBER.sub("", str(line)) for line in voice.get("advice") or ()]
            if self._pane_shape.get(twin_filter.source) != shape:
                self._pane_shape[twin_filter.source] = shape
                if twin_filter in self._filters:
                    self.obs.obs_source_update_properties(twin_filter.source)

    # ---- helpers ------------------------------------------------------------------------------------------------

    def _all(self) -> list[_Attached]:
        with self._lock:
            return [*self._video.values(), *self._sound.values()]

    def _new(self, stream: VideoStream | SoundStream, parent: int) -> _Attached:
        weak = int(self.obs.obs_source_get_weak_source(parent) or 0)
        with self._lock:
            number = self._next_number
            self._next_number += 1
        return _Attached(number, stream, weak)

    def _close(self, attached: _Attached) -> None:
        self.engine.send({"type": "close", "stream": attached.number})
        ring, attached.stream.ring = attached.stream.ring, None
        if ring is not None:
            self._retired.append((time.monotonic() + RETIRE_S, ring))
        if attached.weak:
            self.obs.obs_weak_source_release(attached.weak)
            attached.weak = 0

    def _spread_controls(self) -> None:
        """Copy what the hot paths need to know to where they read it."""
        for attached in self._all():
            stream = attached.stream
            if isinstance(stream, SoundStream):
                stream.reveal, stream.panic = self.reveal, self.panic
                continue
            controls = stream.controls
            controls.reveal, controls.panic = self.reveal, self.panic
            face = [f.values for f in attached.filters if f.kind == "face"]
            background = [f.values for f in attached.filters if f.kind == "background"]
            if face:
                controls.policy = str(face[0]["failure_policy"])
                controls.slate = notice_on(face[0], "slate")
            else:
                controls.slate = False
            controls.transparent = bool(background) and background[0]["mode"] == "transparent"

    def picture_problem(self) -> str:
        """A picture format that cannot be handled, in words; empty if all is well."""
        return " ".join(a.stream.problem for a in self._all() if isinstance(a.stream, VideoStream) and a.stream.problem)


_host: Host | None = None


def get() -> Host:
    """The host of this OBS process.

    Raises:
        OSError, AttributeError: this is not OBS, or one too old; see `LibObs`.
    """
    global _host
    if _host is None:
        _host = Host()
        atexit.register(_host.stop)
    return _host

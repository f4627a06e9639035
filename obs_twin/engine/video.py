"""A frame's way through the engine.

```
 ring: raw --decode--> bgr --perceive, matte--> pending --(lookahead)--> smooth, twin, room, badge --encode--> ring
        intake thread, in order                 window         finishing threads, one frame each
```

Perception runs in order in one thread, because trackers and mattes remember. Finishing a frame needs nothing but the
frame and its neighbours' landmarks, so any free core may do it. A frame waits for the landmarks of frames after it as
long as its deadline (capture + D) allows. Frames that can no longer be in time are left undone: the host shows the
nearest finished one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.background import compose
from obs_twin.background.matte import Matte
from obs_twin.engine.actor import ActorWatch
from obs_twin.engine.cards import Cards, card_words
from obs_twin.engine.metrics import Metrics
from obs_twin.engine.pixels import Codec
from obs_twin.engine.priority import lower_thread
from obs_twin.engine.twins import Twin, TwinLibrary, read_picture
from obs_twin.face.dfm.settings import DfmSettings
from obs_twin.face.hair import COLOURS, Hair, HairFinder, tint
from obs_twin.face.observation import FaceObservation
from obs_twin.face.occlusion import MOST_COVERED
from obs_twin.face.registry import FaceModelError
from obs_twin.face.settings import FaceSettings
from obs_twin.face.smooth import MAX_GAP_NS, smooth
from obs_twin.link.disclosure_rule import notice_on
from obs_twin.link.frames import BACKGROUND, FACE, FALLBACK, REVEAL, REVEALED, TEST, TWIN, FrameRing
from obs_twin.link.paths import user_dirs
from obs_twin.twin import disclosure
from obs_twin.zoo.catalogue import ModelError

log = logging.getLogger(__name__)

U8 = npt.NDArray[np.uint8]
Rect = tuple[int, int, int, int]

PROVIDER = f"LiteRT {version('ai-edge-litert')} (XNNPACK) and numba {version('numba')}, both on the CPU"
"""The perception nets and the renderer have no other backend."""
POLL_S = 0.003
MAX_LOOKAHEAD_NS = 200_000_000
COMPUTE_NS = 120_000_000
"""Kept free of the delay for the computing itself."""
URGENT_NS = 70_000_000
"""A frame this near to its deadline is finished without further waiting."""
START_AHEAD_NS = 300_000_000
"""A new engine leaves out the frames that are due sooner than this: it would be late for each of them."""
BACKLOG_FRAMES = 10
MAX_PENDING = 24
WINDOW_NS = 350_000_000
BRIDGE_NS = MAX_GAP_NS + 50_000_000
"""How far a frame without a face looks for one on either side, where the delay allows."""
HOLD_NS = 2_000_000_000
# Beyond these angles a one-photo mesh has nothing to show; the last degrees are a fade to the failure policy. The
# landmark network is exact up to about 55 degrees of yaw, and says 60 for everything beyond.
FADE_YAW_DEG, MAX_YAW_DEG = 49.0, 56.0
FADE_PITCH_DEG, MAX_PITCH_DEG = 32.0, 40.0
FADE_COVERED = 0.5  # of the face, hidden by things in front of it


@dataclass
class Work:
    """One frame on its way."""

    seq: int
    index: int
    time_ns: int
    deadline_ns: int
    flags: int
    bgr: U8
    observation: FaceObservation | None
    alpha: npt.NDArray[np.float32] | None
    stamp_ns: int
    hair: Hair | None = None


@dataclass
class Wishes:
    """What the filters on this source ask for."""

    face: dict[str, Any] | None = None
    background: dict[str, Any] | None = None
    face_settings: FaceSettings = field(default_factory=FaceSettings)
    picture: U8 | None = None
    picture_problem: str = ""
    version: int = 0


class VideoWorker:
    """The engine's end of one frame ring.

    Args:
        ring: opened by the caller, closed by `stop`.
        twins: where twins come from.
        name: the source's name, for messages.
        lit_share: given OBS's timestamp of a frame and its duration, both in ns, how white calibration wants it (0..1);
            None outside calibration.
    """

    def __init__(
        self,
        ring: FrameRing,
        twins: TwinLibrary,
        name: str,
        lit_share: Callable[[int, int], float | None] = lambda _stamp_ns, _duration_ns: None,
    ) -> None:
        self.name = name
        self.metrics = Metrics()
        self.wishes = Wishes()
        self.problem = ""
        self._ring = ring
        self._twins = twins
        self._lit_share = lit_share
        self._frame_ns = 33_333_333
        picture = ring.picture
        self.width, self.height = picture.width, picture.height
        matrix = (picture.color_matrix, picture.color_range_min, picture.color_range_max)
        self._codec = Codec(picture.format, picture.width, picture.height, *matrix, picture.full_range, picture.flip)
        self._out_codec = self._codec
        if picture.out_format != picture.format:
            self._out_codec = Codec(
                picture.out_format, picture.width, picture.height, full_range=True, flip=picture.flip
            )
        self.transparent = self._out_codec.has_alpha
        memory = np.frombuffer(ring.shared.mapping, np.uint8)
        self._pictures = [
            memory[ring.picture_offset(i) : ring.picture_offset(i) + ring.slot_bytes] for i in range(ring.slots + 2)
        ]
        self._window: deque[Work] = deque()
        self._pending: deque[Work] = deque()
        self._buffers: list[U8] = []
        self._cards = Cards(ring, self._out_codec, self._pictures)
        self._last_twin: tuple[int, U8] | None = None
        self._actor = ActorWatch(twins.store, user_dirs().data / "actor" / "face.json")
        self._hair = HairFinder()
        self._last_hair: tuple[int, Hair | None] = (0, None)
        self._fitted: tuple[U8, compose.Backdrop] | None = None
        self._face_trouble = ""
        self._running = True
        workers = max(1, (os.cpu_count() or 2) - 1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="finish", initializer=lower_thread)
        self._in_flight = threading.Semaphore(workers + 1)
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"video {name}")
        self._thread.start()

    # ---- settings -----------------------------------------------------------------------------------------------

    def set_wishes(self, face: dict[str, Any] | None, background: dict[str, Any] | None) -> None:
        """New settings of the filters on this source (None: no such filter)."""
        wishes = Wishes(face=face, background=background, version=self.wishes.version + 1)
        if face is not None:
            wishes.face_settings = FaceSettings(
                strength=float(face.get("likeness", 1.0)),
                light=float(face.get("colour_match", 1.0)),
                dfm=DfmSettings.from_values(face),
            )
        if background is not None and background.get("picture"):
            path = str(background["picture"])
            wishes.picture = read_picture(Path(path))
            if wishes.picture is None:
                wishes.picture_problem = (
                    f"The background picture {path} cannot be read: expected a PNG or JPEG file. The twin's room is "
                    "shown instead; choose another picture."
                )
        self.wishes = wishes

    def stop(self) -> None:
        """End the threads and let go of the ring."""
        self._running = False
        self._thread.join(5.0)
        self._pool.shutdown(wait=True)
        self._pictures.clear()
        self._ring.close()

    # ---- intake -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        lower_thread()
        try:
            self._take_frames()
        except Exception:
            if not self._running:
                return  # the ring was closed under a thread that was still getting ready
            log.exception("%s: the picture's thread stopped", self.name)
            # The watch-dog starts a new engine; until then the host shows what is finished, then the card.
            os._exit(3)

    def _take_frames(self) -> None:
        try:
            self._codec.warm_up()
            self._out_codec.warm_up()
            perceiver = self._twins.perceiver()
            matte = Matte(self._twins.store.path("selfie_segmentation_landscape"))
        except (ModelError, ValueError) as error:
            self.problem = str(error)
            log.error("%s: %s", self.name, error)
            while self._running:
                self._cards.show(*card_words(None, broken=True))
                time.sleep(0.5)
            return
        header = self._ring.header
        next_seq = 0
        face_before = background_before = False
        while self._running:
            twin = self.twin()
            self._cards.show(*card_words(twin, broken=False))
            if twin is not None and twin.pack is not None:
                self._cards.name(twin.display_name, twin.synthetic)
            head = int(header.head_seq)
            if next_seq == 0:
                next_seq = self._first_seq(head)
            self._submit_ready(head)
            if next_seq == 0 or next_seq > head or len(self._pending) >= MAX_PENDING:
                time.sleep(POLL_S)
                continue
            if head - next_seq >= self._ring.slots - 6:
                self.metrics.counts["lost_too_late"] += head - next_seq - BACKLOG_FRAMES
                next_seq = head - BACKLOG_FRAMES
            slot = self._ring.table[next_seq % self._ring.slots]
            now_ns = time.monotonic_ns()
            deadline_ns = int(slot.posted_ns + header.delay_ns)
            if slot.seq != next_seq or slot.done_seq == next_seq or now_ns > deadline_ns:
                self.metrics.counts["too_late"] += int(now_ns > deadline_ns)
                next_seq += 1
                continue
            if head - next_seq > BACKLOG_FRAMES and next_seq % 2 and deadline_ns - now_ns < header.delay_ns // 2:
                # Falling behind: half the frames in time are better than all of them late.
                self.metrics.counts["skipped_busy"] += 1
                next_seq += 1
                continue
            try:
                work = self._take_in(next_seq, slot, deadline_ns, perceiver, matte, face_before, background_before)
                face_before, background_before = bool(work.flags & FACE), bool(work.flags & BACKGROUND)
                self._pending.append(work)
                self._window.append(work)
                if len(self._window) > 1:
                    steps = np.diff([w.time_ns for w in self._window])
                    self._frame_ns = int(np.median(steps))
                while self._window and self._pending[0].time_ns - self._window[0].time_ns > BRIDGE_NS:
                    self._window.popleft()
            except Exception:
                self.metrics.counts["intake_error"] += 1
                log.exception("%s: frame %d could not be read", self.name, next_seq)
            next_seq += 1

    def _first_seq(self, head: int) -> int:
        """Where to begin: the oldest frame that can surely be in time (after a restart, there are many waiting)."""
        if head == 0:
            return 0
        now_ns = time.monotonic_ns()
        ring = self._ring
        ahead_ns = min(START_AHEAD_NS, ring.header.delay_ns // 3)
        seq = head
        while seq > 1 and head - seq < ring.slots - 6:
            slot = ring.table[(seq - 1) % ring.slots]
            done = slot.done_seq == slot.seq
            if done or slot.seq != seq - 1 or now_ns + ahead_ns > slot.posted_ns + ring.header.delay_ns:
                break
            seq -= 1
        return seq

    def _take_in(
        self,
        seq: int,
        slot: Any,
        deadline_ns: int,
        perceiver: Any,
        matte: Matte,
        face_before: bool,
        background_before: bool,
    ) -> Work:
        index = seq % self._ring.slots
        flags = int(slot.flags)
        bgr = self._buffers.pop() if self._buffers else np.empty((self.height, self.width, 3), np.uint8)
        with self.metrics.stage("decode"):
            self._codec.decode(self._pictures[index], bgr)
        observation, alpha = None, None
        if flags & FACE and not flags & REVEAL:
            if not face_before:
                perceiver.reset()
                self._hair.reset()
            with self.metrics.stage("perceive"):
                self._actor.settle(perceiver, self.wishes.face)
                observation = perceiver.perceive(bgr)
                self._actor.learn(perceiver, bgr, observation)
        if flags & BACKGROUND and not flags & REVEAL:
            if not background_before:
                matte.reset()
            with self.metrics.stage("matte"):
                alpha = matte.alpha(bgr)
        hair = None
        time_ns, stamp_ns = int(slot.time_ns), int(slot.stamp_ns)
        if observation is not None and self._hair_wish() != "off":
            with self.metrics.stage("hair"):
                hair = self._hair.find(bgr, observation, matte.alpha(bgr) if alpha is None else alpha)
            self._last_hair = (time_ns, hair)
        elif observation is None and 0 <= time_ns - self._last_hair[0] < MAX_GAP_NS:
            hair = self._last_hair[1]
        return Work(seq, index, time_ns, deadline_ns, flags, bgr, observation, alpha, stamp_ns, hair)

    def _hair_wish(self) -> str:
        """Which colour the actor's hair is to have: "off", "photo" or one of `COLOURS`."""
        return str((self.wishes.face or {}).get("hair_tint") or "off")

    def _submit_ready(self, head: int) -> None:
        """Hand on every frame whose lookahead is there, or whose deadline does not allow waiting for it."""
        if not self._pending:
            return
        delay_ns = int(self._ring.header.delay_ns)
        lookahead_ns = max(0, min(MAX_LOOKAHEAD_NS, (delay_ns - COMPUTE_NS) // 2))
        newest_ns = self._pending[-1].time_ns
        while self._pending:
            work = self._pending[0]
            waited = newest_ns - work.time_ns >= self._wait_ns(work, lookahead_ns, delay_ns)
            urgent = work.deadline_ns - time.monotonic_ns() < URGENT_NS
            if not (waited or urgent or not work.flags & FACE):
                return
            if not self._in_flight.acquire(timeout=0.0 if len(self._pending) < BACKLOG_FRAMES else 0.05):
                return
            self._pending.popleft()
            reach_ns = WINDOW_NS if work.observation is not None else BRIDGE_NS
            neighbours = [w for w in self._window if abs(w.time_ns - work.time_ns) <= reach_ns]
            observations = [w.observation for w in neighbours]
            times_ns = [w.time_ns for w in neighbours]
            at = next(i for i, w in enumerate(neighbours) if w.seq == work.seq)
            self._pool.submit(self._finish, work, observations, times_ns, at)

    def _wait_ns(self, work: Work, lookahead_ns: int, delay_ns: int) -> int:
        """How much must have been seen after `work`: more, if that may bridge a gap in which the face was lost."""
        if work.observation is not None or not work.flags & FACE or work.flags & REVEAL:
            return lookahead_ns
        known = [w.time_ns for w in self._window if w.observation is not None]
        before_ns = max((t for t in known if t < work.time_ns), default=None)
        if before_ns is None or any(t > work.time_ns for t in known):
            return lookahead_ns
        return max(lookahead_ns, min(before_ns + MAX_GAP_NS - work.time_ns, delay_ns - COMPUTE_NS))

    # ---- finishing ----------------------------------------------------------------------------------------------

    def _finish(self, work: Work, observations: list[FaceObservation | None], times_ns: list[int], at: int) -> None:
        try:
            with self.metrics.stage("finish_total"):
                kind, rect, alpha = self._draw(work, observations, times_ns, at)
                self._write(work, kind, rect, alpha)
        except Exception:
            self.metrics.counts["finish_error"] += 1
            if self.metrics.counts["finish_error"] % 300 == 1:
                log.exception("%s: frame %d could not be finished", self.name, work.seq)
        finally:
            self._in_flight.release()
            # Neighbours only ever need this frame's landmarks.
            self._buffers.append(work.bgr)

    def _draw(
        self, work: Work, observations: list[FaceObservation | None], times_ns: list[int], at: int
    ) -> tuple[int, Rect | None, U8 | None]:
        """Draw into `work.bgr`. Returns (kind, changed rectangle or None for all, alpha for transparent output)."""
        wishes = self.wishes
        share = self._lit_share(work.stamp_ns, self._frame_ns)
        if share is not None:
            work.bgr[:] = round(255 * share)
            return TEST, None, None
        if work.flags & REVEAL:
            return REVEALED, disclosure.draw_notice(work.bgr, "LIVE CAMERA", "the real person, no twin"), None
        rect: Rect | None = (0, 0, 0, 0)
        kind = TWIN
        if work.flags & FACE:
            kind, rect = self._draw_face(work, wishes, observations, times_ns, at)
            if kind == FALLBACK:
                return kind, None, None
        alpha: U8 | None = None
        if work.flags & BACKGROUND and work.alpha is not None and wishes.background is not None:
            with self.metrics.stage("background"):
                alpha = self._draw_background(work, wishes, work.alpha)
            rect = None
        if work.flags & FACE:
            twin = self.twin()
            if twin is None or twin.pack is None:
                # Refused while this frame was drawn.
                self._cards.copy_into(work.bgr)
                return FALLBACK, None, None
            with self.metrics.stage("badge"):
                badge = self._draw_badge(work.bgr, wishes)
                rect = _union(rect, badge)
                if alpha is not None:
                    # Where nothing else shows, the badge still does.
                    alpha[badge[1] : badge[3], badge[0] : badge[2]] = 255
            if wishes.face is not None and wishes.face.get("failure_policy") == "hold":
                self._last_twin = (work.time_ns, work.bgr.copy())
        return kind, rect, alpha

    def _draw_face(
        self,
        work: Work,
        wishes: Wishes,
        observations: list[FaceObservation | None],
        times_ns: list[int],
        at: int,
    ) -> tuple[int, Rect | None]:
        twin = self.twin()
        if twin is None or twin.pack is None or twin.face is None:
            self.metrics.counts["no_twin"] += 1
            self._cards.copy_into(work.bgr)
            return FALLBACK, None
        with self.metrics.stage("smooth"):
            face = smooth(observations, times_ns, at)
        if face is None:
            self.metrics.counts["no_face"] += 1
            self._fall_back(work, wishes)
            return FALLBACK, None
        turned = max(
            (abs(face.yaw_deg) - FADE_YAW_DEG) / (MAX_YAW_DEG - FADE_YAW_DEG),
            (abs(face.pitch_deg) - FADE_PITCH_DEG) / (MAX_PITCH_DEG - FADE_PITCH_DEG),
            (face.covered - FADE_COVERED) / (MOST_COVERED - FADE_COVERED),
        )
        if turned >= 1.0:
            self.metrics.counts["face_covered" if face.covered >= MOST_COVERED else "face_turned_away"] += 1
            self._fall_back(work, wishes)
            return FALLBACK, None
        original = work.bgr.copy() if turned > 0 else None
        tinted = self._tint_hair(work, wishes, twin)
        try:
            with self.metrics.stage("face"):
                rect: Rect | None = twin.face.render(work.bgr, face, wishes.face_settings)
            rect = _union(rect, tinted)
            self._face_trouble = ""
        except FaceModelError as error:
            if str(error) != self._face_trouble:
                log.error("%s: %s", self.name, error)
            self._face_trouble = str(error)
            self.metrics.counts["face_model_failed"] += 1
            self._fall_back(work, wishes)
            return FALLBACK, None
        if original is not None:
            work_copy = Work(**{**work.__dict__, "bgr": original})
            self._fall_back(work_copy, wishes)
            cv2.addWeighted(work.bgr, 1.0 - turned, work_copy.bgr, turned, 0.0, dst=work.bgr)
            rect = None
        return TWIN, rect

    def _tint_hair(self, work: Work, wishes: Wishes, twin: Twin) -> Rect:
        colour = twin.hair if self._hair_wish() == "photo" else COLOURS.get(self._hair_wish())
        if work.hair is None or colour is None:
            return (0, 0, 0, 0)
        strength = float((wishes.face or {}).get("hair_tint_strength", 0.0))
        with self.metrics.stage("hair tint"):
            return tint(work.bgr, work.hair, np.asarray(colour, np.float32), strength)

    def _draw_background(self, work: Work, wishes: Wishes, alpha: npt.NDArray[np.float32]) -> U8 | None:
        """Returns the alpha that the picture is to leave with, None for an opaque one."""
        assert wishes.background is not None
        mode = wishes.background.get("mode", "replace")
        if mode == "transparent" and self.transparent:
            return compose.cut_out(work.bgr, alpha)
        room = wishes.picture
        if room is None:
            twin = self._twins.get(str(wishes.background.get("twin") or ""))
            room = twin.room
        if mode == "replace" and room is not None:
            compose.replace(work.bgr, alpha, self._fit(room))
        else:
            compose.blur(work.bgr, alpha, float(wishes.background.get("blur_strength", 0.5)))
        return None

    def _fit(self, room: U8) -> compose.Backdrop:
        """The room in this stream's size; kept, because it is the same for every frame."""
        fitted = self._fitted
        if fitted is None or fitted[0] is not room:
            fitted = self._fitted = (room, compose.fit(room, self.width, self.height))
        return fitted[1]

    def _draw_badge(self, bgr: U8, wishes: Wishes) -> Rect:
        twin = self.twin()
        face = wishes.face or {}
        pack = twin.pack if twin is not None else None
        if pack is None or not notice_on(face, "badge"):
            return (0, 0, 0, 0)
        return disclosure.draw_badge(bgr, pack.display_name, synthetic=pack.synthetic)

    def _fall_back(self, work: Work, wishes: Wishes) -> None:
        """Overwrite `work.bgr` by what the failure policy says."""
        policy = (wishes.face or {}).get("failure_policy", "card")
        held = self._last_twin
        if policy == "hold" and held is not None and 0 <= work.time_ns - held[0] < HOLD_NS:
            work.bgr[:] = held[1]
        elif policy == "pixelate":
            small = cv2.resize(
                work.bgr, (max(2, self.width // 48), max(2, self.height // 48)), interpolation=cv2.INTER_AREA
            )
            work.bgr[:] = cv2.resize(small, (self.width, self.height), interpolation=cv2.INTER_NEAREST)
            self._draw_badge(work.bgr, wishes)
        else:
            self._cards.copy_into(work.bgr)

    def _write(self, work: Work, kind: int, rect: Rect | None, alpha: U8 | None) -> None:
        """Put the finished picture into its slot, and only then say so."""
        slot = self._ring.table[work.index]
        if slot.seq != work.seq:
            self.metrics.counts["overtaken"] += 1
            return
        with self.metrics.stage("encode"):
            if self._out_codec is not self._codec:
                rect = None
            self._out_codec.encode(work.bgr, self._pictures[work.index], rect, alpha)
        slot.kind = kind
        slot.done_seq = work.seq
        self.metrics.counts["fallback" if kind == FALLBACK else "finished"] += 1
        self.metrics.finished()

    # ---- state --------------------------------------------------------------------------------------------------

    def twin(self) -> Twin | None:
        """The twin that this source's face filter asks for."""
        face = self.wishes.face
        return None if face is None else self._twins.get(str(face.get("twin") or ""))

    def status(self) -> dict[str, Any]:
        """For the panel, the command line and the report."""
        head = int(self._ring.header.head_seq)
        counts = dict(self.metrics.counts)
        stages = self.metrics.stage_ms()
        result: dict[str, Any] = {
            "kind": "video",
            "name": self.name,
            "size": f"{self.width}x{self.height}",
            "fps": round(self.metrics.fps(), 2),
            "frames": head,
            "queue": len(self._pending),
            "counts": counts,
            "stage_ms": stages,
        }
        figures = f"{result['fps']:.0f} frames/s, {stages.get('finish_total', {}).get('p50', 0):.0f} ms a frame"
        wishes = self.wishes
        if wishes.face is not None:
            twin = self.twin()
            title, text = card_words(twin, broken=bool(self.problem))
            live = twin is not None and twin.face is not None
            trouble = self.problem or (twin.problem or twin.face_problem if twin is not None else text)
            result["face"] = {
                "headline": f"Showing the twin of {twin.display_name}" if twin is not None and live else f"{title}.",
                "problem": self._face_trouble if live else "" if twin is not None and twin.loading else trouble or text,
                "consent": twin.consent if twin is not None else "",
                "note": self._actor.note,
                "figures": figures,
                "provider": _provider(twin),
                "twin": twin.name if twin is not None else "",
            }
        if wishes.background is not None:
            mode = str(wishes.background.get("mode", "replace"))
            words = {
                "replace": "Background replaced",
                "blur": "Background blurred",
                "transparent": "Background transparent",
            }
            result["background"] = {
                "headline": words.get(mode, mode),
                "problem": wishes.picture_problem or self.problem,
                "figures": figures,
                "provider": PROVIDER,
            }
        return result


def _provider(twin: Twin | None) -> str:
    """Where the face is computed: a network of its own says where it really ran."""
    own = getattr(twin.face, "provider", "") if twin is not None else ""
    return f"Face model: {own}. Perception: {PROVIDER}" if own else PROVIDER


def _union(a: Rect | None, b: Rect) -> Rect | None:
    """Smallest rectangle around both; None stands for the whole picture."""
    if a is None:
        return None
    if a[2] <= a[0] or a[3] <= a[1]:
        return b
    if b[2] <= b[0] or b[3] <= b[1]:
        return a
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])

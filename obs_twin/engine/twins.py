"""The twins that are in use: packs opened, models loaded, consent looked at again and again.

Opening takes time (hashes, models), so it happens in a thread of its own; until it is done, and whenever it is refused,
there is a text to show instead of a twin.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.background.matte import Matte
from obs_twin.engine.priority import lower_thread
from obs_twin.face.hair import hair_colour
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.registry import FaceModel, FaceModelError, open_face
from obs_twin.twin.consent import Use
from obs_twin.twin.log import SessionLog
from obs_twin.twin.pack import PackError, TwinPack, find_pack, list_packs, open_pack
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.store import ModelStore

log = logging.getLogger(__name__)

RECHECK_S = 2.0
LIST_EVERY_S = 5.0


@dataclass
class Twin:
    """One pack as the engine knows it. Either `pack` is there, or `problem` says why not."""

    name: str
    pack: TwinPack | None = None
    problem: str = ""
    title: str = ""
    public: str = ""
    """`title` and `public` are for the card, which strangers see; `problem` is for the operator."""
    loading: bool = True
    face: FaceModel | None = None
    face_problem: str = ""
    room: npt.NDArray[np.uint8] | None = None
    hair: npt.NDArray[np.float32] | None = None
    """CIE Lab of the hair in the first photo; None if it cannot be told."""

    @property
    def display_name(self) -> str:
        """Whose twin it is."""
        return self.pack.display_name if self.pack is not None else self.name

    @property
    def synthetic(self) -> bool:
        """Whether that person does not exist."""
        return self.pack is not None and self.pack.synthetic

    @property
    def consent(self) -> str:
        """One line for the panel."""
        return self.pack.consent_line if self.pack is not None else ""

    def voice_files(self) -> tuple[str, dict[str, Path]] | None:
        """(kind, files by their stem) of the pack's voice, or None."""
        if self.pack is None:
            return None
        kind = self.pack.kind("voice")
        if kind is None:
            return None
        return kind, {path.stem: path for path in self.pack.paths("voice")}


class TwinLibrary:
    """Opens packs on demand and keeps them checked.

    Args:
        store: where the perception models are.
        session: the disclosure log; each start and refusal goes into it.
    """

    def __init__(self, store: ModelStore, session: SessionLog) -> None:
        self.store = store
        self.session = session
        self._twins: dict[str, Twin] = {}
        self._lock = threading.Lock()
        self.use = Use()
        """What the operator says that the twins are used for. A consent may be limited to some uses."""
        self._listed: list[dict[str, Any]] = []
        self._listed_s = -1e9

    def perceiver(self) -> FacePerceiver:
        """A new face perceiver. Raises ModelError if its models are missing, ValueError if they are broken."""
        return FacePerceiver(
            self.store.path("face_detection_short_range"),
            self.store.path("face_landmark"),
            self.store.path("iris_landmark"),
            palm_path=self.store.path("palm_detection_lite"),
            hand_path=self.store.path("hand_landmark_lite"),
        )

    def get(self, name: str) -> Twin:
        """The twin of that name; loading starts with the first call and goes on by itself."""
        with self._lock:
            twin = self._twins.get(name)
            if twin is None:
                twin = self._twins[name] = Twin(name)
                threading.Thread(target=self._load, args=(twin,), daemon=True, name=f"load {name}").start()
        return twin

    def live(self) -> list[Twin]:
        """The twins that are open now."""
        with self._lock:
            return [twin for twin in self._twins.values() if twin.pack is not None]

    def recheck(self) -> None:
        """Look at consent again: an expired or revoked pack stops being a twin; a mended one becomes one."""
        with self._lock:
            twins = list(self._twins.values())
        for twin in twins:
            if twin.loading:
                continue
            if twin.pack is not None:
                try:
                    twin.pack.check(scope=self.use)
                except PackError as error:
                    self._refuse(twin, error)
            elif twin.problem:
                twin.loading = True
                threading.Thread(target=self._load, args=(twin,), daemon=True).start()

    def listing(self) -> list[dict[str, Any]]:
        """What there is to choose from, for the panes: name, title, problem."""
        now = time.monotonic()
        if now - self._listed_s > LIST_EVERY_S:
            self._listed_s = now
            try:
                packs = list_packs()
                people = Counter(info.display_name for info in packs)
                self._listed = [
                    {
                        "name": info.name,
                        "title": info.display_name
                        + (f": {info.name}" if people[info.display_name] > 1 else "")
                        + (" (synthetic)" if info.synthetic else "")
                        + (f" - refused: {info.problem}" if info.problem else ""),
                        "problem": info.problem,
                        "face": info.face_kind,
                    }
                    for info in packs
                ]
            except (OSError, PackError) as error:
                log.warning("twin packs cannot be listed: %s", error)
        return self._listed

    def _load(self, twin: Twin) -> None:
        lower_thread()
        try:
            pack = open_pack(find_pack(twin.name), scope=self.use)
        except PackError as error:
            self._refuse(twin, error)
            twin.loading = False
            return
        face, face_problem = None, ""
        try:
            face = self._face(pack)
        except (FaceModelError, ModelError, ValueError) as error:
            face_problem = str(error)
        rooms = pack.paths("background")
        twin.room = read_picture(rooms[0]) if rooms else None
        twin.hair = self._hair(pack)
        twin.problem = twin.title = twin.public = ""
        twin.face_problem = face_problem
        # The face last: what is drawn with it takes name and consent from the pack.
        twin.pack = pack
        twin.face = face
        twin.loading = False
        log.info("twin %s open: %s", twin.name, pack.consent_line)
        self.session.started(pack.manifest, pack.record, {role: str(pack.kind(role)) for role in pack.roles})

    def _face(self, pack: TwinPack) -> FaceModel | None:
        kind = pack.kind("face")
        return None if kind is None else open_face(kind, pack.paths("face"), self.perceiver())

    def _hair(self, pack: TwinPack) -> npt.NDArray[np.float32] | None:
        pictures = (read_picture(path) for path in pack.paths("face"))
        photo = next((picture for picture in pictures if picture is not None), None)
        if photo is None:
            return None
        try:
            matte = Matte(self.store.path("selfie_segmentation_landscape"))
            seen = self.perceiver().perceive(photo)
        except (ModelError, ValueError) as error:
            log.warning("the hair of %s cannot be looked at: %s", pack.display_name, error)
            return None
        return None if seen is None else hair_colour(photo, seen, matte.alpha(photo))

    def _refuse(self, twin: Twin, error: PackError) -> None:
        if str(error) != twin.problem:
            log.warning("twin %s refused: %s", twin.name, error)
            self.session.refused(twin.name, error.code, str(error))
        twin.face = twin.room = None
        pack, twin.pack = twin.pack, None
        twin.problem = str(error)
        twin.title, twin.public = error.title, error.public
        if pack is not None:
            pack.close()


def read_picture(path: Path) -> npt.NDArray[np.uint8] | None:
    """A picture file as `(H, W, 3) uint8 BGR`; None if it cannot be read. Any name works, on Windows too."""
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError:
        return None
    decoded = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    return None if decoded is None else np.asarray(decoded, np.uint8)

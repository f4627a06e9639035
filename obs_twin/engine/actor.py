"""Who the actor is, as the filter's settings say: applied to the perceiver, and remembered on request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.engine.priority import lower_thread
from obs_twin.face.choose import ENROLLED, LARGEST, RULES, ActorChoice, Enrolment, forget, recall, remember
from obs_twin.face.identity import MODEL_NAME, FaceEmbedder
from obs_twin.face.observation import FaceObservation
from obs_twin.face.perceive import FacePerceiver
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import derived_path, sources_of
from obs_twin.zoo.store import ModelStore

log = logging.getLogger(__name__)

REMEMBERED = "Your face is remembered on this computer."


class ActorWatch:
    """Keeps one stream's perceiver on the actor.

    Args:
        store: where the network that tells faces apart comes from.
        file: where the actor's face is remembered, on this machine only.

    Attributes:
        note: a line for the pane; empty if there is nothing to say.
    """

    def __init__(self, store: ModelStore, file: Path) -> None:
        self.note = ""
        self._store = store
        self._file = file
        self._wanted: tuple[str, bool] | None = None
        self._embedder: FaceEmbedder | None = None
        self._problem = ""
        self._opening: threading.Thread | None = None
        self._enrolment: Enrolment | None = None
        self._remembered: npt.NDArray[np.float32] | None = None

    def settle(self, perceiver: FacePerceiver, face: Mapping[str, Any] | None) -> None:
        """Before each frame: follow what the filter's settings `actor_choice` and `remember_actor` say by now."""
        rule = str((face or {}).get("actor_choice") or LARGEST)
        wanted = (rule if rule in RULES else LARGEST, bool((face or {}).get("remember_actor", False)))
        if wanted != self._wanted:
            before, self._wanted = self._wanted, wanted
            self._change(perceiver, before)
        elif self._opening is not None and not self._opening.is_alive():
            self._opening = None
            self._change(perceiver, wanted)
        if perceiver.refused:
            self.note = (
                "Somebody is in the picture, but not the person who was remembered: viewers get what you chose for "
                "'When the twin cannot be shown'."
            )
        elif self._enrolment is None and not self._problem and self._remembered is not None:
            self.note = REMEMBERED if wanted[1] else ""

    def learn(self, perceiver: FacePerceiver, bgr: npt.NDArray[np.uint8], seen: FaceObservation | None) -> None:
        """After each frame: go on remembering the actor's face, if that was asked for."""
        if self._enrolment is None:
            return
        faces = perceiver.count_faces(bgr) if seen is not None else 0
        found = self._enrolment.add(bgr, seen, faces)
        self.note = f"Remembering your face. {self._enrolment.advice}"
        if found is None:
            return
        self._enrolment = None
        try:
            remember(self._file, found)
        except OSError as error:
            self._problem = self.note = f"Your face could not be remembered: {self._file} cannot be written ({error})."
            return
        log.info("the actor's face is remembered in %s", self._file)
        self._change(perceiver, self._wanted)

    def _change(self, perceiver: FacePerceiver, before: tuple[str, bool] | None) -> None:
        assert self._wanted is not None
        rule, keep = self._wanted
        self.note = self._problem
        if before is not None and before[1] and not keep:
            self._forget()
        self._remembered = recall(self._file)
        self._enrolment = None
        if (rule == ENROLLED or keep) and self._embedder is None and not self._problem:
            self.note = "The network that tells faces apart is being opened."
            if self._opening is None:
                self._opening = threading.Thread(target=self._open, daemon=True, name="open face embedder")
                self._opening.start()
        elif keep and self._remembered is None and self._embedder is not None:
            self._enrolment = Enrolment(self._embedder)
            # Until the face is known, there is nobody to compare with.
            rule = LARGEST
        elif rule == ENROLLED and self._remembered is None and not self._problem:
            self.note = "No face is remembered yet: tick 'This is me' below while only you are in the picture."
        perceiver.follow(ActorChoice(rule, self._remembered, self._embedder))

    def _open(self) -> None:
        lower_thread()
        try:
            self._store.fetch(sources_of([MODEL_NAME]))
            self._embedder = FaceEmbedder(derived_path(MODEL_NAME, self._store))
        except (ModelError, ValueError, OSError) as error:
            self._problem = f"Faces cannot be told apart: {error}"
            log.error("%s", self._problem)

    def _forget(self) -> None:
        try:
            if forget(self._file):
                log.info("the actor's face is forgotten")
        except OSError as error:
            self._problem = self.note = f"{self._file} cannot be deleted ({error}). Delete it by hand."

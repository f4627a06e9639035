"""The kinds of face model there are. A new kind is one file and one line in `_KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from obs_twin.face.dfm.twin import open_dfm_twin
from obs_twin.face.mesh_twin import open_mesh_twin
from obs_twin.face.observation import FaceObservation, Rect
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FaceModelError
from obs_twin.face.settings import FaceSettings

__all__ = ["FaceModel", "FaceModelError", "FaceSettings", "kinds", "open_face"]


class FaceModel(Protocol):
    """Something that draws a target's face over an actor's."""

    def render(
        self, bgr: npt.NDArray[np.uint8], observation: FaceObservation, settings: FaceSettings | None = None
    ) -> Rect:
        """Draw the twin into `bgr` `(H, W, 3) uint8`, in place; may be called by several threads at once.

        Returns:
            The changed rectangle `(x0, y0, x1, y1)`; `(0, 0, 0, 0)` if nothing was changed.
        """
        ...


Opener = Callable[[Sequence[Path], FacePerceiver, FaceSettings | None], FaceModel]
_KINDS: dict[str, Opener] = {"dfm": open_dfm_twin, "mesh": open_mesh_twin}


def kinds() -> list[str]:
    """The names that `open_face` knows."""
    return sorted(_KINDS)


def open_face(
    kind: str,
    files: Sequence[Path],
    perceiver: FacePerceiver,
    settings: FaceSettings | None = None,
) -> FaceModel:
    """Open a face model.

    Args:
        kind: `"mesh"`: one photo; `"dfm"`: a DeepFaceLab model.
        files: the model's files, in the order of the twin pack.
        perceiver: used while opening, to find the face in the photos; its stream is forgotten. Give it one of its own.
        settings: what `render` uses when it is given none.

    Raises:
        FaceModelError: in words that say what is wrong with the files and what to do.
    """
    opener = _KINDS.get(kind)
    if opener is None:
        raise FaceModelError(f'Face model kind "{kind}" is unknown; known are: {", ".join(kinds())}.')
    if not files:
        raise FaceModelError("The twin pack names no file for its face.")
    return opener(files, perceiver, settings)

"""Opening a `.dfm`: an ONNX file in which DeepFaceLab, or something that learnt from it, wrote a face network."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from obs_twin.face.dfm.layout import DfmLayout, Place, as_input, bind
from obs_twin.face.dfm.session import NetworkSession
from obs_twin.face.observation import FloatArray
from obs_twin.face.photo import FaceModelError
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.onnx_file import check_onnx


class DfmModel:
    """A `.dfm` that has run once. `run` may be called by several threads at once.

    Attributes:
        layout: what was found in the file.
        trial_ms: what one run took when the model was opened, in ms by the clock.
    """

    def __init__(self, session: NetworkSession, layout: DfmLayout) -> None:
        self._session = session
        self.layout = layout
        self.trial_ms = 0.0

    @property
    def provider(self) -> str:
        """Where it runs, for the panel: "ONNX Runtime 1.20, CPU"."""
        return self._session.provider

    def run(self, face: FloatArray, morph: float = 0.75) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        """The target's face in the place of the actor's.

        Args:
            face: `(S, S, 3) float32` BGR 0..1.
            morph: 0..1, how far from the actor to the target; for AMP models only.

        Returns:
            `(face, target_mask, actor_mask)`: `(S, S, 3)`, `(S, S)` and `(S, S)` float32, about 0..1; None for a mask
            that the model does not have.

        Raises:
            FaceModelError: the runtime failed, or the network gave no numbers (NaN), which half precision may do.
        """
        layout = self.layout
        feeds = {layout.face_in.name: as_input(face, layout)}
        if layout.morph is not None:
            value = np.float16(morph) if layout.half else np.float32(morph)
            feeds[layout.morph] = np.full((1,) * layout.morph_rank, value)
        try:
            results = self._session.run(feeds)
        except ModelError as error:
            raise FaceModelError(str(error)) from error
        drawn = _picture(results[layout.face_out.name], layout.face_out)
        # One sum instead of a million comparisons: it is finite only if every number is.
        if not np.isfinite(drawn.sum()):
            raise FaceModelError(
                "The face model gave no valid numbers (NaN). Half-precision models do that on some graphics cards: "
                "export the model in full precision, or run it on the processor."
            )
        target, actor = (
            None if place is None else _mask(results[place.name], place)
            for place in (layout.target_mask, layout.actor_mask)
        )
        return drawn, target, actor


def open_dfm(path: Path, *, providers: list[str] | None = None, threads: int | None = None) -> DfmModel:
    """Open, look through and try out a `.dfm`.

    Args:
        path: the file.
        providers: ONNX Runtime's, in order; the machine's own order if None.
        threads: threads for one run on the processor; if None, half of the cores, since other frames are under way.

    Raises:
        FaceModelError: truncated, damaged, dangerous, or no face network; says what was expected, what was found and
            what to do.
    """
    try:
        check_onnx(path, "The face model")
        session = NetworkSession(path, providers=providers, threads=threads)
    except ModelError as error:
        raise FaceModelError(str(error)) from error
    model = DfmModel(session, bind(session, path.name))
    side = model.layout.side_px
    start_s = time.perf_counter()
    model.run(np.full((side, side, 3), 0.5, np.float32))
    model.trial_ms = 1e3 * (time.perf_counter() - start_s)
    return model


def _picture(result: npt.NDArray[np.floating], place: Place) -> FloatArray:
    picture = result[0].transpose(1, 2, 0) if place.channels_first else result[0]
    return np.ascontiguousarray(picture, np.float32)


def _mask(result: npt.NDArray[np.floating], place: Place) -> FloatArray:
    side = result.shape[-1] if place.channels_first else result.shape[-2]
    mask = np.ascontiguousarray(result.reshape(side, side), np.float32)
    return np.nan_to_num(mask, copy=False, nan=0.0)

"""One small TFLite network with a known input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.provider import open_tflite


class Network:
    """A network with one input.

    Raises:
        ValueError: the file is missing, is no TFLite network, or has another input than expected.
    """

    def __init__(self, model_path: Path, input_shape: tuple[int, ...]) -> None:
        try:
            self._model = open_tflite(model_path)
        except ModelError as error:
            raise ValueError(
                f"The model file {model_path.name} cannot be opened ({error}). Fetch the models again."
            ) from error
        if self._model.input_shapes != [input_shape]:
            raise ValueError(
                f"The model file {model_path.name} wants an input of shape {self._model.input_shapes[0]}, expected "
                f"{input_shape}: it is another model. Fetch the models again."
            )

    def run(self, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """The outputs for input `x` (the batch axis may be left out)."""
        return self._model.run(x if x.ndim == 4 else x[None])

"""One small TFLite network, run on one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter


class Network:
    """A network with one input; not thread-safe (one instance per stream).

    Raises:
        ValueError: the file is missing, is no TFLite network, or has another input than expected.
    """

    def __init__(self, model_path: Path, input_shape: tuple[int, ...]) -> None:
        try:
            self._interpreter = Interpreter(str(model_path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise ValueError(
                f"The model file {model_path.name} cannot be opened ({error}). Fetch the models again."
            ) from error
        details = self._interpreter.get_input_details()
        found = tuple(int(n) for n in details[0]["shape"])
        if len(details) != 1 or found != input_shape:
            raise ValueError(
                f"The model file {model_path.name} wants an input of shape {found}, expected {input_shape}: "
                "it is another model. Fetch the models again."
            )
        self._input = details[0]["index"]
        self._outputs = [d["index"] for d in self._interpreter.get_output_details()]

    def run(self, x: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """The outputs for input `x` (the batch axis may be left out)."""
        self._interpreter.set_tensor(self._input, x if x.ndim == 4 else x[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

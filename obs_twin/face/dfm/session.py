"""Running one network for several frames at once.

On the processor, two frames at a time run through one ONNX Runtime session, each on half of the cores: the weights lie
in memory once, and what one frame leaves idle (small layers, cutting out, putting back) the other uses. On a graphics
card, frames take turns: the card is full with one, DirectML allows no second run of a session anyway, and the results
stay on the card until the one copy that is needed (IO binding). The frames' order is the caller's to keep.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.provider import CPU, open_onnx

Array = npt.NDArray[Any]

CPU_FRAMES = 2
"""Frames under way at a time on the processor."""

# Whose memory a provider's tensors can stay in. The others (CoreML) take and give the processor's.
_DEVICES = {"CUDAExecutionProvider": "cuda", "DmlExecutionProvider": "dml"}


def frame_threads() -> int:
    """Threads for one frame on the processor, so that `CPU_FRAMES` fill it."""
    return max(1, (os.cpu_count() or CPU_FRAMES) // CPU_FRAMES)


class NetworkSession:
    """An ONNX network behind one method; see above.

    Args:
        path: the file.
        providers: ONNX Runtime's, in order; the machine's own order if None.
        threads: threads for one run on the processor; `frame_threads()` if None.
        bind: keep inputs and outputs bound; None does so on graphics cards.

    Attributes:
        inputs, outputs: {name: shape}, where a free dimension is None.
        types: {name: ONNX Runtime's name of the element type} of the inputs.
        metadata: the file's own notes.

    Raises:
        ModelError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        providers: list[str] | None = None,
        threads: int | None = None,
        bind: bool | None = None,
    ) -> None:
        self._model = open_onnx(path, providers=providers, threads=threads or frame_threads())
        self._name = path.name
        self.inputs = self._model.inputs
        self.outputs = self._model.outputs
        self.metadata = self._model.metadata
        session = self._model.session
        self.types = {node.name: str(node.type) for node in session.get_inputs()}
        self._provider = str(session.get_providers()[0])
        bound = self._provider in _DEVICES if bind is None else bind
        self._binding = session.io_binding() if bound else None
        self._values: dict[str, Any] = {}
        self._ran_bound = False
        self._turns = threading.Semaphore(CPU_FRAMES if self.on_cpu and not bound else 1)

    @property
    def provider(self) -> str:
        """Where it really runs, for the panel."""
        return self._model.provider

    @property
    def on_cpu(self) -> bool:
        """Whether no graphics card takes part."""
        return self._provider == CPU

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name.

        Raises:
            ModelError: the runtime refuses the input or fails.
        """
        with self._turns:
            if self._binding is not None:
                try:
                    return self._run_bound(self._binding, feeds)
                except ModelError:
                    if self._ran_bound:
                        raise
                    # This build or card cannot keep tensors; the plain way says whether the network itself is broken.
                    self._binding = None
            return dict(zip(self.outputs, self._model.run(feeds), strict=True))

    def _run_bound(self, binding: Any, feeds: Mapping[str, Array]) -> dict[str, Array]:
        device = _DEVICES.get(self._provider, "cpu")
        try:
            for name, array in feeds.items():
                kept = self._values.get(name)
                if kept is None or tuple(kept.shape()) != array.shape:
                    self._values[name] = ort.OrtValue.ortvalue_from_numpy(array, device, 0)
                    binding.bind_ortvalue_input(name, self._values[name])
                    for output in self.outputs:
                        binding.bind_output(output, device, 0)
                else:
                    kept.update_inplace(np.ascontiguousarray(array))
            self._model.session.run_with_iobinding(binding)
            results = dict(zip(self.outputs, binding.copy_outputs_to_cpu(), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise ModelError(f"The model {self._name} failed while running: {first}") from error
        self._model.mark_run()
        self._ran_bound = True
        return results

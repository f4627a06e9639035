"""Opening model files with LiteRT or ONNX Runtime, and saying on which hardware each one really runs.

ONNX Runtime falls back to the processor without an error when a GPU provider cannot be set up, so asking for
a provider proves nothing: `OnnxModel.provider` is read back from the session after it has run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from ai_edge_litert.interpreter import Interpreter

from obs_twin.zoo.catalogue import ModelError

Array = npt.NDArray[Any]

PREFERENCE = (
    "CUDAExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
    "CPUExecutionProvider",
)
TFLITE_MARK = b"TFL3"
CPU = "CPUExecutionProvider"


def available_providers() -> list[str]:
    """The providers that this machine's ONNX Runtime was built with, best first."""
    built = set(ort.get_available_providers())
    return [name for name in PREFERENCE if name in built]


class OnnxModel:
    """One ONNX model, ready to run; calls from several threads are allowed.

    Attributes:
        inputs: {name: shape}, where a free dimension is None.
        input_types: {name: ONNX Runtime's name of the element type, such as "tensor(float16)"}.
        outputs: the same as `inputs` for the outputs, in the model's own order.
    """

    def __init__(self, session: Any, path: Path) -> None:
        self._session = session
        self._path = path
        self._ran = False
        self.inputs = {node.name: _shape(node.shape) for node in session.get_inputs()}
        self.input_types = {node.name: str(node.type) for node in session.get_inputs()}
        self.outputs = {node.name: _shape(node.shape) for node in session.get_outputs()}
        self.metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run the model once.

        Raises:
            ModelError: the runtime refuses the input or fails.
        """
        try:
            result: list[Array] = self._session.run(None if outputs is None else list(outputs), dict(feeds))
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise ModelError(f"The model {self._path.name} failed while running: {_first_line(error)}") from error
        self._ran = True
        return result

    @property
    def session(self) -> Any:
        """ONNX Runtime's own session, for what `run` cannot do (IO binding); call `mark_run` after running it."""
        return self._session

    def mark_run(self) -> None:
        """It has run, so what `provider` says is proven."""
        self._ran = True

    @property
    def provider(self) -> str:
        """For the panel and the report: "ONNX Runtime 1.20, CPU", or with ", not run yet"."""
        name = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        label = f"ONNX Runtime {ort.__version__}, {name}"
        return label if self._ran else f"{label}, not run yet"


def open_onnx(path: Path, *, providers: Sequence[str] | None = None, threads: int = 1) -> OnnxModel:
    """Open an ONNX (or .ort, or .dfm) model on the best provider that works here.

    Args:
        path: the model file.
        providers: the providers to try, in order; the machine's own order if None. The processor is always
            last.
        threads: threads for one operation on the processor; 1 is fastest for small nets beside a busy OBS.

    Raises:
        ModelError: missing, truncated, damaged, or in need of something that this runtime lacks.
    """
    _require_file(path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = list(available_providers() if providers is None else providers)
    known = set(ort.get_available_providers())
    wanted = [name for name in wanted if name in known and name != CPU] + [CPU]
    if "DmlExecutionProvider" in wanted:
        # Both are required by the DirectML provider (ONNX Runtime's documentation, "DirectML, configuration
        # options").
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    try:
        session = ort.InferenceSession(str(path), sess_options=options, providers=wanted)
    except Exception as error:
        raise ModelError(
            f"{path.name} cannot be opened as an ONNX model: {_first_line(error)}. The file is truncated, "
            "damaged or not an ONNX model; get it again from where it came from."
        ) from error
    return OnnxModel(session, path)


class TfliteModel:
    """One TensorFlow Lite model in a LiteRT interpreter, on the processor, one thread.

    An interpreter has its own buffers: calls from several threads take turns.
    """

    def __init__(self, interpreter: Any, path: Path) -> None:
        self._interpreter = interpreter
        self._path = path
        self._lock = threading.Lock()
        self._inputs = interpreter.get_input_details()
        self._outputs = interpreter.get_output_details()

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the inputs, in the model's order."""
        return [tuple(int(size) for size in detail["shape"]) for detail in self._inputs]

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the outputs, in the model's order."""
        return [tuple(int(size) for size in detail["shape"]) for detail in self._outputs]

    def run(self, *arrays: Array) -> list[Array]:
        """Run the model once on one array per input; returns copies of the outputs.

        Raises:
            ModelError: wrong number or shape of inputs.
        """
        shapes = [tuple(array.shape) for array in arrays]
        if shapes != self.input_shapes:
            raise ModelError(f"{self._path.name} wants inputs of shape {self.input_shapes}, found {shapes}")
        with self._lock:
            for detail, array in zip(self._inputs, arrays, strict=True):
                self._interpreter.set_tensor(detail["index"], array.astype(detail["dtype"], copy=False))
            self._interpreter.invoke()
            return [np.array(self._interpreter.get_tensor(detail["index"])) for detail in self._outputs]

    @property
    def provider(self) -> str:
        """For the panel and the report."""
        return "LiteRT, CPU"


def open_tflite(path: Path, *, threads: int = 1) -> TfliteModel:
    """Open a .tflite model.

    Raises:
        ModelError: missing, truncated, damaged, or with operations that LiteRT does not know.
    """
    _require_file(path)
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] != TFLITE_MARK:
        raise ModelError(
            f"{path.name} is not a TensorFlow Lite model: expected the mark {TFLITE_MARK!r} at byte 4, found "
            f"{head[4:8]!r}. Run: obs-twin models verify"
        )
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"{path.name} cannot be opened by LiteRT: {_first_line(error)}. The file is truncated or "
            "damaged. Run: obs-twin models verify"
        ) from error
    return TfliteModel(interpreter, path)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"There is no model file at {path}. Run: obs-twin models fetch")
    if path.stat().st_size == 0:
        raise ModelError(f"The model file {path} is empty. Run: obs-twin models fetch")


def _shape(dimensions: Sequence[object]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in dimensions)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__

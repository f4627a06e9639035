"""The decoder's weights, out of its ONNX file and back into it, without PyTorch.

The file that comes with hibari-tts multiplies in 8-bit integers. A trained voice is written with 16-bit floats
that ONNX Runtime widens once, when it opens the file: no export, the same graph, the same names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.voice.model import VoiceModelError

Weights = Mapping[str, npt.NDArray[np.float32]]

INPUTS = ("content", "f0_hz", "energy")
OUTPUTS = ("lh", "theta", "ln", "lr", "phi")
_MATRIX = re.compile(r"/(?P<layer>.*)/Transpose_output_0_quantized")


def read_weights(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """{parameter: value} of a decoder, matrices shaped (in, out); 8-bit ones are widened.

    Raises:
        VoiceModelError: the file is not such a decoder.
    """
    return _read(_load(path), path)


def write_decoder(base: Path, weights: Weights, path: Path, *, notes: Mapping[str, str]) -> None:
    """Write the decoder `base` with other weights.

    Args:
        base: the decoder as built from hibari-tts.
        weights: as from `read_weights`, with the same names and shapes.
        path: the ONNX file to write.
        notes: kept in the file as metadata.

    Raises:
        VoiceModelError: `base` is not such a decoder, or the weights do not fit it.
    """
    from onnx import helper, numpy_helper

    model = _load(base)
    expected = {name: value.shape for name, value in _read(model, base).items()}
    found = {name: value.shape for name, value in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise VoiceModelError(f"the trained weights do not fit the decoder {base.name}: {', '.join(wrong)}")
    if not all(np.isfinite(value).all() for value in weights.values()):
        raise VoiceModelError("the trained weights are not all finite numbers: the training has diverged")
    graph = model.graph
    _float_matrices(graph)
    del graph.initializer[:]
    casts = []
    for name, value in weights.items():
        stored = f"m.{name}"
        if value.ndim > 1:
            casts.append(helper.make_node("Cast", [f"{stored}.half"], [stored], f"{stored}.cast", to=1))
            value, stored = value.astype(np.float16), f"{stored}.half"
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), stored))
    nodes = [*casts, *(node for node in graph.node if not node.name.endswith(".cast"))]
    del graph.node[:]
    graph.node.extend(nodes)
    helper.set_model_props(model, dict(notes))
    path.write_bytes(model.SerializeToString())


def _load(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's errors have no common base
        raise VoiceModelError(f"the decoder {path} cannot be read: {error}") from error
    names = (tuple(item.name for item in model.graph.input), tuple(item.name for item in model.graph.output))
    if names != (INPUTS, OUTPUTS):
        raise VoiceModelError(
            f"{path.name} is not a decoder: expected the inputs {', '.join(INPUTS)} and the outputs "
            f"{', '.join(OUTPUTS)}, found {', '.join(names[0])} and {', '.join(names[1])}"
        )
    return model


def _read(model: Any, path: Path) -> dict[str, npt.NDArray[np.float32]]:
    from onnx import numpy_helper

    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    weights: dict[str, npt.NDArray[np.float32]] = {}
    for name, value in arrays.items():
        matrix = _MATRIX.fullmatch(name)
        if matrix:
            stem = name.removesuffix("_quantized")
            centred = value.astype(np.float32) - arrays[f"{stem}_zero_point"].astype(np.float32)
            weights[_parameter(matrix["layer"])] = centred * arrays[f"{stem}_scale"]
        elif name.startswith("m."):
            weights[name.removeprefix("m.").removesuffix(".half")] = value.astype(np.float32)
    if "head.weight" not in weights:
        raise VoiceModelError(f"{path.name} is not a decoder of a known make: it has no matrix called head.weight")
    return weights


def _parameter(layer: str) -> str:
    return f"{layer.replace('/', '.')}.weight"


def _float_matrices(graph: Any) -> None:
    """Replace quantise, integer product, cast, rescale by one product of floats, in place."""
    from onnx import helper

    quantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DynamicQuantizeLinear"}
    if not quantised:
        return
    scales = {node.output[1] for node in graph.node if node.op_type == "DynamicQuantizeLinear"}
    kept, products = [], {}
    dropped = {item for node in graph.node if node.op_type == "DynamicQuantizeLinear" for item in node.output}
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            continue
        if node.op_type == "MatMulInteger":
            matrix = _MATRIX.fullmatch(node.input[1])
            if matrix is None:
                raise VoiceModelError(f"the decoder multiplies by {node.input[1]}, which is not a known matrix")
            products[node.output[0]] = (quantised[node.input[0]], f"m.{_parameter(matrix['layer'])}")
        elif node.op_type == "Cast" and node.input[0] in products:
            products[node.output[0]] = products.pop(node.input[0])
        elif node.op_type == "Mul" and node.input[0] in products:
            kept.append(helper.make_node("MatMul", products.pop(node.input[0]), [node.output[0]], node.name))
        elif node.op_type == "Mul" and scales & set(node.input):
            dropped.update(node.output)
        else:
            kept.append(node)
    left = dropped & {item for node in kept for item in node.input}
    if products or left:
        raise VoiceModelError(f"the decoder is of an unknown make: {', '.join(sorted(left | set(products)))}")
    del graph.node[:]
    graph.node.extend(kept)

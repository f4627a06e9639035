"""The trained adapter as an ONNX file: float16 weights, float32 arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from obs_twin.voice.listening import FEATURE_WIDTH
from obs_twin.voice.training.network import Adapter

OUTPUTS = ("latent", "energy", "voiced", "speech")
CONTRACT = 1
TOLERANCE = 0.02  # of the latent, whose values lie in -1..1


class _Exported(nn.Module):
    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.adapter(features)[: len(OUTPUTS)])


def export(adapter: Adapter, path: Path) -> float:
    """Write `adapter` to `path` (whole or not at all) and return the largest difference that it shows in ONNX
    Runtime, in the latent.

    Raises:
        ValueError: the file does not compute what the network computes.
    """
    adapter = adapter.eval().cpu()
    part = path.with_suffix(".part")
    frames = {name: {1: "frames"} for name in ("features", *OUTPUTS)}
    torch.onnx.export(
        _Exported(adapter).eval(),
        (torch.zeros(1, 50, FEATURE_WIDTH),),
        str(part),
        input_names=["features"],
        output_names=list(OUTPUTS),
        dynamic_axes=frames,
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(str(part))
    _store_as_float16(model)
    facts = {"contract": CONTRACT, "lookahead_frames": adapter.lookahead_frames, "frame_ms": 25}
    onnx.helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, str(part))
    difference = _difference(adapter, part)
    if not difference < TOLERANCE:
        raise ValueError(f"The exported adapter differs by {difference:.3f}; less than {TOLERANCE} was expected")
    part.replace(path)
    return difference


def _store_as_float16(model: onnx.ModelProto) -> None:
    """Halve the file: large float32 weights are stored as float16, with a cast that is folded on loading."""
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < 1024:
            continue
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + "_half")
        tensor.CopyFrom(half)
        casts.append(onnx.helper.make_node("Cast", [name + "_half"], [name], to=onnx.TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def _difference(adapter: Adapter, path: Path) -> float:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for frames in (20, 90, 333):
        features = torch.randn(1, frames, FEATURE_WIDTH, generator=torch.Generator().manual_seed(frames))
        with torch.no_grad():
            expected = adapter(features).latent.numpy()
        found = session.run(["latent"], {"features": features.numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst

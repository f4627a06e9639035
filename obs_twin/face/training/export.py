"""Writing a SAEHD network as DeepFaceLab's `exportdfm` writes it: channels last, opset 12, the known tensor names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from obs_twin.face.dfm.layout import FACE_TYPE_KEY
from obs_twin.face.training.spec import FloatArray, SaehdSpec

OPSET = 12
_IR_VERSION = 7  # what went with opset 12, for old readers


def write_dfm(
    path: Path, spec: SaehdSpec, weights: Mapping[str, FloatArray], *, half: bool = False, face_type: str = "whole_face"
) -> Path:
    """Write the network that turns the actor (dst) into the target (src).

    Args:
        path: the `.dfm` to write.
        spec: the network's sizes.
        weights: as `spec.shapes()` names them; what only training needs is left out.
        half: store the weights in half precision; pictures stay in full precision.
        face_type: how the faces were cut (`face.dfm.align.FACE_TYPES`); noted in the file.

    Raises:
        ValueError: a weight is missing or has another shape.
    """
    model = dfm_model(spec, weights, half=half)
    helper.set_model_props(model, {FACE_TYPE_KEY: face_type, "name": spec.name})
    onnx.save_model(model, str(path))
    return path


def dfm_model(spec: SaehdSpec, weights: Mapping[str, FloatArray], *, half: bool = False) -> onnx.ModelProto:
    """`write_dfm` in memory."""
    for name, shape in spec.shapes().items():
        found = weights[name].shape if name in weights else None
        if found != shape:
            raise ValueError(f"the weight {name} should have the shape {shape}, found {found}")
    graph = _Graph(weights, half)
    face = graph.add("Transpose", "in_face:0", perm=[0, 3, 1, 2])
    if half:
        face = graph.add("Cast", face, to=TensorProto.FLOAT16)
    code = _encoder(graph, spec, face)
    if spec.archi == "df":
        shared = _inter(graph, spec, "inter", code)
        drawn, target_mask = _decoder(graph, spec, "decoder_src", shared)
        actor_mask = _mask_branch(graph, spec, "decoder_dst", shared)
    else:
        both = _inter(graph, spec, "inter_AB", code)
        actor_only = _inter(graph, spec, "inter_B", code)
        as_target = graph.add("Concat", both, both, axis=1)
        drawn, target_mask = _decoder(graph, spec, "decoder", as_target)
        actor_mask = _mask_branch(graph, spec, "decoder", graph.add("Concat", actor_only, both, axis=1))
    outputs = {"out_face_mask:0": actor_mask, "out_celeb_face:0": drawn, "out_celeb_face_mask:0": target_mask}
    for name, tensor in outputs.items():
        if half:
            tensor = graph.add("Cast", tensor, to=TensorProto.FLOAT)
        graph.add("Transpose", tensor, out=name, perm=[0, 2, 3, 1])
    side = spec.resolution
    sizes = {"out_face_mask:0": 1, "out_celeb_face:0": 3, "out_celeb_face_mask:0": 1}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "SAEHD",
            [helper.make_tensor_value_info("in_face:0", TensorProto.FLOAT, ["N", side, side, 3])],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", side, side, c]) for n, c in sizes.items()],
            list(graph.tensors.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="obs-twin",
    )
    model.ir_version = _IR_VERSION
    return model


class _Graph:
    """Nodes and weights under construction."""

    def __init__(self, weights: Mapping[str, FloatArray], half: bool) -> None:
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self._weights = weights
        self._type = np.float16 if half else np.float32

    def add(self, operation: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name."""
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def weight(self, name: str) -> str:
        """A weight, stored once however often it is used."""
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(self._weights[name], self._type), name)
        return name

    def constant(self, values: Any, name: str) -> str:
        """A small constant."""
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def number(self, value: float, name: str) -> str:
        """A constant in the network's precision."""
        return self.constant(np.asarray(value, self._type), name)

    def convolve(self, layer: str, x: str, *, stride: int = 1) -> str:
        size = self._weights[f"{layer}.weight"].shape[2]
        return self.add(
            "Conv",
            x,
            self.weight(f"{layer}.weight"),
            self.weight(f"{layer}.bias"),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
        )

    def dense(self, layer: str, x: str) -> str:
        return self.add("Gemm", x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias"), transB=1)

    def upscale(self, layer: str, x: str) -> str:
        return self.add("DepthToSpace", self.add("LeakyRelu", self.convolve(layer, x), alpha=0.1), blocksize=2)

    def residual(self, layer: str, x: str) -> str:
        inner = self.add("LeakyRelu", self.convolve(f"{layer}.conv1", x), alpha=0.2)
        summed = self.add("Add", x, self.convolve(f"{layer}.conv2", inner))
        return self.add("LeakyRelu", summed, alpha=0.2)


def _encoder(graph: _Graph, spec: SaehdSpec, x: str) -> str:
    for i in range(4):
        x = graph.add("LeakyRelu", graph.convolve(f"encoder.down{i}", x, stride=2), alpha=0.1)
    x = graph.add("Flatten", x, axis=1)
    if "u" in spec.opts:
        # Pixel norm; in half precision the squares' sum would overflow, their mean does not.
        mean = graph.add("ReduceMean", graph.add("Mul", x, x), axes=[1], keepdims=1)
        root = graph.add("Sqrt", graph.add("Add", mean, graph.number(1e-6, "epsilon")))
        x = graph.add("Div", x, root)
    return x


def _inter(graph: _Graph, spec: SaehdSpec, inter: str, code: str) -> str:
    x = graph.dense(f"{inter}.dense2", graph.dense(f"{inter}.dense1", code))
    side = spec.dense_side
    unfolded = graph.constant(np.array([-1, spec.code_channels, side, side], np.int64), "unfolded")
    return graph.upscale(f"{inter}.upscale1", graph.add("Reshape", x, unfolded))


def _decoder(graph: _Graph, spec: SaehdSpec, decoder: str, code: str) -> tuple[str, str]:
    x = code
    for i in range(3):
        x = graph.residual(f"{decoder}.res{i}", graph.upscale(f"{decoder}.upscale{i}", x))
    if "d" in spec.opts:
        quarters = [graph.convolve(f"{decoder}.out_conv{i}", x) for i in ("", 1, 2, 3)]
        x = graph.add("DepthToSpace", graph.add("Concat", *quarters, axis=1), blocksize=2)
    else:
        x = graph.convolve(f"{decoder}.out_conv", x)
    return graph.add("Sigmoid", x), _mask_branch(graph, spec, decoder, code)


def _mask_branch(graph: _Graph, spec: SaehdSpec, decoder: str, code: str) -> str:
    x = code
    for i in range(4 if "d" in spec.opts else 3):
        x = graph.upscale(f"{decoder}.upscalem{i}", x)
    return graph.add("Sigmoid", graph.convolve(f"{decoder}.out_convm", x))

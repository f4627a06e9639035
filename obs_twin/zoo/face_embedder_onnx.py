"""dlib's face recognition network (King 2017, a ResNet of 29 layers) as ONNX, from face-api's copy of its weights.

The copy holds nearly every tensor as bytes with a scale and a smallest value (TensorFlow.js's weights manifest). Each
convolution is followed by a scale and an offset per channel, which are folded into it here, as are the mean and the
division of the input, so that the network takes plain RGB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

WEIGHTS = "face_recognition_weights"
MANIFEST = "face_recognition_manifest"
SIZE_PX = 150
MEAN_RGB = (122.782, 117.001, 104.298)
# Name and whether it halves the picture; the sizes are 35, 17, 8, 4 (3 and a row of zeros), 2 (1 and a row of zeros).
BLOCKS = (
    ("conv32_1", 0), ("conv32_2", 0), ("conv32_3", 0),
    ("conv64_down", 1), ("conv64_1", 0), ("conv64_2", 0), ("conv64_3", 0),
    ("conv128_down", 1), ("conv128_1", 0), ("conv128_2", 0),
    ("conv256_down", 1), ("conv256_1", 0), ("conv256_2", 0), ("conv256_down_out", 1),
)  # fmt: skip
WIDENED = {"conv64_down": 32, "conv128_down": 64, "conv256_down": 128}
"""Channels of zeros that the short cut gains."""
ROW_ADDED = ("conv256_down", "conv256_down_out")


def build_face_embedder(sources: Mapping[str, Path]) -> bytes:
    """ONNX bytes: `rgb` (N, 3, 150, 150) float32 in 0..255 to `embedding` (N, 128)."""
    from onnx import TensorProto, checker, helper

    graph = _Graph(read_quantised(sources[WEIGHTS], sources[MANIFEST]))
    x = graph.conv("rgb", "conv32_down", stride=2, padding=0, relu=True, plain_rgb=True)
    x = graph.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2])
    for name, halves in BLOCKS:
        x = graph.residual(x, name, bool(halves))
    x = graph.add("ReduceMean", [x], axes=[2, 3], keepdims=0)
    graph.nodes.append(helper.make_node("MatMul", [x, graph.constant(graph.weights["fc"])], ["embedding"]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "face_embedder",
            [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, SIZE_PX, SIZE_PX])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 128])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    model.ir_version = 8
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def read_quantised(weights: Path, manifest: Path) -> dict[str, F32]:
    """Every tensor of a TensorFlow.js weights file, which may be quantised to bytes.

    Raises:
        ValueError: the file is longer or shorter than its manifest says.
    """
    data = np.frombuffer(weights.read_bytes(), np.uint8)
    tensors: dict[str, F32] = {}
    at = 0
    for entry in json.loads(manifest.read_text(encoding="utf-8"))[0]["weights"]:
        count = int(np.prod(entry["shape"]))
        how = entry.get("quantization")
        end = at + count * (4 if how is None else 1)
        raw = data[at:end].view(np.float32) if how is None else data[at:end] * how["scale"] + how["min"]
        tensors[entry["name"]] = raw.astype(np.float32).reshape(entry["shape"])
        at = end
    if at != len(data):
        raise ValueError(f"{weights.name} has {len(data)} bytes, its manifest speaks of {at}")
    return tensors


class _Graph:
    """Collects nodes and constants; tensors are named by number."""

    def __init__(self, weights: dict[str, F32]) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, name: str, *, stride: int = 1, padding: int = 1, relu: bool, plain_rgb: bool = False) -> str:
        """Convolution, then scale and offset per channel, folded into one."""
        scale = self.weights[f"{name}/scale/weights"].astype(np.float64)
        kernel = (
            self.weights[f"{name}/conv/filters"].astype(np.float64).transpose(3, 2, 0, 1) * scale[:, None, None, None]
        )
        bias = self.weights[f"{name}/conv/bias"] * scale + self.weights[f"{name}/scale/biases"]
        if plain_rgb:
            kernel = kernel / 255.0
            bias = bias - np.einsum("oihw,i->o", kernel, np.array(MEAN_RGB))
        out = self.add(
            "Conv",
            [x, self.constant(kernel.astype(np.float32)), self.constant(bias.astype(np.float32))],
            strides=[stride, stride],
            pads=[padding] * 4,
        )
        return self.add("Relu", [out]) if relu else out

    def residual(self, x: str, name: str, halves: bool) -> str:
        """Two convolutions beside a short cut, which is an average and zeros where the block halves the picture."""
        out = self.conv(x, f"{name}/conv1", stride=2 if halves else 1, padding=0 if halves else 1, relu=True)
        out = self.conv(out, f"{name}/conv2", relu=False)
        if halves:
            x = self.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
        if name in ROW_ADDED:
            out = self.add("Pad", [out, self.constant(np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64))])
        if name in WIDENED:
            x = self.add("Pad", [x, self.constant(np.array([0, 0, 0, 0, 0, WIDENED[name], 0, 0], np.int64))])
        return self.add("Relu", [self.add("Add", [x, out])])

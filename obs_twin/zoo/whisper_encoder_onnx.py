"""The encoder of Whisper base (Radford et al. 2022), made to listen to a stream, from CTranslate2's file of weights and
the changes that this project has learnt (models/voice_hearing.npz).

    mel (1, 80, T), first, past -> two convolutions -> 6 pre-norm transformer layers -> layer_3, last: (1, n, 512)

Whisper attends to 30 s at a time, in both directions. Here a piece of n = T / 2 - 2 frames of 20 ms attends to itself
and to the keys and values of what came before, which are kept: `past_k0` ... `past_v5` (1, P, 512), P from 0 on. Its
own are given back as `k0` ... `v5` (1, n, 512). `first` (1,) is the place of the first frame in Whisper's 1500; the
first 4 frames of `mel` only lead in the convolutions.

The file format is that of CTranslate2's `model_spec.py` (version 6): names, shapes, types and bytes, one after another.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.zoo.eight_bits import in_8_bits

LAYERS, HEADS, WIDTH, MELS = 6, 8, 512, 80
LEAD_FRAMES = 2
END = 2**31
TAPS = {"layer_3": 3}
"""Outputs besides the last, which is normalised: the sum after this layer, counted from 0."""
WEIGHTS = ("whisper_base_part1", "whisper_base_part2")
CHANGES = "voice_hearing"
CHANGED = tuple(
    f"layer_{layer}/{part}"
    for layer in range(LAYERS)
    for part in ("self_attention/linear_0", "self_attention/linear_1", "ffn/linear_0", "ffn/linear_1")
)
"""The layers that are changed so that they hear a stream: `W + up @ down`."""
FORMAT_VERSION = 6
TYPES: Mapping[int, type[np.generic]] = {
    0: np.float32,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.float16,
}

Array = npt.NDArray[Any]


def build_whisper_encoder(sources: Mapping[str, Path]) -> bytes:
    """The ONNX file's bytes, with what was learnt about streams put in. Raises ``ValueError`` when the weights are not
    Whisper base's, or the changes not ours."""
    return in_8_bits(encoder_graph(with_changes(sources)))


def encoder_graph(weights: Mapping[str, Array]) -> bytes:
    """The ONNX file's bytes, in float32, of arrays by CTranslate2's names, without "encoder/"."""
    return _Graph(weights).build()


def with_changes(sources: Mapping[str, Path]) -> dict[str, Array]:
    """The encoder's arrays with what was learnt about streams put in. Raises ``ValueError``."""
    weights = encoder_weights(sources)
    with np.load(sources[CHANGES]) as changes:
        missing = [name for name in CHANGED if f"{name}/up" not in changes or f"{name}/down" not in changes]
        if missing:
            raise ValueError(f"these are no changes of Whisper's encoder: {missing[0]} is missing")
        for name in CHANGED:
            up, down = (np.asarray(changes[f"{name}/{part}"], np.float32) for part in ("up", "down"))
            weights[f"{name}/weight"] = np.asarray(weights[f"{name}/weight"], np.float32) + up @ down
    return weights


def encoder_weights(sources: Mapping[str, Path]) -> dict[str, Array]:
    """The encoder's arrays by CTranslate2's names, without "encoder/". Raises ``ValueError`` like ``read_weights``."""
    weights = read_weights(b"".join(sources[name].read_bytes() for name in WEIGHTS))
    return {name.removeprefix("encoder/"): w for name, w in weights.items() if name.startswith("encoder/")}


def read_weights(content: bytes) -> dict[str, Array]:
    """Every array of a CTranslate2 `model.bin`. Raises ``ValueError`` when it is none, or cut short."""
    try:
        return dict(_variables(content))
    except (struct.error, KeyError, ValueError) as error:
        raise ValueError(f"not a whole model of CTranslate2, format {FORMAT_VERSION} ({error})") from error


def _variables(content: bytes) -> Iterator[tuple[str, Array]]:
    at = 0

    def take(code: str) -> int:
        nonlocal at
        value: int = struct.unpack_from("<" + code, content, at)[0]
        at += struct.calcsize(code)
        return value

    def text() -> str:
        nonlocal at
        length = take("H")
        value = content[at : at + length].rstrip(b"\0").decode("ascii")
        at += length
        return value

    version = take("I")
    if version != FORMAT_VERSION:
        raise ValueError(f"found format {version}")
    text()
    take("I")  # what kind of model, and the revision of that kind
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind = np.dtype(TYPES[take("B")])
        size = take("I")
        yield name, np.frombuffer(content, kind, size // kind.itemsize, at).reshape(shape)
        at += size


class _Graph:
    """Writes the nodes; `weights` by CTranslate2's names, without "encoder/"."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        import onnx

        self._onnx = onnx
        self._weights = weights
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._count = 0

    def build(self) -> bytes:
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        x = self._gelu(self._convolve("mel", "conv1", 1))
        x = self._gelu(self._convolve(x, "conv2", 2))
        x = self._node("Transpose", x, perm=[0, 2, 1])
        x = self._node("Slice", x, *(self._integers([n]) for n in (LEAD_FRAMES, END, 1)))
        length = self._node("Slice", self._node("Shape", x), *(self._integers([n]) for n in (1, 2, 0)))
        places = self._weight("position_encodings/encodings")
        end = self._node("Add", "first", length)
        x = self._node("Add", x, self._node("Slice", places, "first", end, self._integers([0])))
        taps = {}
        for layer in range(LAYERS):
            x = self._layer(x, f"layer_{layer}/", str(layer))
            taps[layer] = x
        outputs = {name: taps[layer] for name, layer in TAPS.items()} | {"last": self._norm(x, "layer_norm")}
        for name, tensor in outputs.items():
            self._nodes.append(helper.make_node("Identity", [tensor], [name]))
        caches = [f"{part}{layer}" for layer in range(LAYERS) for part in "kv"]
        past = [helper.make_tensor_value_info(f"past_{name}", kind, [1, "past", WIDTH]) for name in caches]
        graph = helper.make_graph(
            self._nodes,
            "whisper_base_encoder",
            [
                helper.make_tensor_value_info("mel", kind, [1, MELS, "mel_frames"]),
                helper.make_tensor_value_info("first", self._onnx.TensorProto.INT64, [1]),
                *past,
            ],
            [helper.make_tensor_value_info(name, kind, [1, "frames", WIDTH]) for name in (*outputs, *caches)],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self._onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content

    def _layer(self, x: str, name: str, number: str) -> str:
        y = self._norm(x, name + "self_attention/layer_norm")
        x = self._node("Add", x, self._attend(y, name + "self_attention/", number))
        y = self._norm(x, name + "ffn/layer_norm")
        y = self._gelu(self._linear(y, name + "ffn/linear_0"))
        return self._node("Add", x, self._linear(y, name + "ffn/linear_1"))

    def _attend(self, x: str, name: str, number: str) -> str:
        size = WIDTH // HEADS
        weight, bias = (self._numbers(f"{name}linear_0/{part}") for part in ("weight", "bias"))
        parts = []
        for index, order in enumerate(([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])):
            rows = slice(index * WIDTH, (index + 1) * WIDTH)
            scale = size**-0.5 if index == 0 else 1.0
            y = self._node("MatMul", x, self._constant(np.ascontiguousarray(weight[rows].T) * np.float32(scale)))
            y = self._node("Add", y, self._constant(bias[rows] * np.float32(scale)))
            if index:
                kept = f"{'qkv'[index]}{number}"
                self._nodes.append(self._onnx.helper.make_node("Identity", [y], [kept]))
                y = self._node("Concat", f"past_{kept}", y, axis=1)
            shape = self._integers([0, 0, HEADS, size])
            parts.append(self._node("Transpose", self._node("Reshape", y, shape), perm=order))
        query, key, value = parts
        share = self._node("Softmax", self._node("MatMul", query, key), axis=-1)
        y = self._node("Transpose", self._node("MatMul", share, value), perm=[0, 2, 1, 3])
        return self._linear(self._node("Reshape", y, self._integers([0, 0, WIDTH])), name + "linear_1")

    def _linear(self, x: str, name: str) -> str:
        y = self._node("MatMul", x, self._constant(np.ascontiguousarray(self._numbers(name + "/weight").T)))
        return self._node("Add", y, self._weight(name + "/bias"))

    def _norm(self, x: str, name: str) -> str:
        scale, offset = self._weight(name + "/gamma"), self._weight(name + "/beta")
        return self._node("LayerNormalization", x, scale, offset, axis=-1, epsilon=1e-5)

    def _convolve(self, x: str, name: str, stride: int) -> str:
        parts = (self._weight(f"{name}/{part}") for part in ("weight", "bias"))
        return self._node("Conv", x, *parts, kernel_shape=[3], pads=[1, 1], strides=[stride])

    def _gelu(self, x: str) -> str:
        """x (1 + erf(x / sqrt 2)) / 2, in the order that ONNX Runtime knows as one operation."""
        y = self._node("Erf", self._node("Div", x, self._constant(np.float32(2**0.5))))
        y = self._node("Mul", x, self._node("Add", y, self._constant(np.float32(1))))
        return self._node("Mul", y, self._constant(np.float32(0.5)))

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self._count += 1
        name = f"t{self._count}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _numbers(self, name: str) -> npt.NDArray[np.float32]:
        if name not in self._weights:
            raise ValueError(f"these are not the weights of Whisper's encoder: {name} is missing")
        return np.asarray(self._weights[name], np.float32)

    def _weight(self, name: str) -> str:
        return self._constant(self._numbers(name))

    def _integers(self, values: list[int]) -> str:
        return self._constant(np.array(values, np.int64))

    def _constant(self, value: Array | np.float32) -> str:
        self._count += 1
        name = f"c{self._count}"
        self._constants[name] = self._onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

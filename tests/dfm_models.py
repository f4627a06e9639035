"""Small `.dfm` files whose pictures are known functions of what goes in, one for every dialect that is met.

The face that comes out is `gain * in + bias` for each of blue, green, red (with a morph value: `in` and that, mixed),
so that swapped colours show; the actor's mask is the left three quarters of the square and the target's the upper three
quarters, so that swapped or missing masks show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

GAIN = (0.5, 0.75, 1.0)
BIAS = (0.3, 0.1, 0.0)
DEEPFACELAB = ("in_face:0", "morph_value:0", "out_face_mask:0", "out_celeb_face:0", "out_celeb_face_mask:0")


@dataclass(frozen=True)
class Dialect:
    """One way of writing a `.dfm`.

    Attributes:
        side: of the square.
        channels_first: NCHW instead of NHWC, inside and out.
        half: "", "weights" (float16 inside, float32 outside) or "all".
        morph: None, or the rank of the morph value.
        outputs: which of "actor", "face", "target" there are, in this order.
        names: of picture in, morph value, actor's mask, face, target's mask.
        free: sizes are not written in the file, only the channels.
        quantised: the picture goes through 8 bits.
        gain, bias: see above.
        spot: a white square around this place (x, y in 0..1), 0.06 wide, in the face that comes out; None: none.
    """

    side: int = 64
    channels_first: bool = False
    half: str = ""
    morph: int | None = None
    outputs: tuple[str, ...] = ("actor", "face", "target")
    names: tuple[str, str, str, str, str] = DEEPFACELAB
    free: bool = False
    quantised: bool = False
    gain: tuple[float, float, float] = GAIN
    bias: tuple[float, float, float] = BIAS
    spot: tuple[float, float] | None = None
    full_masks: bool = False

    def but(self, **changes: Any) -> Dialect:
        """This one with some things different."""
        return replace(self, **changes)


IDENTITY = Dialect(gain=(1, 1, 1), bias=(0, 0, 0), full_masks=True)


def expected(face: npt.NDArray[np.float32], dialect: Dialect, morph: float = 0.75) -> npt.NDArray[np.float32]:
    """What a model made by `write` makes of `face` `(S, S, 3)`."""
    changed = face * np.float32(dialect.gain) + np.float32(dialect.bias)
    if dialect.morph is not None:
        changed = face + (changed - face) * np.float32(morph)
    return np.asarray(changed, np.float32)


def masks(dialect: Dialect) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(actor's, target's), `(S, S)`."""
    side = dialect.side
    actor, target = (np.ones((side, side), np.float32) for _ in range(2))
    if not dialect.full_masks:
        actor[:, side * 3 // 4 :] = 0
        target[side * 3 // 4 :] = 0
    return actor, target


def write(path: Path, dialect: Dialect | None = None, **changes: Any) -> Path:
    """Write the model of a dialect."""
    d = (dialect or Dialect()).but(**changes)
    inner = np.float16 if d.half else np.float32
    outer = TensorProto.FLOAT16 if d.half == "all" else TensorProto.FLOAT
    face_in, morph, *outputs = d.names
    names = dict(zip(("actor", "face", "target"), outputs, strict=True))
    nodes: list[Any] = []
    tensors: list[Any] = []

    def constant(name: str, values: Any, kind: Any = inner) -> str:
        tensors.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def add(operation: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        out = out or f"t{len(nodes)}"
        nodes.append(helper.make_node(operation, list(inputs), [out], **attributes))
        return out

    def laid(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """`(H, W, C)` as the tensors are laid out."""
        return (picture.transpose(2, 0, 1) if d.channels_first else picture)[None]

    def leave(tensor: str, out: str) -> None:
        if d.half == "weights":
            add("Cast", tensor, out=out, to=TensorProto.FLOAT)
        else:
            add("Identity", tensor, out=out)

    x = face_in
    if d.half == "weights":
        x = add("Cast", x, to=TensorProto.FLOAT16)
    if d.quantised:
        scale, zero = constant("q_scale", 1 / 255), constant("q_zero", 0, np.uint8)
        x = add("DequantizeLinear", add("QuantizeLinear", x, scale, zero), scale, zero)
    gain = constant("gain", laid(np.float32(d.gain)[None, None]))
    bias = constant("bias", laid(np.float32(d.bias)[None, None]))
    y = add("Add", add("Mul", x, gain), bias)
    if d.morph is not None:
        value = morph
        if d.half == "weights":
            value = add("Cast", value, to=TensorProto.FLOAT16)
        y = add("Add", x, add("Mul", add("Sub", y, x), value))
    if d.spot is not None:
        white = np.zeros((d.side, d.side, 1), np.float32)
        reach = 0.03 * d.side
        c, r = (v * d.side for v in d.spot)
        white[round(r - reach) : round(r + reach), round(c - reach) : round(c + reach)] = 1
        y = add("Max", y, constant("spot", laid(white)))
    actor, target = masks(d)
    zero_of_x = add("Mul", add("ReduceMean", x, axes=[1, 2, 3], keepdims=1), constant("nothing", 0.0))
    tensor = {"face": y}
    for key, mask in (("actor", actor), ("target", target)):
        if key in d.outputs:
            tensor[key] = add("Add", zero_of_x, constant(f"{key}_values", laid(mask[..., None])))
    for key in d.outputs:
        leave(tensor[key], names[key])

    def shape(channels: int) -> list[Any]:
        sides: list[Any] = ["h", "w"] if d.free else [d.side, d.side]
        return ["N", channels, *sides] if d.channels_first else ["N", *sides, channels]

    inputs = [helper.make_tensor_value_info(face_in, outer, shape(3))]
    if d.morph is not None:
        inputs.append(helper.make_tensor_value_info(morph, outer, [1] * d.morph))
    values = [
        helper.make_tensor_value_info(names[key], outer, None if d.free else shape(3 if key == "face" else 1))
        for key in d.outputs
    ]
    return save(path, nodes, inputs, values, tensors)


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], tensors: list[Any] | None = None) -> Path:
    """Write a graph as an ONNX file of the age of DeepFaceLab's."""
    graph = helper.make_graph(nodes, "model", inputs, outputs, tensors or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    model.ir_version = 7
    onnx.save_model(model, str(path))
    return path

"""Contract models: tiny ONNX networks with the inputs and outputs of every dialect of RVC, ContentVec and RMVPE.

They compute something that can be checked: the synthesizer plays a sine of the F0 that it is given, as loud as
feature 0 says; the coarse pitch, the speaker and the noise each add a small constant of their own, so that mixing up
two inputs is heard. The content encoder's feature 0 is the loudness of the sound; RMVPE hears 220 Hz where any is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

FLOAT, HALF, INT64, INT32 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32
OFFICIAL = {
    "features": "phone",
    "length": "phone_lengths",
    "pitch": "pitch",
    "pitchf": "pitchf",
    "speaker": "ds",
    "noise": "rnd",
}
W_OKADA = {"features": "feats", "length": "p_len", "pitch": "pitch", "pitchf": "pitchf", "speaker": "sid"}
NAMELESS = {"features": "in_0", "length": "in_1", "pitch": "in_2", "pitchf": "in_3", "speaker": "in_4", "noise": "in_5"}
PITCH_STEP, SPEAKER_STEP, NOISE_STEP = 1e-4, 0.01, 0.002


class Graph:
    """A graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._count = 0

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operation: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        self._count += 1
        name = output or f"t{self._count}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def save(
        self, path: Path, inputs: list[Any], outputs: list[Any], metadata: Mapping[str, str] | None = None
    ) -> Path:
        graph = helper.make_graph(self.nodes, "contract", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, dict(metadata or {}))
        checker.check_model(model)
        save_model(model, str(path))
        return path


def tensor(name: str, kind: int, shape: list[int | str | None]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def synthesizer(
    path: Path,
    names: Mapping[str, str] = OFFICIAL,
    *,
    channels: int = 768,
    f0: bool = True,
    half: bool = False,
    frames: int | None = None,
    rate_hz: int = 40_000,
    output: str = "audio",
    metadata: Mapping[str, str] | None = None,
    free_channels: bool = False,
    whole: int = INT64,
) -> Path:
    """An RVC voice: audio = |feature 0| * sin(phase of F0) + small constants of pitch, speaker and noise."""
    real = HALF if half else FLOAT
    time: int | str = frames or "T"
    hop = rate_hz // 100
    graph = Graph()
    wanted = {key: names[key] for key in names if f0 or key not in ("pitch", "pitchf")}
    shapes: dict[str, tuple[int, list[int | str | None]]] = {
        "features": (real, [1, time, None if free_channels else channels]),
        "length": (whole, [1]),
        "pitch": (whole, [1, time]),
        "pitchf": (real, [1, time]),
        "speaker": (whole, [1]),
        "noise": (real, [1, 192, time]),
    }

    def single(key: str) -> str:
        return graph.add("Cast", wanted[key], to=FLOAT)

    # (1, T, channels) -> (1, T, 1): the matrix also makes sure of the number of channels.
    pick = np.zeros((channels, 1), np.float32)
    pick[0] = 1
    level = graph.add("Abs", graph.add("MatMul", single("features"), graph.constant(pick)))
    length = graph.add("Reshape", single("length"), graph.constant([1, 1, 1], np.int64))
    counted = graph.add("Cast", graph.add("Shape", level), to=FLOAT)
    counted = graph.add("Gather", counted, graph.constant([1], np.int64))
    level = graph.add("Mul", level, graph.add("Div", length, counted))  # a wrong length is heard
    rows = graph.constant([1, -1, 1], np.int64)
    to_samples = graph.constant(np.ones((1, 1, hop)))
    level = graph.add("MatMul", level, to_samples)  # (1, T, hop)
    if f0:
        f0_hz = graph.add("Cast", graph.add("Reshape", single("pitchf"), rows), to=TensorProto.DOUBLE)
        step = graph.add("MatMul", f0_hz, graph.constant(np.full((1, 1, hop), 1 / rate_hz), np.float64))
        flat = graph.add("Reshape", step, graph.constant([1, -1], np.int64))
        turns = graph.add("CumSum", flat, graph.constant(1, np.int64))
        turns = graph.add("Mod", turns, graph.constant(1.0, np.float64), fmod=1)
        sine = graph.add(
            "Sin", graph.add("Cast", graph.add("Mul", turns, graph.constant(2 * np.pi, np.float64)), to=FLOAT)
        )
        sine = graph.add("Reshape", sine, graph.constant([1, -1, hop], np.int64))
        audio = graph.add("Mul", level, sine)
        if "pitch" in wanted:
            coarse = graph.add("Reshape", single("pitch"), rows)
            audio = graph.add("Add", audio, graph.add("Mul", coarse, graph.constant(PITCH_STEP)))
    else:
        audio = level
    if "speaker" in wanted:
        speaker = graph.add("Reshape", single("speaker"), graph.constant([1, 1, 1], np.int64))
        audio = graph.add("Add", audio, graph.add("Mul", speaker, graph.constant(SPEAKER_STEP)))
    if "noise" in wanted:
        rough = graph.add("ReduceMean", single("noise"), axes=[1], keepdims=1)
        rough = graph.add("Transpose", rough, perm=[0, 2, 1])
        audio = graph.add("Add", audio, graph.add("Mul", rough, graph.constant(NOISE_STEP)))
    flat = graph.add("Reshape", audio, graph.constant([1, 1, -1], np.int64))
    graph.add("Cast", flat, output=output, to=real)
    inputs = [tensor(name, *shapes[key]) for key, name in wanted.items()]
    return graph.save(path, inputs, [tensor(output, real, [1, 1, "S"])], metadata)


def content(
    path: Path,
    *,
    channels: tuple[int, ...] = (768,),
    name: str = "source",
    outputs: tuple[str, ...] = ("embed",),
    rank: int = 3,
    samples: int | None = None,
    transposed: bool = False,
    half: bool = False,
    padded: bool = False,
    mask: str = "",
) -> Path:
    """A content encoder: feature 0 is the loudness of the frame's 400 samples, feature c that plus c / 1000."""
    real = HALF if half else FLOAT
    graph = Graph()
    sound = graph.add("Cast", name, to=FLOAT)
    sound = graph.add("Reshape", sound, graph.constant([1, 1, -1], np.int64))
    power = graph.add("Mul", sound, sound)
    pads = {"pads": [40, 40]} if padded else {}
    mean = graph.add("Conv", power, graph.constant(np.full((1, 1, 400), 1 / 400)), strides=[320], **pads)
    loud = graph.add("Sqrt", mean)  # (1, 1, F)
    if mask:
        nothing = graph.add("Cast", mask, to=FLOAT)
        nothing = graph.add("ReduceSum", nothing, keepdims=1)
        nothing = graph.add("Reshape", nothing, graph.constant([1, 1, 1], np.int64))
        loud = graph.add("Add", loud, graph.add("Mul", nothing, graph.constant(0.0)))
    infos = []
    for index, (output, count) in enumerate(zip(outputs, channels, strict=True)):
        steps = (np.arange(count, dtype=np.float32) / 1000).reshape(1, count, 1)
        wide = graph.add(
            "Add", graph.add("Mul", loud, graph.constant(np.ones((1, count, 1)) * (1 + index))), graph.constant(steps)
        )
        if not transposed:
            wide = graph.add("Transpose", wide, perm=[0, 2, 1])
        graph.add("Cast", wide, output=output, to=real)
        infos.append(tensor(output, real, [1, count, "F"] if transposed else [1, "F", count]))
    shape: list[int | str | None] = [*([1] * (rank - 1)), samples or "N"]
    inputs = [tensor(name, real, shape)]
    if mask:
        inputs.append(tensor(mask, TensorProto.BOOL if "pad" in mask else INT64, [1, samples or "N"]))
    return graph.save(path, inputs, infos)


def rmvpe(
    path: Path,
    *,
    mel: bool = False,
    salience: bool = False,
    threshold: bool = True,
    transposed: bool = False,
    frames: int | None = None,
    flat: bool = False,
) -> Path:
    """An F0 network that hears 220 Hz wherever there is sound.

    On the spectrogram it looks where RMVPE's band of 220 Hz is loudest, so that a wrong layout is noticed.
    """
    graph = Graph()
    if mel:
        spectrum = "mel"
        if transposed:
            spectrum = graph.add("Transpose", spectrum, perm=[0, 2, 1])
        low = graph.add(
            "Slice",
            spectrum,
            graph.constant([0], np.int64),
            graph.constant([30], np.int64),
            graph.constant([1], np.int64),
        )
        strong = graph.add("ReduceMax", low, axes=[1], keepdims=0)  # (1, T), natural logarithm
        loud = graph.add("Cast", graph.add("Greater", strong, graph.constant(-2.0)), to=FLOAT)
    else:
        sound = graph.add("Reshape", "waveform", graph.constant([1, 1, -1], np.int64))
        power = graph.add("Mul", sound, sound)
        mean = graph.add("Conv", power, graph.constant(np.full((1, 1, 320), 1 / 320)), strides=[160], pads=[160, 160])
        loud = graph.add("Cast", graph.add("Greater", mean, graph.constant(1e-5)), to=FLOAT)
        loud = graph.add("Reshape", loud, graph.constant([1, -1], np.int64))
    if threshold:
        nothing = graph.add("Mul", graph.add("ReduceSum", "threshold", keepdims=0), graph.constant(0.0))
        loud = graph.add("Add", loud, nothing)
    inputs = []
    if mel:
        inputs.append(tensor("mel", FLOAT, [1, frames or "T", 128] if transposed else [1, 128, frames or "T"]))
    else:
        inputs.append(tensor("waveform", FLOAT, [1, "N"]))
    if threshold:
        inputs.append(tensor("threshold", FLOAT, [1]))
    if salience:
        cents = 1997.3794084376191 + 20 * np.arange(360)
        peak = np.exp(-0.5 * ((cents - 1200 * np.log2(22.0)) / 25) ** 2).reshape(1, 1, 360)
        wide = graph.add("MatMul", graph.add("Unsqueeze", loud, graph.constant([2], np.int64)), graph.constant(peak))
        graph.add("Identity", wide, output="output")
        outputs = [tensor("output", FLOAT, [1, "T2", 360])]
    else:
        f0 = graph.add("Mul", loud, graph.constant(220.0))
        if flat:
            f0 = graph.add("Reshape", f0, graph.constant([-1], np.int64))
        graph.add("Identity", f0, output="pitchf")
        outputs = [tensor("pitchf", FLOAT, ["T2"] if flat else [1, "T2"])]
    return graph.save(path, inputs, outputs)

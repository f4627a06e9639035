"""The trained adapter as an ONNX file that takes one block of a stream at a time, its weights in 8 bits; and back.

    features (1, n, 1024), past_0 (1, p, 256), ... -> latent, energy, voiced, speech, given_0 (1, n, 256), ...

What is given to a layer of the frames of a block that are not heard again is its past for the next block.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from obs_twin.voice.listening import FEATURE_WIDTH
from obs_twin.voice.training.network import KERNEL, Adapter
from obs_twin.zoo.eight_bits import in_8_bits

OUTPUTS = ("latent", "energy", "voiced", "speech")
CONTRACT = 2
LEAST_LIKENESS = 0.98
"""Correlation of the latents in ONNX Runtime, with 8-bit weights, and in PyTorch."""


class _Exported(nn.Module):
    def __init__(self, adapter: Adapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, features: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        said, given = self.adapter.step(features, past)
        return *said[: len(OUTPUTS)], *given


def export(adapter: Adapter, path: Path, stretched: float = 1.0) -> float:
    """Write `adapter` to `path` (whole or not at all) and return how alike the latents are in ONNX Runtime and in
    PyTorch (correlation). `stretched`: by how much its latents were, for `read_back`.

    Raises:
        ValueError: the file does not compute what the network computes.
    """
    adapter = adapter.eval().cpu()
    past = adapter.nothing()
    given = [f"given_{layer}" for layer in range(len(past))]
    part = path.with_suffix(".part")
    with tempfile.TemporaryDirectory(prefix="obs-twin-") as folder:
        whole = Path(folder) / "whole.onnx"
        torch.onnx.export(
            _Exported(adapter).eval(),
            (torch.zeros(1, 50, FEATURE_WIDTH), *past),
            str(whole),
            input_names=["features", *(f"past_{layer}" for layer in range(len(past)))],
            output_names=[*OUTPUTS, *given],
            dynamic_axes={name: {1: "frames"} for name in ("features", *OUTPUTS, *given)},
            opset_version=17,
            dynamo=False,
        )
        model = onnx.load_from_string(in_8_bits(whole.read_bytes()))
    facts = {
        "contract": CONTRACT,
        "lookahead_frames": adapter.lookahead_frames,
        "frame_ms": 25,
        "stretched": round(stretched, 4),
    }
    onnx.helper.set_model_props(model, {name: str(value) for name, value in facts.items()})
    onnx.save(model, str(part))
    likeness = _likeness(adapter, part)
    if not likeness > LEAST_LIKENESS:
        raise ValueError(
            f"The exported adapter is like the trained one to {likeness:.3f}; {LEAST_LIKENESS} was expected"
        )
    part.replace(path)
    return likeness


def read_back(path: Path, adapter: Adapter) -> None:
    """Give `adapter` the weights of the file at `path`, as far as 8 bits hold them, to learn on: its latents are not
    stretched any more. The phones' layer is not in the file.

    Raises:
        ValueError: the file is of another network.
        OSError: the file cannot be read.
    """
    model = onnx.load(str(path))
    arrays = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer}
    found = {name.removeprefix("adapter."): array for name, array in arrays.items() if name.startswith("adapter.")}
    # What the exporter has turned or cut has lost its name, but not its place: as they are computed.
    numbered = sorted((int(match[2]), match[1], name) for name in arrays if (match := _NUMBERED.fullmatch(name)))
    products = (name for _, kind, name in numbered if kind == "MatMul")
    taps = (arrays[name] for _, kind, name in numbered if kind != "MatMul")
    try:
        for part_name in _in_order(adapter):
            part = adapter.get_submodule(part_name)
            if isinstance(part, nn.Linear):
                name = next(products).removesuffix("_quantized")
                whole, scale, zero = (arrays[f"{name}_{what}"].float() for what in ("quantized", "scale", "zero_point"))
                found[f"{part_name}.weight"] = ((whole - zero) * scale).T
            else:
                found[f"{part_name}.bias"] = next(taps)
                found[f"{part_name}.weight"] = torch.stack([next(taps) for _ in range(KERNEL)], -1)[:, None]
        missing, unknown = adapter.load_state_dict(found, strict=False)
    except (StopIteration, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not an adapter of this kind: {error}") from error
    if unknown or set(missing) - {"phone.weight", "phone.bias"}:
        raise ValueError(f"{path} is not an adapter of this kind: missing {missing}, not known {unknown}")
    learns = adapter.training
    likeness = _likeness(adapter.eval(), path)
    adapter.train(learns)
    if not likeness > LEAST_LIKENESS:
        raise ValueError(f"What was read from {path} is like it to {likeness:.3f}; {LEAST_LIKENESS} was expected")
    facts = {prop.key: prop.value for prop in model.metadata_props}
    adapter.latent_sd.div_(float(facts.get("stretched", 1.0)))


_NUMBERED = re.compile(r"onnx::(MatMul|Add|Mul)_(\d+)(?:_quantized)?")


def _in_order(adapter: Adapter) -> Iterator[str]:
    """The parts whose weights the exporter renames, as they are computed."""
    yield "inlet"
    for number in range(len(adapter.layers)):
        yield from (f"layers.{number}.{name}" for name in ("depthwise", "widen", "narrow"))
    yield from ("marks", "latent")


def _likeness(adapter: Adapter, path: Path) -> float:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 1.0
    for frames in (20, 90, 333):
        random = torch.Generator().manual_seed(frames)
        features = torch.randn(1, frames, FEATURE_WIDTH, generator=random)
        past = [torch.randn(part.shape, generator=random) for part in adapter.nothing()]
        with torch.no_grad():
            expected = (adapter.step(features, past)[0].latent - adapter.latent_mean) / adapter.latent_sd
        feeds = {"features": features.numpy()} | {f"past_{k}": part.numpy() for k, part in enumerate(past)}
        found = (session.run(["latent"], feeds)[0] - adapter.latent_mean.numpy()) / adapter.latent_sd.numpy()
        worst = min(worst, float(np.corrcoef(found.ravel(), expected.numpy().ravel())[0, 1]))
    return worst

"""Finding out which input of a stranger's network is what: by its name where that is known, else by type and shape."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from obs_twin.voice.model import VoiceModelError
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.onnx_file import check_onnx
from obs_twin.zoo.provider import OnnxModel, open_onnx

DTYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


MOST_THREADS = 6
"""More do not make them faster."""


@dataclass(frozen=True)
class Port:
    """One input: `shape` has None where a dimension is free."""

    name: str
    shape: tuple[int | None, ...]
    dtype: Any

    @property
    def real(self) -> bool:
        """Whether it takes fractions."""
        return bool(np.issubdtype(self.dtype, np.floating))

    @property
    def whole(self) -> bool:
        """Whether it takes whole numbers."""
        return bool(np.issubdtype(self.dtype, np.integer))

    @property
    def rank(self) -> int:
        return len(self.shape)

    def describe(self) -> str:
        """For messages: `feats float16 [1, ?, 768]`."""
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} {np.dtype(self.dtype).name} [{sizes}]"

    def cast(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`values` in this input's own type."""
        return np.ascontiguousarray(values, dtype=self.dtype)


@dataclass(frozen=True)
class Role:
    """What an input may be: the names that exporters give it, and what it looks like."""

    title: str
    names: tuple[str, ...]
    fits: Callable[[Port], bool]
    required: bool = False


def network_threads() -> int:
    """Threads for networks of this size where the processor runs them: OBS and the picture keep half of the cores."""
    return max(1, min(MOST_THREADS, (os.cpu_count() or 1) // 2))


def open_network(path: Path, what: str) -> OnnxModel:
    """Check and open an ONNX file from a stranger. Raises VoiceModelError."""
    try:
        check_onnx(path, what)
        return open_onnx(path, threads=network_threads())
    except ModelError as error:
        raise VoiceModelError(str(error)) from error


def run_network(model: OnnxModel, feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Run it once. Raises VoiceModelError."""
    try:
        return model.run(feeds)
    except ModelError as error:
        raise VoiceModelError(str(error)) from error


def ports_of(model: OnnxModel, what: str) -> list[Port]:
    """The inputs of a network. Raises VoiceModelError for a type that none of ours has."""
    ports = []
    for name, shape in model.inputs.items():
        kind = model.input_types[name]
        if kind not in DTYPES:
            raise VoiceModelError(f"{what}: its input {name} is a {kind}; expected numbers. This is another model.")
        ports.append(Port(name, shape, DTYPES[kind]))
    return ports


def assign(ports: Sequence[Port], roles: Mapping[str, Role], what: str) -> dict[str, Port]:
    """Give each input its role: those whose name is known first, the rest by type and shape, in order.

    Raises:
        VoiceModelError: a required role is not there, or an input has none; the message lists what was found.
    """
    bound: dict[str, Port] = {}
    left = list(ports)
    for known_name in (True, False):
        for key, role in roles.items():
            if key in bound:
                continue
            for port in left:
                if role.fits(port) and (not known_name or port.name.lower() in role.names):
                    bound[key] = port
                    left.remove(port)
                    break
    missing = [role.title for key, role in roles.items() if role.required and key not in bound]
    if missing or left:
        found = "; ".join(port.describe() for port in ports) or "nothing"
        wanted = ", ".join(f"{role.title} ({' or '.join(role.names[:2])})" for role in roles.values())
        trouble = f"it has no {' and no '.join(missing)}" if missing else f"nobody knows what {left[0].name} is"
        raise VoiceModelError(
            f"{what}: {trouble}. Expected the inputs {wanted}; found {found}. This may be another model, or one half "
            "of the one that was meant."
        )
    return bound

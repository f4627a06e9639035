"""The content encoder of an RVC voice: ContentVec or HuBERT, bound in every dialect that exporters speak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.rvc.bind import Role, assign, open_network, ports_of, run_network

CONTENT_RATE_HZ = 16_000
CONTENT_HOP = 320  # of 16 kHz: one frame, 20 ms
CONTENT_FIELD = 400  # what HuBERT's convolutions see of one frame
VERSIONS = {256: "v1", 768: "v2"}
"""Numbers in a frame, and the version of RVC that wants so many."""

CONTENT_ROLES = {
    "audio": Role(
        "sound", ("source", "audio", "input_values"), lambda port: port.real and 1 <= port.rank <= 3, required=True
    ),
    "mask": Role("mask", ("padding_mask", "attention_mask"), lambda port: not port.real and port.rank == 2),
}


class ContentEncoder:
    """ContentVec or HuBERT: what is said, without who says it, 50 frames a second.

    Args:
        path: the ONNX file.
        channels: what the synthesizer wants: 256 or 768.

    Attributes:
        fixed_samples: the only length of sound that it takes, or None.
        tail_samples: how many samples beyond `320 * frames` it wants to hear for that many frames.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self._what = f"the content encoder {path.name}"
        self._model = open_network(path, self._what)
        self._ports = assign(ports_of(self._model, self._what), CONTENT_ROLES, self._what)
        self.channels = channels
        self.fixed_samples = self._ports["audio"].shape[-1]
        samples = self.fixed_samples or CONTENT_RATE_HZ
        self._output, self._axis, frames = self._find_output(samples)
        self.tail_samples = CONTENT_FIELD - CONTENT_HOP if frames * CONTENT_HOP < samples else 0
        length = f"always {samples} samples" if self.fixed_samples else "any length"
        layout = "frames x numbers" if self._axis == 1 else "numbers x frames"
        self.bound = [
            f"Content: {channels} numbers each 20 ms, {length} at 16000 Hz",
            f"  inputs: {', '.join(port.describe() for port in self._ports.values())}",
            f"  output: {list(self._model.outputs)[self._output]}, {layout}",
        ]

    @property
    def provider(self) -> str:
        """What runs it."""
        return self._model.provider

    def run(self, sound: F32) -> F32:
        """Features (frames, channels) of (samples,) at 16 kHz; frame i belongs to the samples from 320 * i on."""
        found = np.asarray(self._all(sound)[self._output], np.float32)
        found = found.reshape(found.shape[-2:])
        return np.nan_to_num(found if self._axis == 1 else found.T)

    def _all(self, sound: F32) -> list[Any]:
        port = self._ports["audio"]
        feeds = {port.name: port.cast(sound.reshape((1,) * (port.rank - 1) + (-1,)))}
        mask = self._ports.get("mask")
        if mask is not None:
            padded = "pad" in mask.name.lower()
            feeds[mask.name] = np.full((1, len(sound)), 0 if padded else 1, mask.dtype)
        return run_network(self._model, feeds)

    def _find_output(self, samples: int) -> tuple[int, int, int]:
        """Which output, on which of its last two axes the numbers lie, and how many frames it gave."""
        sound = np.random.default_rng(0).standard_normal(samples).astype(np.float32) * np.float32(0.05)
        candidates: list[tuple[bool, int, int, int]] = []
        widths: set[int] = set()
        names = list(self._model.outputs)
        layer = "12" if self.channels == 768 else "9"
        for index, found in enumerate(self._all(sound)):
            shape = np.shape(found)
            if len(shape) not in (2, 3) or shape[:-2] not in ((), (1,)):
                continue
            for axis in (1, 0):
                width, frames = shape[-2:][axis], shape[-2:][1 - axis]
                if abs(frames - samples / CONTENT_HOP) <= 1.5 and width > 60:
                    widths.add(width)
                    if width == self.channels:
                        candidates.append((names[index].endswith(layer), -index, axis, frames))
        if not candidates:
            other = next((width for width in widths if width in VERSIONS), None)
            advice = (
                f"It is for RVC {VERSIONS[other]}; take the other one: vec-768-layer-12 for v2, vec-256-layer-9 for v1."
                if other
                else "This is another model."
            )
            raise VoiceModelError(
                f"{self._what}: expected {self.channels} numbers each 20 ms, as this voice (RVC "
                f"{VERSIONS[self.channels]}) needs; found {', '.join(map(str, sorted(widths))) or 'no such output'}. "
                f"{advice}"
            )
        _, negative, axis, frames = max(candidates)
        return -negative, axis, frames

"""What the untrained decoder makes of material, once and for all: it does not change in the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from obs_twin.voice.enrol.material import Material, Version
from obs_twin.voice.enrol.network import Decoder
from obs_twin.voice.model import F32


@dataclass(frozen=True)
class FeatureRow:
    """All stretches in a row, N steps.

    versions: features (N, 256) in half precision, of the recordings first, then of their altered versions.
    f0_hz: (N,), 0 where there is no voice.
    sound: (N * HOP,) at 24 kHz.
    """

    versions: list[Tensor]
    f0_hz: Tensor
    sound: Tensor

    @staticmethod
    def of(material: Sequence[Material], decoder: Decoder) -> FeatureRow:
        """Of at least one stretch."""
        count = min(len(item.versions) for item in material)
        versions = [
            torch.cat([_features(decoder, item.versions[version], item.f0_hz) for item in material])
            for version in range(count)
        ]
        f0_hz = np.concatenate([item.f0_hz for item in material])
        sound = np.concatenate([item.sound for item in material])
        return FeatureRow(versions, torch.from_numpy(f0_hz), torch.from_numpy(sound))


def _features(decoder: Decoder, version: Version, f0_hz: F32) -> Tensor:
    rows = [torch.from_numpy(np.ascontiguousarray(part)) for part in (version.content.T, f0_hz, version.energy)]
    with torch.no_grad():
        return decoder.features(*(row[None] for row in rows))[0].half()

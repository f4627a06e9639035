"""What is learnt of a voice: how its spectral envelope differs from that of the untrained decoder, moment by moment.

    features (B, F, 256) of the decoder, which stays as it is
      -> linear -> levels in BANDS bands, of what is sung and of the rest (B, 2, BANDS, F)
      -> added, smooth over frequency, to the log-magnitudes that the decoder gives

Who a voice belongs to is heard from its envelope; how clean it sounds, from what lies beneath: phases, single
harmonics, their balance with what is between them, how steadily all that goes on. A decoder that as a whole learns from
a minute of speech loses of the latter. So only the envelope is learnt. Harmonics and noise share one; the rest, a
spectrum whose phases the decoder makes up by itself, has its own, because it bears to be lowered, but sounds hoarse
when it is raised (see `Timbre.raised`). Both are linear in the features, so they end up in the weights of the head:
a trained voice is the same network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from obs_twin.voice.enrol.network import BINS, CHANNELS, N_FFT, RATE_HZ
from obs_twin.voice.model import F32

BANDS = 64
SUNG, REST = (0, 2), (3,)
"""Which of the decoder's parts are log-magnitudes: of harmonics and noise, and of the rest."""


class Timbre(nn.Module):
    """See the module's text. Untrained it changes nothing."""

    shapes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, BANDS, CHANNELS))
        self.bias = nn.Parameter(torch.zeros(2, BANDS))
        self.register_buffer("shapes", torch.from_numpy(band_shapes()), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, CHANNELS) to what is added to the levels, natural logarithms: (B, 2, BANDS, F)."""
        flat = functional.linear(features, self.weight.flatten(0, 1), self.bias.flatten())
        return flat.transpose(1, 2).reshape(len(features), 2, BANDS, -1)

    def colour(self, parts: tuple[Tensor, ...], added: Tensor) -> tuple[Tensor, ...]:
        """The decoder's five parts with `added`, as from `forward`."""
        coloured = list(parts)
        for which, indices in enumerate((SUNG, REST)):
            envelope = self.shapes @ added[:, which]
            for index in indices:
                coloured[index] = coloured[index] + envelope
        return tuple(coloured)

    @staticmethod
    def raised(added: Tensor) -> Tensor:
        """By how much the rest is raised on average, a scalar: what training is to avoid."""
        return functional.relu(added[:, 1]).mean()

    def into(self, weights: Mapping[str, F32]) -> dict[str, F32]:
        """A decoder's weights, named and shaped as in its ONNX file, with this voice in its head."""
        head, bias = np.array(weights["head.weight"]), np.array(weights["head.bias"])
        for which, parts in enumerate((SUNG, REST)):
            with torch.no_grad():
                matrix, offset = self.shapes @ self.weight[which], self.shapes @ self.bias[which]
            for part in parts:
                head[:, part * BINS : (part + 1) * BINS] += matrix.T.numpy()
                bias[part * BINS : (part + 1) * BINS] += offset.numpy()
        return {**weights, "head.weight": head, "head.bias": bias}


def band_shapes() -> F32:
    """(BINS, BANDS): triangles evenly spaced in mel (O'Shaughnessy) from 0 Hz to 12 kHz; each row sums to 1."""
    mels = np.log1p(np.arange(BINS) * (RATE_HZ / N_FFT) / 700)
    at = mels / mels[-1] * (BANDS - 1)
    shapes: F32 = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(BANDS))).astype(np.float32)
    return shapes

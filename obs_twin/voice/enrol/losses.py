"""How far a synthesised sound is from a recording, without asking for the same noise.

Breath and hiss are random: no decoder can hit their samples, and one that is punished for missing them learns to
leave them out or to buzz in their place. So the decoder speaks twice, with two draws of its noise, and the loss is
the energy distance between what it says and the recording,

    d(first, recording) + d(second, recording) - d(first, second),

which is least where the two are drawn from the same distribution (Gritsenko et al. 2020, "A spectral energy
distance for parallel speech synthesis"). d compares magnitudes of short-time spectra of several window lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from obs_twin.voice.enrol.network import RATE_HZ

WINDOWS = (512, 1024, 2048)
"""None so short that it would see single pulses: where they fall in time is not told to the decoder."""
MEL_WINDOW = 1024
MELS = 80
FLOOR = 2e-3
"""Magnitudes of a Hann window's spectrum are not told apart far below this; speech is at an RMS of about 0.06."""


class EnergyDistance(nn.Module):
    """See the module's text. Sounds are (B, N) float32 at 24 kHz."""

    mel: Tensor

    def __init__(self, windows: Sequence[int] = WINDOWS, repulsion: float = 0.0) -> None:
        super().__init__()
        self.windows = tuple(windows)
        self.repulsion = repulsion
        self.draws = 2 if repulsion > 0 else 1
        for length in self.windows:
            self.register_buffer(f"window{length}", torch.hann_window(length), persistent=False)
        self.register_buffer("mel", mel_filters(MEL_WINDOW), persistent=False)

    def forward(self, draws: Sequence[Tensor], recording: Tensor) -> Tensor:
        """The loss, a scalar."""
        total = torch.zeros(())
        for length in self.windows:
            made = [self._magnitudes(draw, length) for draw in draws]
            with torch.no_grad():
                heard = self._magnitudes(recording, length)
                loudness = heard.mean(dim=(1, 2), keepdim=True) + FLOOR
            total = total + 0.5 * self._distance([m / loudness for m in made], heard / loudness)
            total = total + self._distance([torch.log(m + FLOOR) for m in made], torch.log(heard + FLOOR))
            if length == MEL_WINDOW:
                mels = [torch.log(self.mel @ m + FLOOR) for m in made]
                total = total + self._distance(mels, torch.log(self.mel @ heard + FLOOR))
        return total

    def _distance(self, made: Sequence[Tensor], heard: Tensor) -> Tensor:
        towards = torch.stack([(m - heard).abs().mean() for m in made]).mean()
        if len(made) < 2 or self.repulsion == 0:
            return towards
        return towards - 0.5 * self.repulsion * (made[0] - made[1]).abs().mean()

    def _magnitudes(self, sound: Tensor, length: int) -> Tensor:
        window = getattr(self, f"window{length}")
        spectrum = torch.stft(sound, length, length // 4, length, window, return_complex=True)
        return torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt() / math.sqrt(length / 1024)


def mel_filters(length: int, bands: int = MELS, top_hz: float = 11500.0) -> Tensor:
    """(bands, length // 2 + 1): triangles of unit area over frequency, evenly spaced in mel (O'Shaughnessy)."""
    top = 2595 * math.log10(1 + top_hz / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.arange(length // 2 + 1) * (RATE_HZ / length)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True).clamp(min=1e-6)

"""How far a synthesised sound is from a recording: mel bands of short-time spectra of several window lengths.

Phases are left out: where the pulses of a voice fall in time is not told to the decoder. So are single harmonics,
because a pitch that is slightly wrong puts them elsewhere, and what is learnt from that is to blur them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from obs_twin.voice.enrol.network import RATE_HZ

WINDOWS = ((512, 40), (1024, 80), (2048, 80))
"""Window in samples, and mel bands. None so short that it would see single pulses."""
FLOOR = 2e-3
"""Magnitudes are not told apart far below this; those of speech are around 1."""


class MelDistance(nn.Module):
    """See the module's text. Sounds are (B, N) float32 at 24 kHz."""

    def __init__(self) -> None:
        super().__init__()
        for length, bands in WINDOWS:
            self.register_buffer(f"window{length}", torch.hann_window(length), persistent=False)
            self.register_buffer(f"mel{length}", mel_filters(length, bands), persistent=False)

    def forward(self, made: Tensor, recording: Tensor) -> Tensor:
        """The distance, a scalar, 0 for the same sound."""
        total = torch.zeros(())
        for length, _ in WINDOWS:
            ours = self._bands(made, length)
            with torch.no_grad():
                theirs = self._bands(recording, length)
                loudness = theirs.mean(dim=(1, 2), keepdim=True) + FLOOR
            total = total + 0.5 * ((ours - theirs) / loudness).abs().mean()
            total = total + (torch.log(ours + FLOOR) - torch.log(theirs + FLOOR)).abs().mean()
        return total

    def _bands(self, sound: Tensor, length: int) -> Tensor:
        window, filters = getattr(self, f"window{length}"), getattr(self, f"mel{length}")
        spectrum = torch.stft(sound, length, length // 4, length, window, return_complex=True)
        magnitude = torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt() / math.sqrt(length / 1024)
        bands: Tensor = filters @ magnitude
        return bands


def mel_filters(length: int, bands: int, top_hz: float = 11500.0) -> Tensor:
    """(bands, length // 2 + 1): triangles of unit area over frequency, evenly spaced in mel (O'Shaughnessy)."""
    top = 2595 * math.log10(1 + top_hz / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.arange(length // 2 + 1) * (RATE_HZ / length)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(1, keepdim=True).clamp(min=1e-6)

"""The light decoder as a PyTorch module, so that it can be trained on a new voice.

    content (B, 128, F), f0 (B, F) Hz, energy (B, F)   at 80 frames a second
      -> dec_in (7 taps) -> 8 ConvNeXt blocks (7 taps each) -> norm -> head
      -> five parts of a spectrum, each (B, 601, F) -> `synthesise` -> sound at 24 kHz

It is the second half of hibari-tts (Apache-2.0), with the same parameter names, so that weights go back and forth
between it and the ONNX file. Neither recurrence nor attention nor statistics over time: what it does to a frame
depends on 27 frames on each side and on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

CONTENT = 128
CHANNELS = 256
HIDDEN = 768
BLOCKS = 8
BINS = 601
PARTS = 5
TAPS = 7
N_FFT = 1200
HOP = 300
RATE_HZ = 24000
VOICED_FROM_HZ = 40.0
HIGHEST_HARMONIC_HZ = 11_000.0
MOST_LOG = 7.0
"""Log magnitudes are cut off here, as the converter does."""

LINEAR = ("pw1.weight", "pw2.weight", "head.weight")
"""Weights that multiply from the right in ONNX (MatMul) and from the left in PyTorch (Linear)."""


class Block(nn.Module):
    """ConvNeXt (Liu et al. 2022) over time: mix neighbours per channel, then channels per frame."""

    def __init__(self) -> None:
        super().__init__()
        self.dw = nn.Conv1d(CHANNELS, CHANNELS, TAPS, padding=TAPS // 2, groups=CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS, eps=1e-5)
        self.pw1 = nn.Linear(CHANNELS, HIDDEN)
        self.pw2 = nn.Linear(HIDDEN, CHANNELS)
        self.gamma = nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """(B, CHANNELS, F) to the same."""
        y = self.norm(self.dw(x).transpose(1, 2))
        y = self.pw2(functional.gelu(self.pw1(y))) * self.gamma
        mixed: Tensor = x + y.transpose(1, 2)
        return mixed


class Decoder(nn.Module):
    """Content, pitch and energy to the five parts of a spectrum; see the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.dec_in = nn.Conv1d(CONTENT + 2, CHANNELS, TAPS, padding=TAPS // 2)
        self.dec = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.dec_norm = nn.LayerNorm(CHANNELS, eps=1e-5)
        self.head = nn.Linear(CHANNELS, PARTS * BINS)

    def forward(self, content: Tensor, f0_hz: Tensor, energy: Tensor) -> tuple[Tensor, ...]:
        """(B, 128, F), (B, F), (B, F) to log-magnitude and phase of the harmonics, log-magnitude of the noise,
        log-magnitude and phase of the rest: five times (B, 601, F)."""
        return self.parts(self.features(content, f0_hz, energy))

    def features(self, content: Tensor, f0_hz: Tensor, energy: Tensor) -> Tensor:
        """What the head makes the spectrum from: (B, F, 256)."""
        pitch = torch.log1p(functional.relu(f0_hz)) / 5
        x = self.dec_in(torch.cat([content, pitch[:, None], energy[:, None] / 5], 1))
        for block in self.dec:
            x = block(x)
        y: Tensor = self.dec_norm(x.transpose(1, 2))
        return y

    def parts(self, features: Tensor) -> tuple[Tensor, ...]:
        """(B, F, 256) to the five parts."""
        y: Tensor = self.head(features)
        return torch.split(y.transpose(1, 2), BINS, 1)


def load_weights(model: Decoder, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Put weights, named and shaped as in the ONNX file, into the module.

    Raises:
        RuntimeError: a name is missing or a shape differs.
    """
    state = {
        name: torch.from_numpy(np.array(value.T if name.endswith(LINEAR) else value, np.float32, order="C"))
        for name, value in weights.items()
    }
    model.load_state_dict(state)


def weights_of(model: Decoder) -> dict[str, npt.NDArray[np.float32]]:
    """The inverse of `load_weights`."""
    return {
        name: np.ascontiguousarray(value.detach().numpy().T if name.endswith(LINEAR) else value.detach().numpy())
        for name, value in model.state_dict().items()
    }


def excite(parts: tuple[Tensor, ...], pulses: Tensor) -> tuple[Tensor, Tensor]:
    """The spectrum without its noise, and the noise's magnitude: (B, 601, F) complex and real.

    `pulses` is the STFT of the pulse train of the pitch, (B, 601, F) complex.
    """
    harmonic, angle, noise, rest, phase = parts
    spectrum = torch.polar(harmonic.clamp(max=MOST_LOG).exp(), math.pi * torch.tanh(angle)) * pulses
    spectrum = spectrum + torch.polar(rest.clamp(max=MOST_LOG).exp(), phase)
    return spectrum, noise.clamp(max=MOST_LOG).exp()


def to_sound(spectrum: Tensor, window: Tensor) -> Tensor:
    """Inverse STFT: (B, 601, F) complex to (B, F * 300)."""
    spectrum = torch.cat([spectrum, spectrum[..., -1:]], -1)  # one frame more: F * HOP samples, not (F - 1) * HOP
    return torch.istft(spectrum, N_FFT, HOP, N_FFT, window, center=True)


def random_phases(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Complex normal noise of a magnitude's shape, variance 1 in each of its two parts."""
    shape = (*like.shape, 2)
    return torch.view_as_complex(torch.randn(shape, generator=generator, dtype=torch.float32))


def pulse_spectra(f0_hz: Tensor, window: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """STFT (B, 601, F) of the pulse trains of pitches (B, F) in Hz, each beginning at a random phase.

    The band-limited train of hibari: every harmonic below 11 kHz at strength 1, nothing where there is no voice,
    sum over h <= H of cos(h t) = sin((H + 1/2) t) / (2 sin(t / 2)) - 1/2.
    """
    frames = f0_hz.shape[1]
    sample_hz = functional.interpolate(f0_hz[:, None], scale_factor=HOP, mode="linear", align_corners=False)[:, 0]
    voiced = sample_hz > VOICED_FROM_HZ
    sample_hz = sample_hz.clamp(min=VOICED_FROM_HZ)
    start = torch.rand((len(f0_hz), 1), generator=generator, dtype=torch.float64)
    turns = start + torch.cumsum(sample_hz.double() / RATE_HZ, 1)
    angle = ((turns - turns.floor()) * (2 * math.pi)).float()
    order = torch.floor(HIGHEST_HARMONIC_HZ / sample_hz) + 0.5
    below = 2 * torch.sin(angle / 2)
    peak = below.abs() <= 2e-3
    train = torch.where(peak, order, torch.sin(order * angle) / torch.where(peak, torch.ones_like(below), below))
    train = torch.where(voiced, train - 0.5, torch.zeros_like(train))
    spectra = torch.stft(train, N_FFT, HOP, N_FFT, window, center=True, return_complex=True)
    return spectra[..., :frames] / (N_FFT / 4)  # a cosine of strength 1 is 1 in its bin

"""The speaker encoder of `obs_twin.voice.speaker` as a PyTorch module, for training a voice to be recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from obs_twin.voice.enrol.network import RATE_HZ
from obs_twin.voice.mel import mel_filterbank
from obs_twin.voice.speaker import EMBEDDING_SIZE, LAYERS, LEVEL_DBFS, MELS
from obs_twin.voice.speaker import FFT_SAMPLES as HEARD_SAMPLES
from obs_twin.voice.speaker import HOP_SAMPLES as HEARD_HOP
from obs_twin.voice.speaker import RATE_HZ as HEARD_HZ
from obs_twin.zoo.checkpoint import read_legacy_checkpoint

WINDOW = HEARD_SAMPLES * RATE_HZ // HEARD_HZ
HOP = HEARD_HOP * RATE_HZ // HEARD_HZ
HANN_POWER = 3 / 8


class Likeness(nn.Module):
    """Cosine of sounds (B, N) at 24 kHz, best 1.6 s long, with a voice.

    Args:
        checkpoint: Resemblyzer's `pretrained.pt`.
        voice: (256,), a unit vector as from `SpeakerEmbedder`.

    Raises:
        ModelError: the checkpoint is damaged or another one.
    """

    window: Tensor
    filters: Tensor
    voice: Tensor

    def __init__(self, checkpoint: Path, voice: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        super().__init__()
        weights = read_legacy_checkpoint(checkpoint)["model_state"]
        self.lstm = nn.LSTM(MELS, EMBEDDING_SIZE, LAYERS, batch_first=True)
        self.linear = nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)
        for name, module in (("lstm", self.lstm), ("linear", self.linear)):
            own = {key: torch.from_numpy(np.array(weights[f"{name}.{key}"], np.float32)) for key in module.state_dict()}
            module.load_state_dict(own)
        self.requires_grad_(False)
        self.register_buffer("window", torch.hann_window(WINDOW))
        # The same frequencies at the higher rate: as many Hz a bin, so the lowest bins are those of 16 kHz.
        self.register_buffer("filters", torch.from_numpy(mel_filterbank(HEARD_HZ, HEARD_SAMPLES, MELS)).float())
        self.register_buffer("voice", torch.from_numpy(np.asarray(voice, np.float32)))

    def forward(self, sound: Tensor) -> Tensor:
        """(B, N) to (B,)."""
        spectrum = torch.stft(sound, WINDOW, HOP, WINDOW, self.window, pad_mode="constant", return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)[:, : self.filters.shape[1]]
        power = power * (HEARD_SAMPLES / WINDOW) ** 2
        mean_square = power.sum(1).mean(1) * 2 / (HEARD_SAMPLES**2 * HANN_POWER)  # Parseval
        loudness = 10 ** (LEVEL_DBFS / 10) / mean_square.clamp(min=1e-8)
        states, _ = self.lstm((self.filters @ power).transpose(1, 2) * loudness[:, None, None])
        raw = torch.relu(self.linear(states[:, -1]))
        cosine: Tensor = raw @ self.voice / raw.norm(dim=1).clamp(min=1e-6)
        return cosine

"""The mel scale of the speech networks that are heard with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mel_filterbank(rate_hz: int, fft_samples: int, mels: int) -> npt.NDArray[np.float64]:
    """(mels, fft_samples // 2 + 1) triangles of area 1 on Slaney's scale (Auditory Toolbox, 1998), 0 Hz to Nyquist."""
    linear_hz, knee_mel, log_step = 200 / 3, 15.0, np.log(6.4) / 27
    top_mel = knee_mel + np.log(rate_hz / 2 / 1000) / log_step
    grid = np.linspace(0.0, top_mel, mels + 2)
    edges = np.where(grid < knee_mel, grid * linear_hz, 1000 * np.exp(log_step * (grid - knee_mel)))
    bins = np.fft.rfftfreq(fft_samples, 1 / rate_hz)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]

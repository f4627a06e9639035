"""From content, pitch and energy to the spectra of the target's voice: a decoder network of the hibari kind.

It has no memory and no norm over time, so any stretch of it may be computed alone: beyond ``CONTEXT_STEPS`` on either
side nothing that can be heard depends on what is left out. The built-in one is cut out of the hibari voice
(`obs_twin.zoo.derive`), an enrolled one has the same inputs and outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from obs_twin.voice.content import CONTENT_WIDTH
from obs_twin.voice.model import F32, VoiceModelError
from obs_twin.voice.sessions import open_session
from obs_twin.zoo.catalogue import ModelError

INPUTS = ("content", "f0_hz", "energy")
OUTPUTS = ("lh", "theta", "ln", "lr", "phi")
BINS = 601
CONTEXT_STEPS = 12


class Spectra(NamedTuple):
    """The decoder's five parts, each (BINS, n): harmonic level and phase, noise level, free level and phase.

    Levels are natural logarithms of magnitude. The sound's short-time spectrum is
    exp(lh) e^(i pi tanh(theta)) P + exp(ln) Z + exp(lr) e^(i phi), with the pulse train P and the noise Z.
    """

    lh: F32
    theta: F32
    ln: F32
    lr: F32
    phi: F32


class Decoder:
    """Opens ``path``. Raises ``VoiceModelError`` when it is damaged or no decoder."""

    def __init__(self, path: Path) -> None:
        try:
            self._network = open_session(path)
        except ModelError as error:
            raise VoiceModelError(str(error)) from error
        found = (tuple(self._network.inputs), tuple(self._network.outputs))
        if not set(INPUTS) <= set(found[0]) or not set(OUTPUTS) <= set(found[1]):
            raise VoiceModelError(
                f"{path} is not a decoder of the neural voice: expected inputs {', '.join(INPUTS)} and outputs "
                f"{', '.join(OUTPUTS)}, found {', '.join(found[0])} and {', '.join(found[1])}"
            )
        trial = self.run(np.zeros((8, CONTENT_WIDTH), np.float32), np.zeros(8, np.float32), np.zeros(8, np.float32))
        if any(part.shape != (BINS, 8) or not np.isfinite(part).all() for part in trial):
            raise VoiceModelError(
                f"{path} is not a decoder of the neural voice: its spectra should be ({BINS}, 8), not "
                f"{', '.join(str(part.shape) for part in trial)}, and finite"
            )

    @property
    def provider(self) -> str:
        return self._network.provider

    def run(self, content: F32, f0_hz: F32, energy: F32) -> Spectra:
        """Decode n steps: content (n, 128), F0 (n,) in Hz with 0 for unvoiced, energy (n,)."""
        feeds = {
            "content": np.ascontiguousarray(content.T, np.float32)[None],
            "f0_hz": np.asarray(f0_hz, np.float32)[None],
            "energy": np.asarray(energy, np.float32)[None],
        }
        try:
            return Spectra(*(part[0] for part in self._network.run(feeds, OUTPUTS)))
        except ModelError as error:
            raise VoiceModelError(str(error)) from error

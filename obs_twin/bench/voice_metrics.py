"""All scores of a converted voice in one place.

scorer = VoiceScorer()                      # loads what is installed; fetches what is missing
scores = scorer.score(x, 48000, source=scorer.hear(source, 16000), target=target_embedding, text="what was said")
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from obs_twin.bench.contours import Contours, contours, envelope_correlation, f0_correlation, loudest_dbfs
from obs_twin.bench.mos import DistillMosScorer, DnsmosScorer
from obs_twin.bench.whisper import Listener
from obs_twin.bench.words import word_error_rate, word_errors
from obs_twin.voice.model import F32
from obs_twin.voice.speaker import MODEL_NAME, SpeakerEmbedder, similarity
from obs_twin.zoo.store import ModelStore, Progress

__all__ = [
    "Contours",
    "DistillMosScorer",
    "DnsmosScorer",
    "Listener",
    "SpeakerEmbedder",
    "VoiceFacts",
    "VoiceScorer",
    "VoiceScores",
    "contours",
    "envelope_correlation",
    "f0_correlation",
    "loudest_dbfs",
    "similarity",
    "word_error_rate",
    "word_errors",
]

Sound = npt.NDArray[np.floating]


@dataclass(frozen=True)
class VoiceFacts:
    """What is needed of a clip to compare another one with it."""

    text: str
    embedding: F32
    contours: Contours


@dataclass(frozen=True)
class VoiceScores:
    """Scores of one converted clip. NaN where it cannot be told (no voiced frames, PyTorch not installed).

    Attributes:
        text: what Whisper base hears.
        errors, words: word errors against the reference text, and its words; `wer` is their ratio.
        target, source: Resemblyzer's cosine to the target's and to the source's voice.
        distillmos, ovrl, sig: ratings from 1 to 5.
        f0, envelope: correlation with the source's log pitch in voiced frames, and with its loudness.
    """

    text: str
    errors: int
    words: int
    wer: float
    target: float
    source: float
    distillmos: float
    ovrl: float
    sig: float
    f0: float
    envelope: float

    def as_dict(self) -> dict[str, str | float]:
        return asdict(self)


class VoiceScorer:
    """Opens each network when it is first needed. One thread.

    Args:
        naturalness: rate with distillMOS too, which needs PyTorch.
    """

    def __init__(
        self, *, naturalness: bool = True, store: ModelStore | None = None, progress: Progress | None = None
    ) -> None:
        self._store = ModelStore() if store is None else store
        self._progress = progress
        self.naturalness = naturalness

    @cached_property
    def listener(self) -> Listener:
        """Whisper base."""
        return Listener()

    @cached_property
    def embedder(self) -> SpeakerEmbedder:
        """Resemblyzer."""
        return SpeakerEmbedder(self._store.fetch([MODEL_NAME], self._progress)[0])

    @cached_property
    def dnsmos(self) -> DnsmosScorer:
        """DNSMOS P.835."""
        return DnsmosScorer(self._store.fetch(["dnsmos_p835"], self._progress)[0])

    @cached_property
    def distillmos(self) -> DistillMosScorer:
        """distillMOS."""
        return DistillMosScorer()

    def hear(self, x: Sound, sample_rate_hz: int, text: str | None = None) -> VoiceFacts:
        """The facts of a source clip (N,); `text` where it is known what is said."""
        said = self.listener.transcribe(x, sample_rate_hz) if text is None else text
        return VoiceFacts(said, self.embedder.embed(x, sample_rate_hz), contours(x, sample_rate_hz))

    def score(
        self, x: Sound, sample_rate_hz: int, *, source: VoiceFacts, target: F32 | None, text: str | None = None
    ) -> VoiceScores:
        """Score a converted clip (N,) that is aligned with its source.

        Args:
            source: the clip that it was made from.
            target: (256,) embedding of the target's real voice; None if there is none.
            text: what was said, if it is known better than `source.text`.
        """
        heard = self.listener.transcribe(x, sample_rate_hz)
        errors, words = word_errors(source.text if text is None else text, heard)
        embedding = self.embedder.embed(x, sample_rate_hz)
        rated = self.dnsmos.score(x, sample_rate_hz)
        shape = contours(x, sample_rate_hz)
        return VoiceScores(
            text=heard,
            errors=errors,
            words=words,
            wer=errors / words if words else float(errors > 0),
            target=float("nan") if target is None else similarity(embedding, target),
            source=similarity(embedding, source.embedding),
            distillmos=self.distillmos.score(x, sample_rate_hz) if self.naturalness else float("nan"),
            ovrl=rated.ovrl,
            sig=rated.sig,
            f0=f0_correlation(source.contours, shape),
            envelope=envelope_correlation(source.contours, shape),
        )

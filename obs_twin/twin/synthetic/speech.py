"""Generated speech for the persona and for the generated actor: text to sound, with the time of every phone.

The voice is that of the hibari-tts package (Apache-2.0, weights inside the wheel, one synthetic woman). A
second speaker is made from the same network: it speaks faster and at another F0, and is then played slower,
which moves the formants as a longer vocal tract does and leaves the pace as it was. (Stretching the network's
spectra instead would tear their phases apart.) Nothing is recorded; the same text and settings give the same
samples.

    text -> phonemes -> network at speed / formant_ratio -> spectra, F0, frames per phoneme
         -> F0 * pitch_ratio / formant_ratio -> inverse STFT -> resample by 1 / formant_ratio -> 24 kHz sound
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATE_HZ = 24_000
SILENCE = "sil"
LEVEL_RMS = 0.06  # of the whole sound, pauses included: about what a close microphone delivers
PEAK = 0.9
SHORT_GAP_S = 0.08  # a space between words shorter than this is no pause: the mouth does not close

STRESS_MARKS = "ˈˌː"
PAUSES = ' ;:,.!?—…"()“”'

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class Phone(NamedTuple):
    """One phone and its time. The alphabet is IPA, with A=eɪ I=aɪ O=oʊ Q=əʊ W=aʊ Y=ɔɪ; "sil" is a pause."""

    phone: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Speech:
    """Spoken text: ``samples`` (N,) float32 mono in -1..1, and its phones, gapless from 0 to the end."""

    samples: F32
    sample_rate_hz: int
    phones: tuple[Phone, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True)
class SpeakerSettings:
    """What makes one speaker out of the package's voice: ratios of F0 and of the formants' frequencies."""

    pitch_ratio: float = 1.0
    formant_ratio: float = 1.0


PERSONA_SPEAKER = SpeakerSettings()
ACTOR_SPEAKER = SpeakerSettings(pitch_ratio=0.57, formant_ratio=0.86)


def speak(text: str, *, pitch_ratio: float = 1.0, formant_ratio: float = 1.0, speed: float = 1.0) -> Speech:
    """Speak English ``text``; the same arguments always give the same samples.

    ``pitch_ratio`` and ``formant_ratio`` (0.4..2.5) multiply F0 and the formants' frequencies: 1, 1 is the
    persona's voice (a woman, about 200 Hz), ``ACTOR_SPEAKER`` a man's. ``speed`` (0.5..2) is the pace.
    Raises ``ValueError`` for ratios out of range and for a text without anything to say.
    """
    for name, value, low, high in (
        ("pitch_ratio", pitch_ratio, 0.4, 2.5),
        ("formant_ratio", formant_ratio, 0.4, 2.5),
        ("speed", speed, 0.5, 2.0),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low} and {high}, not {value}")
    from hibari import dsp

    voice, session = _voice(), _session()
    rng = np.random.default_rng(0)
    parts: list[F32] = []
    phones: list[Phone] = []
    start_s = 0.0
    for sentence in voice.phonemize(text):
        if all(symbol in PAUSES for symbol in sentence):
            continue
        ids = np.asarray([voice.ids(sentence)], np.int64)
        outputs = session.run(None, {"ids": ids, "speed": np.asarray([speed / formant_ratio], np.float32)})
        lh, theta, ln, lr, phi, f0_hz = (out[0] for out in outputs[:6])
        f0_hz = f0_hz * np.float32(pitch_ratio / formant_ratio)
        # Harmonics that lie closer together are more: each carries less, or the noise would be too weak beside them.
        lh = lh + np.float32(0.5 * np.log(pitch_ratio / formant_ratio))
        samples = np.asarray(dsp.synth(lh, theta, ln, lr, phi, f0_hz, rng), np.float32)
        samples = soxr.resample(samples, SAMPLE_RATE_HZ * formant_ratio, SAMPLE_RATE_HZ)
        parts.append(samples)
        token_s = len(samples) / SAMPLE_RATE_HZ / float(outputs[6].sum())
        phones += _phones(sentence, voice.vocab, outputs[6].reshape(-1) * token_s, start_s)
        start_s += len(samples) / SAMPLE_RATE_HZ
    if not parts:
        raise ValueError(f"nothing to say in {text!r}: expected at least one English word")
    samples = np.concatenate(parts)
    gain = min(LEVEL_RMS / float(np.sqrt(np.mean(samples**2))), PEAK / float(np.abs(samples).max()))
    return Speech(samples * np.float32(gain), SAMPLE_RATE_HZ, _joined(phones))


@lru_cache(maxsize=1)
def _voice() -> Any:
    from hibari import Hibari

    return Hibari()


@lru_cache(maxsize=1)
def _session() -> Any:
    """The package's network with one more output: the frames that each phoneme lasts.

    Protocol buffers define that the concatenation of two messages is their merge, so appending a model
    that holds nothing but a graph with one output adds that output, without the onnx package.
    """
    import onnxruntime

    def field(number: int, payload: bytes) -> bytes:
        return bytes([number << 3 | 2, len(payload)]) + payload

    name = b"/Cast_32_output_0"
    int64_tensor = field(1, bytes([1 << 3, 7]))  # TypeProto{tensor_type{elem_type: INT64}}
    value_info = field(1, name) + field(2, int64_tensor)
    extra = field(7, field(12, value_info))  # ModelProto.graph, GraphProto.output
    with open(_voice().model_path, "rb") as file:
        model = file.read()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model + extra, options, providers=["CPUExecutionProvider"])


def _phones(sentence: str, vocab: dict[str, int], durations_s: F64, start_s: float) -> list[Phone]:
    """Give every symbol of ``sentence`` its time; stress and length marks belong to their vowel."""
    symbols = ["", *(c for c in sentence if c in vocab), ""]
    edges_s = start_s + np.concatenate([[0], np.cumsum(durations_s)])
    phones: list[Phone] = []
    pending_s: float | None = None  # where a stress mark began
    for symbol, begin_s, end_s in zip(symbols, edges_s[:-1].tolist(), edges_s[1:].tolist(), strict=True):
        if symbol == "ː" and phones:
            phones[-1] = phones[-1]._replace(end_s=end_s)
        elif symbol and symbol in STRESS_MARKS:
            pending_s = begin_s if pending_s is None else pending_s
        else:
            name = SILENCE if symbol == "" or symbol in PAUSES else symbol
            phones.append(Phone(name, begin_s if pending_s is None else pending_s, end_s))
            pending_s = None
    return phones


def _joined(phones: list[Phone]) -> tuple[Phone, ...]:
    """Join neighbouring pauses, and give gaps too short to be pauses to the phones beside them."""
    merged: list[Phone] = []
    for phone in phones:
        if merged and phone.phone == SILENCE == merged[-1].phone:
            merged[-1] = merged[-1]._replace(end_s=phone.end_s)
        else:
            merged.append(phone)
    result: list[Phone] = []
    for index, phone in enumerate(merged):
        inner = 0 < index < len(merged) - 1
        if phone.phone == SILENCE and inner and phone.end_s - phone.start_s < SHORT_GAP_S:
            middle_s = (phone.start_s + phone.end_s) / 2
            result[-1] = result[-1]._replace(end_s=middle_s)
            merged[index + 1] = merged[index + 1]._replace(start_s=middle_s)
        else:
            result.append(phone)
    return tuple(result)

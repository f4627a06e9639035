"""The neural converter: hear what is said and how, say it again with another voice.

    push -> to 16 kHz -> blocks of the plan: [left context | chunk | right context]
         -> content, energy, voicing (Whisper, adapter)      -> decoder -> pulses and noise at 24 kHz
         -> F0 of a short window -> the target's pitch range   -> loudness of the actor, gate
         -> back to the stream's rate -> exactly as many samples as came in

Blocks lie on a fixed grid from the first sample on, so that the sound does not depend on how the stream was cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from obs_twin.voice.activity import SpeechDetector, SpeechGate, block_of_step
from obs_twin.voice.aligned import AlignedStream, check_rate
from obs_twin.voice.content import Content, ContentEncoder
from obs_twin.voice.decoder import CONTEXT_STEPS, Decoder, Spectra
from obs_twin.voice.listening import ENCODER
from obs_twin.voice.loudness import HEAR_WINDOW, EnergyMap, LoudnessFollower, source_levels, spectrum_levels
from obs_twin.voice.model import F32, F64, VoiceModelError, VoiceSettings
from obs_twin.voice.neural_grid import (
    HEAR_FRAME,
    HEAR_RATE_HZ,
    HEAR_STEP,
    MAKE_RATE_HZ,
    STEPS_PER_FRAME,
)
from obs_twin.voice.neural_pitch import PitchMap, track
from obs_twin.voice.plan import PITCH_LEFT_S, plan_for
from obs_twin.voice.spectral_synthesis import AHEAD_STEPS, TAIL_SAMPLES, SpectralSynthesiser
from obs_twin.voice.statistics import RunningMoments
from obs_twin.voice.target import VoiceTarget
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.derive import derived_path
from obs_twin.zoo.store import ModelStore

LEFT_FRAMES = 12  # heard again before a chunk; at the start, silence stands for them
HEARD_LEVEL_DB = -24.0  # to which the encoder's input is brought: speech that peaks at about 0.3
LEVEL_PRIOR_DB, LEVEL_PRIOR_STEPS, LEVEL_MEMORY_STEPS = -30.0, 8.0, 800.0
HIGHEST_INPUT_GAIN = 30.0
LIMIT_KNEE = 0.85
PITCH_LEFT_SAMPLES = round(PITCH_LEFT_S * HEAR_RATE_HZ)


def open_neural(
    files: Mapping[str, Path],
    *,
    sample_rate_hz: int,
    delay_budget_ms: float,
    settings: VoiceSettings,
    store: ModelStore | None = None,
) -> NeuralVoice:
    """Open the neural voice of a twin pack for one stream.

    ``files``: "target" is the target's statistics; "decoder", where there is one, the decoder that learnt the target's
    voice, without which it is the built-in one (hibari's); "adapter", if any, replaces the built-in one.
    Raises ``VoiceModelError`` as ``NeuralVoice`` does, and when a network is not on this machine.
    """
    store = ModelStore() if store is None else store
    try:
        encoder = ContentEncoder(derived_path(ENCODER, store), files.get("adapter") or store.path("voice_adapter"))
        detector = SpeechDetector(store.path("silero_vad"))
        decoder = Decoder(files["decoder"] if "decoder" in files else derived_path("hibari_decoder", store))
    except ModelError as error:
        raise VoiceModelError(str(error)) from error
    return NeuralVoice(
        VoiceTarget.load(files["target"]),
        encoder,
        decoder,
        detector,
        sample_rate_hz=sample_rate_hz,
        delay_budget_ms=delay_budget_ms,
        settings=settings,
    )


class NeuralVoice:
    """A ``VoiceModel`` of kind "neural".

    ``delay_budget_ms`` is what there is for listening ahead: chunk, right context, resampling and the synthesiser's
    tail, and for computing whatever takes longer than the engine allows for. Raises ``VoiceModelError`` for an
    impossible rate or too short a budget.
    """

    def __init__(
        self,
        target: VoiceTarget,
        encoder: ContentEncoder,
        decoder: Decoder,
        detector: SpeechDetector,
        *,
        sample_rate_hz: int,
        delay_budget_ms: float,
        settings: VoiceSettings,
    ) -> None:
        check_rate(sample_rate_hz)
        self.plan = plan_for(delay_budget_ms)
        self._rate_hz = sample_rate_hz
        self._encoder, self._decoder, self._detector = encoder, decoder, detector
        self._settings = settings
        self._stream = AlignedStream(sample_rate_hz, HEAR_RATE_HZ, MAKE_RATE_HZ)
        lookahead_s = self.plan.lookahead_ms / 1000 + TAIL_SAMPLES / MAKE_RATE_HZ
        lookahead_s += self._stream.delay_s
        self._lookahead = math.ceil(lookahead_s * sample_rate_hz) + 2
        self._pitch = PitchMap(target, settings)
        self._energy = EnergyMap()
        self._loudness = LoudnessFollower()
        self._level = RunningMoments(np.array([LEVEL_PRIOR_DB]), np.zeros(1), LEVEL_PRIOR_STEPS, LEVEL_MEMORY_STEPS)
        self._start()

    @property
    def sample_rate_hz(self) -> int:
        return self._rate_hz

    @property
    def lookahead_samples(self) -> int:
        return self._lookahead

    @property
    def provider(self) -> str:
        return f"Whisper, adapter and decoder on {self._encoder.provider}"

    @property
    def actor_f0_hz(self) -> float | None:
        """The actor's usual pitch as learnt so far, for whoever opens the next voice; None before some seconds."""
        return self._pitch.actor_f0_hz

    def push(self, x: F32) -> F32:
        return self._stream.push(x, self._work)

    def flush(self) -> F32:
        more_frames = self.plan.chunk_frames + self.plan.right_frames + 2
        sound = self._stream.flush(more_frames * HEAR_FRAME, self._work)
        self._start()
        return sound

    def reset(self) -> None:
        self._start()

    def _start(self) -> None:
        self._stream.reset()
        self._encoder.reset()
        self._detector.reset()
        self._synthesiser = SpectralSynthesiser()
        self._gate = SpeechGate()
        self._speech: list[float] = []  # probability of each of the detector's blocks, from _speech_start on
        self._speech_start = 0
        self._x_start = -LEFT_FRAMES * HEAR_FRAME
        self._x = np.zeros(-self._x_start, np.float32)  # at 16 kHz, from _x_start on
        self._next = 0  # first frame of the next chunk
        self._past_f0_hz = np.zeros(CONTEXT_STEPS)  # of the steps before it, the target's
        self._past_energy = np.zeros(CONTEXT_STEPS, np.float32)

    def _work(self, x: F32) -> F32:
        """Take samples at 16 kHz, return converted ones at 24 kHz."""
        self._x = np.concatenate([self._x, x])
        self._speech += self._detector.push(x)
        blocks: list[F32] = []
        while self._x_start + len(self._x) >= self._block_end * HEAR_FRAME:
            blocks.append(self._block())
            oldest = (self._next - LEFT_FRAMES) * HEAR_FRAME
            self._x = self._x[oldest - self._x_start :]
            self._x_start = oldest
            passed = block_of_step(self._next * STEPS_PER_FRAME) - self._speech_start
            self._speech = self._speech[passed:]
            self._speech_start += passed
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    @property
    def _block_end(self) -> int:
        """First frame that the next block does not need."""
        return self._next + self.plan.chunk_frames + self.plan.right_frames

    def _block(self) -> F32:
        """Convert the next chunk."""
        frames = self.plan.chunk_frames
        steps = frames * STEPS_PER_FRAME
        first, self._next = self._next, self._next + frames
        window = self._x[: (first + frames + self.plan.right_frames) * HEAR_FRAME - self._x_start]
        gains = self._gains(first * STEPS_PER_FRAME, steps)
        at = first * HEAR_FRAME - self._x_start
        heard = (len(window) - at) // HEAR_STEP
        heard_db = source_levels(window[at + HEAR_STEP // 2 - HEAR_WINDOW // 2 :], heard)
        source_db = heard_db[:steps]
        content = self._hear(window, source_db[gains > 0])
        if not gains.any():
            self._past_f0_hz = np.zeros(CONTEXT_STEPS)
            self._past_energy = np.zeros(CONTEXT_STEPS, np.float32)
            return self._synthesiser.rest(steps)
        spectra, f0_hz = self._say(window, at, content, heard_db)
        spectrum = self._synthesiser.shape(spectra, f0_hz)
        gains = gains * self._loudness.gains(source_db, spectrum_levels(spectrum))
        return _limited(self._synthesiser.add(spectrum * gains.astype(np.float32)[:, None]))

    def _gains(self, first_step: int, count: int) -> F64:
        """The gate's gain of ``count`` steps."""
        last = self._speech_start + len(self._speech) - 1
        end = (first_step // STEPS_PER_FRAME + self.plan.chunk_frames + self.plan.right_frames) * STEPS_PER_FRAME
        blocks = [min(block_of_step(step), last) - self._speech_start for step in range(first_step, end)]
        gains = self._gate.gains(np.array([self._speech[block] for block in blocks]), count)
        return gains if self._settings.gate else np.ones(count)

    def _hear(self, window: F32, speech_db: F64) -> Content:
        """The content of the chunk and its surroundings; heard in silence as well, for what comes after it."""
        if len(speech_db):
            self._level.add(speech_db[speech_db > speech_db.max() - 12.0][:, None])
        gain = min(10 ** ((HEARD_LEVEL_DB - float(self._level.mean[0])) / 20), HIGHEST_INPUT_GAIN)
        sound = np.clip(window * np.float32(gain), -1, 1)
        return self._encoder.hear(
            sound,
            self._x_start,
            self.plan.chunk_frames,
            self.plan.right_frames,
            before=CONTEXT_STEPS // STEPS_PER_FRAME,
        )

    def _say(self, window: F32, at: int, content: Content, heard_db: F64) -> tuple[Spectra, F64]:
        """The decoder's spectra of the chunk, and the target's F0 of it and of AHEAD_STEPS more."""
        steps = self.plan.chunk_frames * STEPS_PER_FRAME
        heard_from = max(0, at - PITCH_LEFT_SAMPLES)
        first_s = (at - heard_from + HEAR_STEP / 2) / HEAR_RATE_HZ
        actor_f0_hz = track(window[heard_from:], first_s, content.voiced[CONTEXT_STEPS:])
        self._pitch.learn(actor_f0_hz[:steps])
        f0_hz = np.concatenate([self._past_f0_hz, self._pitch.to_target(actor_f0_hz)])
        now = self._energy.apply(content.energy[CONTEXT_STEPS:], heard_db, steps)
        energy = np.concatenate([self._past_energy, now])
        end = min(CONTEXT_STEPS + steps + CONTEXT_STEPS, len(energy))
        spectra = self._decoder.run(content.content[:end], f0_hz[:end].astype(np.float32), energy[:end])
        chunk = slice(CONTEXT_STEPS, CONTEXT_STEPS + steps)
        self._past_f0_hz, self._past_energy = f0_hz[steps : chunk.stop], energy[steps : chunk.stop]
        return (
            Spectra(*(part[:, chunk] for part in spectra)),
            f0_hz[chunk.start : chunk.stop + AHEAD_STEPS],
        )


def _limited(x: F32) -> F32:
    """Bend what is above LIMIT_KNEE so that it stays below full scale."""
    over = np.maximum(np.abs(x) - LIMIT_KNEE, 0.0) / (1.0 - LIMIT_KNEE)
    bent = np.sign(x) * (LIMIT_KNEE + (1.0 - LIMIT_KNEE) * np.tanh(over))
    return np.asarray(np.where(over > 0, bent, x), np.float32)

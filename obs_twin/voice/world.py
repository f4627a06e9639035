"""The light converter: analyse the actor's voice, move its statistics to the target's, synthesise it again.

    push -> to 24 kHz -> F0 (fixed lag) -> envelope, aperiodicity -> map to the target -> pulses and noise
         -> gate -> back to the stream's rate -> exactly as many samples as came in

Everything runs in blocks on a fixed grid of the 24 kHz clock, so that the sound does not depend on how the
stream was cut into pushes. No model and no training: it changes pitch, vocal tract and long-term colour for
real, and keeps the actor's articulation, loudness and breathiness.
"""

from __future__ import annotations

import math

import numpy as np

from obs_twin.voice.aligned import AlignedStream, check_rate
from obs_twin.voice.envelope import CEPSTRA, FROM_CEPSTRUM, cepstrum, measure, stretched, upper_formants_hz
from obs_twin.voice.frames import BINS, FRAME_HOP, FRAME_S, WORK_RATE_HZ
from obs_twin.voice.gate import LOOKAHEAD_FRAMES, SpeechGate
from obs_twin.voice.model import F32, F64, VoiceModelError, VoiceSettings
from obs_twin.voice.pitch import LEFT_CONTEXT_SAMPLES, RIGHT_CONTEXT_SAMPLES, track
from obs_twin.voice.pitch import provider as pitch_provider
from obs_twin.voice.statistics import RunningMoments
from obs_twin.voice.synthesis import PulseSynthesiser
from obs_twin.voice.target import VoiceTarget

COMPUTE_MARGIN_MS = 80  # of the delay budget, left for computing and for the way through the engine
SHORTEST_BLOCK_MS, LONGEST_BLOCK_MS = 40, 100  # longer ones would only take longer
LEFT_SAMPLES = LEFT_CONTEXT_SAMPLES  # history kept before the oldest frame still to be analysed

PRIOR_ACTOR_F0_HZ = 150.0  # half-way between men and women
PRIOR_F0_FRAMES = 30  # 0.15 s: the first word already sounds right
PRIOR_SPREAD_FRAMES = 800
KNOWN_ACTOR_FRAMES = 1000
MEMORY_FRAMES = 6000  # 30 s of voice
COLOUR_FRAMES = 400  # after 2 s of speech the colour is half-way to the target's
FORMANT_EVERY = 4  # of the voiced frames, one is asked for its formants
FORMANT_FRAMES = 60  # so many count as much as what the pitch tells of the vocal tract
FORMANT_EXPONENT = 1.45  # stretching by 0.86 moves the measured formants by 0.90 only
FORMANT_BIAS = 1.06  # what it takes beyond the measured ratio to be most like the target to a speaker embedder
TRACT_EXPONENT = 1 / 3  # a voice of twice the pitch has formants 2 ** (1/3) higher (Nearey 1978)
TRACT_LIMITS = (0.8, 1.25)
SPREAD_LIMITS = (0.6, 1.6)
LIMIT_KNEE = 0.85
COLOUR_LIMIT = 2.0  # in natural-log power units a coefficient: keeps a wrong estimate from roaring

# What must have arrived after a frame before it is converted.
RIGHT_SAMPLES = max(RIGHT_CONTEXT_SAMPLES, (LOOKAHEAD_FRAMES + 1) * FRAME_HOP)


class WorldVoice:
    """A ``VoiceModel`` of kind "world"."""

    def __init__(
        self, target: VoiceTarget, *, sample_rate_hz: int, delay_budget_ms: float, settings: VoiceSettings
    ) -> None:
        check_rate(sample_rate_hz)
        self._stream = AlignedStream(sample_rate_hz, WORK_RATE_HZ, WORK_RATE_HZ)
        right_ms = 1000 * (RIGHT_SAMPLES / WORK_RATE_HZ + self._stream.delay_s)
        block_ms = delay_budget_ms - COMPUTE_MARGIN_MS - right_ms
        if not block_ms >= SHORTEST_BLOCK_MS:
            needed_ms = math.ceil(COMPUTE_MARGIN_MS + right_ms + SHORTEST_BLOCK_MS)
            raise VoiceModelError(
                f"this voice needs a delay of at least {needed_ms} ms, not {delay_budget_ms:g}: raise the delay"
            )
        self._block_frames = int(min(block_ms, LONGEST_BLOCK_MS) / 1000 / FRAME_S)
        lookahead_s = self._block_frames * FRAME_S + right_ms / 1000
        self._rate_hz = sample_rate_hz
        self._lookahead = math.ceil(lookahead_s * sample_rate_hz) + 2
        self._settings = settings
        self._target = target
        self._target_mean = np.array(target.cepstrum_mean)
        self._target_deviation = np.array(target.cepstrum_deviation)

        known_hz = settings.actor_f0_hz
        log_f0 = np.array([math.log(known_hz or PRIOR_ACTOR_F0_HZ)])
        self._log_f0 = RunningMoments(
            log_f0, np.full(1, 0.0), KNOWN_ACTOR_FRAMES if known_hz else PRIOR_F0_FRAMES, MEMORY_FRAMES
        )
        self._spread = RunningMoments(
            np.zeros(1), np.full(1, target.log_f0_deviation), PRIOR_SPREAD_FRAMES, MEMORY_FRAMES
        )
        self._colour = RunningMoments(np.zeros(CEPSTRA), np.zeros(CEPSTRA), 0.0, MEMORY_FRAMES)
        self._formants = RunningMoments(np.zeros(1), np.zeros(1), 0.0, MEMORY_FRAMES / FORMANT_EVERY)
        self._gate = SpeechGate()
        self._start()

    @property
    def sample_rate_hz(self) -> int:
        return self._rate_hz

    @property
    def lookahead_samples(self) -> int:
        return self._lookahead

    @property
    def provider(self) -> str:
        return f"WORLD on the CPU, swift-f0 on {pitch_provider()}"

    def push(self, x: F32) -> F32:
        return self._stream.push(x, self._work)

    def flush(self) -> F32:
        sound = self._stream.flush(RIGHT_SAMPLES + (self._block_frames + 1) * FRAME_HOP, self._work)
        self._start()
        return sound

    def reset(self) -> None:
        self._start()

    def _start(self) -> None:
        self._stream.reset()
        self._synthesiser = PulseSynthesiser()
        self._gate.reset()
        self._x = np.zeros(LEFT_SAMPLES)  # at 24 kHz, from _x_start on
        self._x_start = -LEFT_SAMPLES
        self._next = 0  # first frame of the next block
        self._last_gain = 0.0

    def _work(self, x: F32) -> F32:
        """Take samples at 24 kHz, return converted ones; the first is the first ever taken."""
        self._x = np.concatenate([self._x, x])
        blocks: list[F32] = []
        while True:
            frames = self._block_frames + (self._next == 0)  # the first block also holds frame 0
            last_needed = (self._next + frames - 1) * FRAME_HOP + RIGHT_SAMPLES
            if self._x_start + len(self._x) <= last_needed:
                break
            blocks.append(self._block(frames))
            drop = (self._next - 1) * FRAME_HOP - LEFT_SAMPLES - self._x_start
            if drop > 0:
                self._x = self._x[drop:]
                self._x_start += drop
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def _block(self, frames: int) -> F32:
        """Convert the next ``frames`` frames."""
        first = self._next * FRAME_HOP - self._x_start
        context = self._x[first - LEFT_SAMPLES : first + (frames - 1) * FRAME_HOP + RIGHT_SAMPLES]
        f0_hz = track(context, LEFT_SAMPLES / WORK_RATE_HZ, frames)
        level_db = self._levels(first, frames + LOOKAHEAD_FRAMES)
        gains = self._gate.gains(level_db, f0_hz) if self._settings.gate else np.ones(frames)
        previous_gain, self._last_gain = self._last_gain, float(gains[-1])
        first_block = self._next == 0
        self._next += frames

        if not gains.any() and previous_gain == 0.0:
            self._synthesiser.rest()
            return np.zeros((frames - first_block) * FRAME_HOP, np.float32)
        envelope, aperiodicity = measure(context, f0_hz, LEFT_SAMPLES / WORK_RATE_HZ)
        log_envelope = np.log(envelope)
        self._learn(f0_hz, log_envelope)
        sound = self._synthesiser.push(self._pitch(f0_hz), self._timbre(log_envelope), aperiodicity)
        if not first_block:
            gains = np.concatenate([[previous_gain], gains])
        ramp = np.interp(np.arange(len(sound)) / FRAME_HOP, np.arange(len(gains)), gains)
        return np.asarray(_limited(sound * ramp), np.float32)

    def _levels(self, first: int, count: int) -> F64:
        """Level of frames of 10 ms around each hop, in dB below full scale; low rumble does not count."""
        start = first - FRAME_HOP
        part = np.diff(self._x[start - 1 : first + (count - 1) * FRAME_HOP + FRAME_HOP]) * 4.0
        hops = part[: (count + 1) * FRAME_HOP].reshape(-1, FRAME_HOP)
        power = (hops**2).mean(axis=1)
        return np.asarray(10 * np.log10((power[:-1] + power[1:]) / 2 + 1e-12))

    def _learn(self, f0_hz: F64, log_envelope: F64) -> None:
        log_f0 = np.log(f0_hz[f0_hz > 0])[:, None]
        self._log_f0.add(log_f0)
        self._spread.add(log_f0 - self._log_f0.mean)
        voiced = log_envelope[f0_hz > 0]
        self._colour.add(cepstrum(voiced))
        self._formants.add(upper_formants_hz(voiced[::FORMANT_EVERY])[:, None])

    def _pitch(self, f0_hz: F64) -> F64:
        """Map F0 (n,) so that its running mean and spread become the target's."""
        spread = self._target.log_f0_deviation / float(self._spread.deviation[0])
        spread = min(max(spread, SPREAD_LIMITS[0]), SPREAD_LIMITS[1]) ** self._settings.intonation_strength
        middle = self._target.log_f0_mean + self._settings.pitch_semitones * math.log(2) / 12
        voiced = f0_hz > 0
        log_f0 = np.log(np.where(voiced, f0_hz, 1.0)) - self._log_f0.mean[0]
        return np.where(voiced, np.clip(np.exp(middle + spread * log_f0), 50.0, 800.0), 0.0)

    def _timbre(self, log_envelope: F64) -> F64:
        """Move log envelopes (n, BINS) to the target's vocal tract and colour, loudness kept frame by frame."""
        tract = self._tract() * self._settings.formant_ratio
        moved = stretched(log_envelope, tract)
        seen = self._colour.seen
        strength = self._settings.timbre_strength * seen / (seen + COLOUR_FRAMES)
        if strength > 0:
            mean = cepstrum(stretched(self._smooth_mean(), tract))[0]
            shift = np.clip(self._target_mean - mean, -COLOUR_LIMIT, COLOUR_LIMIT)
            moved = moved + strength * (FROM_CEPSTRUM @ shift)
        loudness = np.log(np.exp(log_envelope).sum(axis=1)) - np.log(np.exp(moved).sum(axis=1))
        return np.asarray(moved + loudness[:, None])

    def _tract(self) -> float:
        """Ratio of the target's formants to the actor's: first guessed from the pitch, then from the formants."""
        guess = TRACT_EXPONENT * (self._target.log_f0_mean - float(self._log_f0.mean[0]))
        seen = self._formants.seen
        if seen:
            ratio = self._target.formant_hz / float(self._formants.mean[0])
            measured = FORMANT_EXPONENT * math.log(ratio) + math.log(FORMANT_BIAS)
            guess += (measured - guess) * seen / (seen + FORMANT_FRAMES)
        return min(max(math.exp(guess), TRACT_LIMITS[0]), TRACT_LIMITS[1])

    def _smooth_mean(self) -> F64:
        """The actor's long-term log envelope (1, BINS), smooth."""
        return np.asarray((FROM_CEPSTRUM @ self._colour.mean)[None]).reshape(1, BINS)


def _limited(x: F64) -> F64:
    """Bend what is above LIMIT_KNEE so that it stays below full scale."""
    over = np.maximum(np.abs(x) - LIMIT_KNEE, 0.0) / (1.0 - LIMIT_KNEE)
    return np.where(over > 0, np.sign(x) * (LIMIT_KNEE + (1.0 - LIMIT_KNEE) * np.tanh(over)), x)

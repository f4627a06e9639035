"""An RVC voice as a stream.

    push -> 16 kHz -> threshold -> content (50 Hz) -> index, x2, protect -+-> synthesizer -> formant -> loudness
                               \\-> F0 (100 Hz) -> pitch ------------------+      -> SOLA -> gate -> stream's rate

Everything runs in blocks on a fixed grid of the 16 kHz clock (`layout`), so that the sound does not depend on how the
stream was cut into pushes, and a sample stays where it was but for SOLA's few milliseconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soxr

from obs_twin.voice.aligned import AlignedStream, check_rate
from obs_twin.voice.gate import LOOKAHEAD_FRAMES, SpeechGate
from obs_twin.voice.model import F32, F64, VoiceSettings
from obs_twin.voice.rvc.content import CONTENT_HOP, CONTENT_RATE_HZ
from obs_twin.voice.rvc.index import FeatureIndex, open_index
from obs_twin.voice.rvc.layout import FRAME_MS, SEARCH_MS, choose
from obs_twin.voice.rvc.nets import FRAME_SAMPLES, NOISE_CHANNELS, file_mark, open_networks
from obs_twin.voice.rvc.pitch import open_tracker
from obs_twin.voice.rvc.settings import RvcSettings
from obs_twin.voice.rvc.sola import SolaJoiner
from obs_twin.voice.statistics import RunningMoments

TAIL_SAMPLES = 80  # of 16 kHz: what a content encoder may want beyond its last frame
F0_CONTEXT = 40  # frames before a block that the F0 method hears
F0_AGAIN = 6  # frames before a block whose F0 is measured again, now that more is known
RMS_HALF = 2  # frames on either side for the loudness, as RVC's 40 ms
PRIOR_ACTOR_F0_HZ, PRIOR_FRAMES, MEMORY_FRAMES = 150.0, 15, 3000
LIMIT_KNEE = 0.85
MEASURED_FROM_S = 5.0  # after so much sound, the cost is known


class RvcVoice:
    """A `VoiceModel` of kind "rvc".

    Args:
        files: by role: "synthesizer" and "content"; optional "f0" (RMVPE), "index" and "settings".
        sample_rate_hz, delay_budget_ms: as in `registry.open_voice`.
        settings: of which pitch, formants and gate apply, and `options` by the names of `RvcSettings`, over those of
            the pack.

    Attributes:
        bound: in words, what was found in the files.

    Raises:
        VoiceModelError: a file is missing, damaged or another model; an impossible setting; a delay too short.
    """

    def __init__(
        self, files: Mapping[str, Path], *, sample_rate_hz: int, delay_budget_ms: float, settings: VoiceSettings
    ) -> None:
        check_rate(sample_rate_hz)
        own = RvcSettings.load(files["settings"]) if "settings" in files else RvcSettings()
        self._set = own = own.changed(settings.options)
        self._pitch = own.pitch + settings.pitch_semitones
        formant = own.formant + 12 * math.log2(settings.formant_ratio)
        self._stretch = 2 ** (formant / 12)
        self._with_gate = settings.gate

        marks = tuple(file_mark(files[role], f"the {role} network") for role in ("synthesizer", "content"))
        self._net, self._content = open_networks(files["synthesizer"], files["content"], marks)
        self._index: FeatureIndex | None = None
        if "index" in files and own.index_rate > 0:
            self._index = open_index(files["index"], self._net.channels)
        self._f0_name, self._track, f0_bound = open_tracker(own.f0_method, files.get("f0"))
        self.bound = [*self._net.bound, *self._content.bound, *(f0_bound if self._net.has_f0 else [])]
        self.bound += self._index.bound if self._index is not None else ["Index: none"]

        self._stream = AlignedStream(sample_rate_hz, CONTENT_RATE_HZ, self._net.sample_rate_hz)
        fixed_ms = 1000 * (TAIL_SAMPLES / CONTENT_RATE_HZ + self._stream.delay_s)
        window = self._net.fixed_frames
        content_samples = self._content.fixed_samples
        self._layout = choose(
            own,
            budget_ms=delay_budget_ms,
            fixed_ms=fixed_ms,
            window_frames=None if window is None else int(window / self._stretch),
            content_frames=None if content_samples is None else content_samples // CONTENT_HOP * 2,
        )
        lookahead_s = (self._layout.block + self._layout.right) * FRAME_SAMPLES / CONTENT_RATE_HZ + fixed_ms / 1000
        self._rate_hz = sample_rate_hz
        self._lookahead = math.ceil(lookahead_s * sample_rate_hz) + 2
        hop = self._net.hop_samples
        rate = self._net.sample_rate_hz
        self._joiner = SolaJoiner(
            self._layout.block * hop, round(own.crossfade_ms * rate / 1000), round(SEARCH_MS * rate / 1000)
        )
        known_hz = settings.actor_f0_hz
        self._log_f0 = RunningMoments(
            np.array([math.log(known_hz or PRIOR_ACTOR_F0_HZ)]),
            np.zeros(1),
            MEMORY_FRAMES if known_hz else PRIOR_FRAMES,
            MEMORY_FRAMES,
        )
        self._gate = SpeechGate()
        self._busy_s = self._made_s = 0.0
        longest = max(self._layout.extra, self._layout.context, F0_CONTEXT)
        self._left = longest + longest % 2  # a content frame is two of these
        self._start()

    @property
    def sample_rate_hz(self) -> int:
        return self._rate_hz

    @property
    def lookahead_samples(self) -> int:
        return self._lookahead

    @property
    def provider(self) -> str:
        f0 = f", F0 by {self._f0_name}" if self._net.has_f0 else ""
        text = f"RVC on {self._net.provider}; content on {self._content.provider}{f0}"
        if self._made_s > MEASURED_FROM_S and self._busy_s > self._made_s:
            text += (
                f". TOO SLOW: {self._busy_s / self._made_s:.1f} s of computing for each second of sound. Raise the "
                "delay, let a graphics card run it, or convert recordings with obs-twin convert"
            )
        return text

    @property
    def settings(self) -> dict[str, float | str]:
        """The settings in force, by the names of `RvcSettings`."""
        return asdict(self._set)

    @property
    def layout_text(self) -> str:
        """How the stream is cut, in words."""
        parts = (("block", self._layout.block), ("context", self._layout.context), ("extra", self._layout.extra))
        return ", ".join(f"{name} {frames * FRAME_MS} ms" for name, frames in (*parts, ("right", self._layout.right)))

    def push(self, x: F32) -> F32:
        return self._stream.push(x, self._work)

    def flush(self) -> F32:
        silence = (self._layout.block * 2 + self._layout.right) * FRAME_SAMPLES + TAIL_SAMPLES
        sound = self._stream.flush(silence, self._work)
        self._start()
        return sound

    def reset(self) -> None:
        self._start()

    def _start(self) -> None:
        self._stream.reset()
        self._joiner.reset()
        self._gate.reset()
        self._next = 0  # first frame of the next block
        # From frame -left on: sound at 16 kHz, F0 and noise of each frame.
        self._first = -self._left
        self._x = np.zeros(self._left * FRAME_SAMPLES, np.float32)
        self._f0 = np.zeros(self._left)
        self._random = np.random.default_rng(0)
        self._noise = np.zeros((0, NOISE_CHANNELS), np.float32)
        self._last_gain = 0.0

    def _work(self, x: F32) -> F32:
        """Take samples at 16 kHz, return converted ones at the network's rate."""
        self._x = np.concatenate([self._x, x])
        blocks: list[F32] = []
        while True:
            end = (self._next + self._layout.block + self._layout.right - self._first) * FRAME_SAMPLES
            if len(self._x) < end + TAIL_SAMPLES:
                break
            blocks.append(self._block(self._x[: end + TAIL_SAMPLES]))
            self._next += self._layout.block
            drop = self._next - self._left - self._first
            self._x = self._x[drop * FRAME_SAMPLES :]
            self._f0 = self._f0[drop:]
            self._noise = self._noise[drop:]
            self._first += drop
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def _block(self, heard: F32) -> F32:
        """Convert the next block; `heard` ends where its right context does."""
        layout = self._layout
        end = len(heard) // FRAME_SAMPLES
        start = end - layout.right - layout.block
        sound = self._above_threshold(heard)
        f0_hz = self._measure_f0(sound, start, end)
        gains = self._gains(heard, start, f0_hz)
        previous_gain, self._last_gain = self._last_gain, float(gains[-1])
        if not gains.any() and previous_gain == 0.0:
            self._joiner.reset()
            return np.zeros(layout.block * self._net.hop_samples, np.float32)
        begun_s = time.perf_counter()
        made = self._synthesise(sound, start, end)
        self._busy_s += time.perf_counter() - begun_s
        self._made_s += layout.block * FRAME_MS / 1000
        made = self._with_loudness(made, heard, start)
        before, after = self._joiner.needed
        hop = self._net.hop_samples
        at = layout.context * hop
        joined = self._joiner.push(made[at - before : at + layout.block * hop + after])
        ramp_at = np.arange(len(joined)) * (2 / hop)
        ramp = np.interp(ramp_at, np.arange(len(gains) + 1), np.concatenate([[previous_gain], gains]))
        return _limited(joined * ramp.astype(np.float32))

    def _above_threshold(self, heard: F32) -> F32:
        """The sound with silence where it is quieter than the threshold (RVC's "response threshold")."""
        quiet = 20 * np.log10(_loudness(heard, len(heard) // FRAME_SAMPLES) + 1e-9) < self._set.threshold_db
        mask = np.repeat(~quiet, FRAME_SAMPLES)
        return heard * np.pad(mask, (0, len(heard) - len(mask)), mode="edge")

    def _measure_f0(self, sound: F32, start: int, end: int) -> F64:
        """F0 of the block's frames; all that is known goes into `self._f0`."""
        first = start - F0_CONTEXT
        if self._net.has_f0 or self._with_gate:
            found = self._track(sound[first * FRAME_SAMPLES : end * FRAME_SAMPLES], end - first)
        else:
            found = np.zeros(end - first)
        again = start - F0_AGAIN
        self._f0 = np.concatenate([self._f0[:again], found[again - first :]])
        block = self._f0[start : start + self._layout.block]
        self._log_f0.add(np.log(block[block > 0])[:, None])
        return np.asarray(block)

    def _gains(self, heard: F32, start: int, f0_hz: F64) -> F64:
        """Gain of each 5 ms of the block."""
        count = 2 * self._layout.block
        if not self._with_gate:
            return np.ones(count)
        half = FRAME_SAMPLES // 2
        first = (2 * start - 1) * half
        part = np.diff(heard[first - 1 : first + (count + LOOKAHEAD_FRAMES + 1) * half]) * 4.0  # rumble does not count
        power = (part.reshape(-1, half).astype(np.float64) ** 2).mean(axis=1)
        level_db = 10 * np.log10((power[:-1] + power[1:]) / 2 + 1e-12)
        return self._gate.gains(level_db, np.repeat(f0_hz, 2))

    def _synthesise(self, sound: F32, start: int, end: int) -> F32:
        """The synthesizer's window, (window * hop,) samples, from the sound that ends at frame `end`."""
        layout, net = self._layout, self._net
        first = start - layout.context
        features, plain = self._features(sound, end)
        f0_hz = self._f0[first:end] * self._transposition()
        if self._set.protect < 0.5 and net.has_f0:
            share = np.where(f0_hz > 0, 1.0, self._set.protect)[:, None].astype(np.float32)
            features = features * share + plain * (1 - share)
        missing = end - len(self._noise)
        if missing > 0:
            self._noise = np.concatenate(
                [self._noise, self._random.standard_normal((missing, NOISE_CHANNELS), np.float32)]
            )
        noise = self._noise[first:end]
        frames = net.fixed_frames or round(layout.window * self._stretch)
        if frames != layout.window:
            at = np.minimum((np.arange(frames) / self._stretch).astype(np.intp), layout.window - 1)
            features, f0_hz, noise = features[at], f0_hz[at], noise[at]
        made = net.run(features, f0_hz.astype(np.float32), np.ascontiguousarray(noise.T), self._set.speaker_id)
        if self._stretch != 1.0:
            made = soxr.resample(made, net.sample_rate_hz * self._stretch, net.sample_rate_hz)
        wanted = layout.window * net.hop_samples
        return made[:wanted] if len(made) >= wanted else np.pad(made, (0, wanted - len(made)))

    def _features(self, sound: F32, end: int) -> tuple[F32, F32]:
        """Features of the window's frames (window, channels), with the index's share and without."""
        layout, content = self._layout, self._content
        if content.fixed_samples is None:
            first = end - layout.right - layout.block - layout.extra
            heard = sound[first * FRAME_SAMPLES : end * FRAME_SAMPLES + content.tail_samples]
        else:
            first = (end * FRAME_SAMPLES + TAIL_SAMPLES - content.fixed_samples) // CONTENT_HOP * 2
            if first < 0:
                sound, first, end = np.pad(sound, (-first * FRAME_SAMPLES, 0)), 0, end - first
            heard = sound[first * FRAME_SAMPLES :][: content.fixed_samples]
        found = content.run(heard)
        # An encoder that gives one frame less than there is sound: the last one stands for it.
        found = np.pad(found, ((0, max(0, (end - first) // 2 - len(found))), (0, 0)), mode="edge")
        found = found[: (end - first) // 2][-(layout.window // 2 + 1) :]
        plain = self._spread(found)
        if self._index is None:
            return plain, plain
        rate = np.float32(self._set.index_rate)
        return self._spread(self._index.retrieve(found) * rate + found * (1 - rate)), plain

    def _spread(self, content: F32) -> F32:
        """Content frames, the last of which ends the window, as the window's frames of half the length."""
        wanted = self._layout.window
        spread = np.repeat(content, 2, axis=0)[-wanted:]
        return np.pad(spread, ((wanted - len(spread), 0), (0, 0)), mode="edge")

    def _transposition(self) -> float:
        """Factor from the actor's F0 to the one that the network is given; stretching does the rest."""
        shift = self._pitch * math.log(2) / 12
        if self._set.proposed_pitch_hz:
            shift += math.log(self._set.proposed_pitch_hz) - float(self._log_f0.mean[0])
        return math.exp(shift) / self._stretch

    def _with_loudness(self, made: F32, heard: F32, start: int) -> F32:
        """The window's sound with the microphone's loudness mixed in (RVC's `rms_mix_rate`)."""
        rate = self._set.rms_mix_rate
        if rate == 1.0:
            return made
        layout, hop = self._layout, self._net.hop_samples
        first = start - layout.context
        wanted = _loudness(heard, len(heard) // FRAME_SAMPLES)[first : first + layout.window]
        found = np.maximum(_loudness(made, layout.window, hop), 1e-3)
        gain = np.minimum((wanted / found) ** (1 - rate), 30.0)
        at = (np.arange(len(made)) + 0.5) / hop - 0.5
        return np.asarray(made * np.interp(at, np.arange(layout.window), gain), np.float32)


def _loudness(sound: F32, frames: int, hop: int = FRAME_SAMPLES) -> F64:
    """Root mean square (frames,) of 40 to 50 ms around the middle of each frame."""
    power = (sound[: frames * hop].astype(np.float64).reshape(frames, hop) ** 2).mean(axis=1)
    padded = np.pad(power, RMS_HALF, mode="edge")
    return np.sqrt(np.convolve(padded, np.full(2 * RMS_HALF + 1, 1 / (2 * RMS_HALF + 1)), "valid"))


def _limited(x: F32) -> F32:
    """Bend what is above LIMIT_KNEE so that it stays below full scale."""
    over = np.maximum(np.abs(x) - LIMIT_KNEE, 0.0) / (1.0 - LIMIT_KNEE)
    bent = np.sign(x) * (LIMIT_KNEE + (1.0 - LIMIT_KNEE) * np.tanh(over))
    return np.asarray(np.where(over > 0, bent, x), np.float32)

"""Training the decoder on one voice: crops of the recordings, AdamW, a cosine schedule, averaged weights.

What is learnt is the voice's envelope (`timbre`), so that the recordings are met (`losses`) and the speaker encoder
recognises the person (`likeness`), in what is made from their own recordings and in what other people said.

The time that is left decides the schedule, not a number of steps, so that a slow machine finishes too. Every half
minute all that is needed to go on is written to a checkpoint.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from obs_twin.voice.enrol.features import FeatureRow
from obs_twin.voice.enrol.likeness import Likeness
from obs_twin.voice.enrol.losses import MelDistance
from obs_twin.voice.enrol.material import Material
from obs_twin.voice.enrol.network import (
    HOP,
    N_FFT,
    Decoder,
    excite,
    load_weights,
    pulse_spectra,
    random_phases,
    to_sound,
)
from obs_twin.voice.enrol.timbre import Timbre
from obs_twin.voice.enrol.weights import Weights
from obs_twin.voice.model import F32, VoiceModelError

WARM_UP_STEPS = 20
CHECKPOINT_EVERY_S = 30.0
LONGEST_STEP_S = 20.0
AVERAGED_SHARE = 0.05
"""Of all steps so far, the last that the weights are averaged over; more would lag behind what is learnt."""
CLIP = 5.0


STEPS_PER_SPEECH_S, LEAST_STEPS = 8.0, 300


def steps_for(speech_s: float) -> int:
    """Steps that so many seconds of speech are good for. With more they are learnt by heart: the voice gets hoarse with
    what others say."""
    return max(LEAST_STEPS, round(STEPS_PER_SPEECH_S * speech_s))


@dataclass(frozen=True)
class Plan:
    """How to train.

    seconds: time to train for, in all sessions together.
    steps: the end if it comes sooner than the time.
    threads: processor threads.
    batch, others: crops of the recordings, and of other people's speech, in a step.
    crop_frames: their length; 128 are the 1.6 s that the speaker encoder is used to.
    altered_share, others_altered: of the crops of the recordings, and of other people's speech, how many are heard
        through an altered version.
    likeness, calm, rest: weights, beside the distance of spectra, of the speaker encoder's opinion, of the learnt
        envelope staying calm from step to step, and of not raising the rest.
    """

    seconds: float
    steps: int | None = None
    threads: int = 2
    batch: int = 4
    others: int = 4
    crop_frames: int = 128
    learning_rate: float = 3e-3
    lowest_rate: float = 0.02
    weight_decay: float = 0.01
    altered_share: float = 0.4
    others_altered: float = 0.8
    likeness: float = 16.0
    calm: float = 4.0
    rest: float = 256.0
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """Where the training stands. `loss` is a running mean, in no unit; the smaller, the closer."""

    step: int
    done_s: float
    left_s: float
    loss: float


@dataclass(frozen=True)
class Trained:
    """What came out. `first_loss` is of the first steps, before anything was learnt."""

    weights: dict[str, F32]
    steps: int
    seconds: float
    first_loss: float
    last_loss: float


class Trainer:
    """One training. `run` may be interrupted (KeyboardInterrupt) and taken up again from its checkpoint.

    Args:
        base: weights of the untrained decoder.
        material: the person's speech.
        others: what other people said, their pitch already in the person's range; its sound is not used. May be empty.
        likeness: knows the person.
    """

    def __init__(
        self,
        base: Weights,
        material: Sequence[Material],
        others: Sequence[Material],
        likeness: Likeness,
        plan: Plan,
        *,
        checkpoint: Path | None = None,
    ) -> None:
        if not material:
            raise VoiceModelError("there is nothing to train on")
        torch.set_num_threads(plan.threads)
        self._plan = plan
        self._base = base
        self._checkpoint = checkpoint
        self._random = np.random.default_rng(plan.seed)
        self._noise = torch.Generator().manual_seed(plan.seed)
        self._distance = MelDistance()
        self._likeness = likeness
        self._window = torch.hann_window(N_FFT)
        self._decoder = Decoder().requires_grad_(False)
        load_weights(self._decoder, base)
        self._own = FeatureRow.of(material, self._decoder)
        self._others = FeatureRow.of(others, self._decoder) if others else None
        self._model = Timbre()
        self._average = copy.deepcopy(self._model)
        self._optimiser = torch.optim.AdamW(
            self._model.parameters(), lr=plan.learning_rate, betas=(0.8, 0.98), weight_decay=plan.weight_decay
        )
        self._step = 0
        self._done_s = 0.0
        self._losses: list[float] = []
        # Of the recordings, and of what the adapter and the decoder make of them.
        sums = [float(part.double().sum()) for part in (self._own.sound, self._own.versions[0])]
        self._fingerprint = f"timbre2:{len(self._own.f0_hz)}:{sums[0]:.4f}:{sums[1]:.1f}"

    def run(self, report: Callable[[Progress], None] | None = None) -> Trained:
        """Train until the plan is fulfilled.

        Raises:
            VoiceModelError: the training diverged.
        """
        self._resume()
        try:
            return self._run(report)
        except KeyboardInterrupt:
            self._save()
            raise

    def _run(self, report: Callable[[Progress], None] | None) -> Trained:
        saved_s = self._done_s
        before = time.perf_counter()
        while not self._finished():
            loss = self._learn()
            if not math.isfinite(loss):
                raise VoiceModelError("the training has diverged: the loss is not a number")
            now = time.perf_counter()
            self._done_s += min(now - before, LONGEST_STEP_S)  # a computer that slept did not train
            before = now
            self._losses.append(loss)
            if self._done_s - saved_s > CHECKPOINT_EVERY_S:
                self._save()
                saved_s = self._done_s
            if report is not None:
                recent = float(np.mean(self._losses[-30:]))
                report(Progress(self._step, self._done_s, self._left_s(), recent))
        self._save()
        first, last = self._losses[:10], self._losses[-30:]
        weights = self._average.into(self._base)
        return Trained(weights, self._step, self._done_s, float(np.mean(first)), float(np.mean(last)))

    def _learn(self) -> float:
        plan = self._plan
        rate = plan.learning_rate * self._rate()
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        features, f0_hz, recording = self._batch()
        added = self._model(features)
        made = self._render(features, f0_hz, added)
        own = len(recording)
        alike = self._likeness(made)
        loss = self._distance(made[:own], recording) + plan.likeness * (1 - alike[:own].mean())
        if own < len(made):
            loss = loss + plan.likeness * (1 - alike[own:].mean())
        for envelope in added.unbind(1):
            loss = loss + plan.calm * (envelope[..., 1:] - envelope[..., :-1]).abs().mean()
        loss = loss + plan.rest * self._model.raised(added)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), CLIP)
        self._optimiser.step()
        self._step += 1
        decay = 1 - 1 / (1 + AVERAGED_SHARE * self._step)
        with torch.no_grad():
            for mean, value in zip(self._average.parameters(), self._model.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return float(loss.detach())

    def _render(self, features: Tensor, f0_hz: Tensor, added: Tensor) -> Tensor:
        """Sound (B, F * HOP)."""
        parts = self._model.colour(self._decoder.parts(features), added)
        spectrum, noise = excite(parts, pulse_spectra(f0_hz, self._window, self._noise))
        return to_sound(spectrum + noise * random_phases(noise, self._noise), self._window)

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Crops, features (B + O, F, 256), F0 (B + O, F) of the recordings and of others, sound (B, F * HOP)."""
        plan = self._plan
        heard = [self._own] * plan.batch + ([self._others] * plan.others if self._others else [])
        frames = min(plan.crop_frames, *(len(one.f0_hz) for one in heard))
        features, f0_hz, sounds = [], [], []
        for one in heard:
            start = int(self._random.integers(0, len(one.f0_hz) - frames + 1))
            share = plan.altered_share if one is self._own else plan.others_altered
            altered = len(one.versions) > 1 and self._random.random() < share
            version = one.versions[int(self._random.integers(1, len(one.versions))) if altered else 0]
            features.append(version[start : start + frames].float())
            f0_hz.append(one.f0_hz[start : start + frames])
            if one is self._own:
                sounds.append(one.sound[start * HOP : (start + frames) * HOP])
        return torch.stack(features), torch.stack(f0_hz), torch.stack(sounds)

    def _fraction(self) -> float:
        by_time = self._done_s / self._plan.seconds
        return by_time if self._plan.steps is None else max(by_time, self._step / self._plan.steps)

    def _rate(self) -> float:
        """The learning rate's share now: a short warm-up, then half a cosine."""
        low = self._plan.lowest_rate
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self._fraction())))
        return min(1.0, (self._step + 1) / WARM_UP_STEPS) * (low + (1 - low) * cosine)

    def _left_s(self) -> float:
        fraction = self._fraction()
        return max(0.0, self._done_s * (1 / fraction - 1)) if fraction > 0 else self._plan.seconds

    def _finished(self) -> bool:
        return self._fraction() >= 1

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        state = {
            "fingerprint": self._fingerprint,
            "step": self._step,
            "done_s": self._done_s,
            "losses": self._losses,
            "model": self._model.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }
        part = self._checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self._checkpoint)

    def _resume(self) -> None:
        """Take up the checkpoint, if it is one of the same recordings; any other is left aside."""
        if self._checkpoint is None or not self._checkpoint.is_file():
            return
        try:
            state: dict[str, Any] = torch.load(self._checkpoint, weights_only=True)
        except Exception:  # half-written or foreign: begin anew
            return
        if state.get("fingerprint") != self._fingerprint:
            return
        self._model.load_state_dict(state["model"])
        self._average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._step, self._done_s, self._losses = state["step"], state["done_s"], state["losses"]
        self._random = np.random.default_rng((self._plan.seed, self._step))
        self._noise.manual_seed(self._plan.seed + self._step)

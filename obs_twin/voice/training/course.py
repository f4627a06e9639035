"""One run of training: what is learnt in which order, checkpoints, figures, and the two files that come of it."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from obs_twin.voice.training.batches import ROW_FRAMES, SHARES, Corpus, Rows
from obs_twin.voice.training.export import export, read_back
from obs_twin.voice.training.hearing import Blocks, Hearing, Pupils, read_changes, write_changes
from obs_twin.voice.training.network import Adapter, Outputs, Targets, losses
from obs_twin.voice.training.views import TOKENS_PER_FRAME, at_frames, shown, targets_of_blocks
from obs_twin.zoo.store import ModelStore
from obs_twin.zoo.whisper_encoder_onnx import WEIGHTS, encoder_weights

ADAPTER_FILE, HEARING_FILE = "voice_adapter.onnx", "voice_hearing.npz"
WARMUP_STEPS = 100
EMA_DECAY = 0.998
FLOOR = 0.02  # of the learning rate, at the end
CHECKPOINT_S = 120.0
EXPORT_S = 600.0
REPORT_STEPS = 50
EVALUATE_STEPS = 500
EVALUATION_ROWS = 40
FIGURES = ("r2", "phone_accuracy")
WHOLE = Blocks(ROW_FRAMES, 0)
WHOLE_ROWS = 6  # for each one that would be heard as a stream: they are cheaper
STREAMS = tuple(Blocks(*frames) for frames in ((4, 9), (4, 3), (4, 6), (8, 12), (12, 14), (20, 26), (60, 80)))
STREAMS_SHARE = (0.5, 0.08, 0.1, 0.1, 0.08, 0.08, 0.06)
"""How the rows are heard. See `obs_twin.voice.plan`."""
LIVE = STREAMS[0]
PHONES_STEPS, PHONES_RATE = 150, 0.01
"""For the phones' layer alone, when published files learn on."""
LIKE_WHOLE = 0.4
"""What it counts that the stream is heard like the whole row."""


@dataclass(frozen=True)
class Plan:
    """What is trained for how long: `whole_steps` on whole rows, `steps` in all."""

    whole_steps: int
    steps: int
    rows: int
    whole_rate: float
    adapter_rate: float
    hearing_rate: float
    seed: int
    bfloat16: bool
    device: str

    def rates(self, step: int) -> tuple[float, float]:
        """Learning rates of the adapter and of the encoder's changes: in both parts a rise, then half a cosine."""
        if step < self.whole_steps:
            return self.whole_rate * _swell(step, self.whole_steps), 0.0
        swell = _swell(step - self.whole_steps, self.steps - self.whole_steps)
        return self.adapter_rate * swell, self.hearing_rate * swell


def _swell(step: int, steps: int) -> float:
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
    return min(1.0, (step + 1) / WARMUP_STEPS) * (FLOOR + (1 - FLOOR) * fall)


def decoder_view(decoder: Path, sample: torch.Tensor) -> torch.Tensor:
    """(128, 256) what the decoder's first convolution sees of a constant latent, scaled to deviation 1 on `sample`
    (N, 128)."""
    weights = {tensor.name: tensor for tensor in onnx.load(str(decoder)).graph.initializer}
    kernel = torch.from_numpy(numpy_helper.to_array(weights["m.dec_in.weight"]).copy())  # (256, 130, 7)
    view = kernel[:, : sample.shape[1]].sum(-1).T
    return view / ((sample @ view).std(0) + 1e-3)


class Training:
    """The state of one training run; `run()` carries it to the plan's last step."""

    def __init__(self, plan: Plan, work: Path, published: Path | None = None) -> None:
        """`published`: a folder for the unfinished files, every ten minutes, for trying out."""
        torch.manual_seed(plan.seed)
        self.plan, self._work, self._published = plan, work, published
        self._rng = np.random.default_rng((plan.seed, 1))
        self._corpus = Corpus(work / "data", np.random.default_rng(plan.seed))
        self._device = torch.device(plan.device)
        adapter = Adapter()
        mean, sd = self._corpus.statistics()
        adapter.latent_mean.copy_(mean)
        adapter.latent_sd.copy_(sd)
        store = ModelStore()
        weights = encoder_weights({name: store.path(name) for name in WEIGHTS})
        kind = torch.bfloat16 if plan.bfloat16 else torch.float32
        self._pupils = Pupils(Hearing(weights, kind=kind), adapter).to(self._device)
        self.average = copy.deepcopy(self._pupils)
        sample = self._corpus.batch(32, WHOLE).targets
        view = decoder_view(work / "networks" / "hibari_decoder.onnx", sample.latent[sample.weight > 0])
        self._view = view.to(self._device)
        parts = (self._pupils.adapter.parameters(), self._pupils.hearing.parameters())
        self._optimizer = torch.optim.AdamW(
            [{"params": part, "weight_decay": decay} for part, decay in zip(parts, (0.02, 0.0), strict=True)],
            betas=(0.9, 0.98),
        )
        self._step = 0
        self._seconds = 0.0
        self._checkpoint = work / "checkpoint.pt"
        if self._checkpoint.is_file():
            self._resume()

    def learn_on(self, folder: Path) -> None:
        """Begin with the two files in `folder`, unless this run has begun already.

        Raises:
            ValueError: they are of other networks.
            OSError: they cannot be read.
        """
        if self._step:
            return
        read_back(folder / ADAPTER_FILE, self._pupils.adapter)
        read_changes(self._pupils.hearing, folder / HEARING_FILE)
        self._learn_phones()
        self.average.load_state_dict(self._pupils.state_dict())

    def _learn_phones(self) -> None:
        """Teach the phones' layer alone, which is not in the files: by it the sounds in recordings are found."""
        layer = self._pupils.adapter.phone
        optimizer = torch.optim.Adam(layer.parameters(), lr=PHONES_RATE)
        for step in range(PHONES_STEPS):
            optimizer.param_groups[0]["lr"] = PHONES_RATE * (1 - step / PHONES_STEPS)
            rows = self._corpus.batch(self.plan.rows, LIVE)
            count = rows.mel.shape[1]
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.plan.bfloat16):
                with torch.no_grad():
                    features = self._pupils.hearing(rows.mel.to(self._device), rows.places.to(self._device), LIVE)
                parts = self._losses(self._pupils, features, targets_of_blocks(rows.targets, count, LIVE), LIVE)
            weights = list(layer.parameters())
            for weight, gradient in zip(weights, torch.autograd.grad(parts["phone"], weights), strict=True):
                weight.grad = gradient
            optimizer.step()
        optimizer.zero_grad()

    def run(self, until: int | None = None) -> None:
        """Train to the plan's last step, or until this one."""
        until = self.plan.steps if until is None else until
        began = saved = published = time.monotonic()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        before_s = self._seconds
        while self._step < until:
            for name, value in self._advance().items():
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + 1
            now = time.monotonic()
            self._seconds = before_s + now - began
            if self._step % REPORT_STEPS == 0:
                self._report({name: value / counts[name] for name, value in sums.items()})
                sums, counts = {}, {}
                self._corpus.refresh()
            if now - saved > CHECKPOINT_S:
                self._save()
                saved = now
            if self._published is not None and now - published > EXPORT_S:
                self.write(self._published)
                published = now
        self._save()

    def _advance(self) -> dict[str, float]:
        plan = self.plan
        for group, rate in zip(self._optimizer.param_groups, plan.rates(self._step), strict=True):
            group["lr"] = rate
        whole = self._step < plan.whole_steps
        blocks = WHOLE if whole else STREAMS[self._rng.choice(len(STREAMS), p=STREAMS_SHARE)]
        rows = self._corpus.batch(plan.rows * (WHOLE_ROWS if whole else 1), blocks)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=plan.bfloat16):
            parts = self._losses_of_whole(rows) if whole else self._losses_of_stream(rows, blocks)
        loss = torch.stack([part for name, part in parts.items() if name not in FIGURES]).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for pupil in (self._pupils.adapter, self._pupils.hearing):
            torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        self._optimizer.step()
        self._step += 1
        decay = min(EMA_DECAY, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self._pupils.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        live = {} if whole or blocks != LIVE else {f"live_{name}": parts[name] for name in FIGURES}
        return {name: float(part.detach()) for name, part in (parts | live).items()}

    def _losses_of_whole(self, rows: Rows) -> dict[str, Tensor]:
        with torch.no_grad():
            features = self._heard_whole(self._pupils, rows)
        return self._losses(self._pupils, features, rows.targets, WHOLE)

    def _losses_of_stream(self, rows: Rows, blocks: Blocks) -> dict[str, Tensor]:
        pupils, count = self._pupils, rows.mel.shape[1]
        features = pupils.hearing(rows.mel.to(self._device), rows.places.to(self._device), blocks)
        with torch.no_grad():
            whole = self._heard_whole(pupils, rows)[:, 0, : count * blocks.middle]
        live = features[:, :, : blocks.middle].flatten(1, 2)
        parts = self._losses(pupils, features, targets_of_blocks(rows.targets, count, blocks), blocks)
        return parts | {"like_whole": LIKE_WHOLE * _unlikeness(live, whole, rows.targets.weight)}

    def _heard_whole(self, pupils: Pupils, rows: Rows) -> Tensor:
        """(B, 1, n, 1024) what Whisper itself hears in the rows."""
        mel, places = rows.whole_mel.to(self._device), rows.places.to(self._device)
        tokens: Tensor = pupils.hearing(mel, places, Blocks(rows.targets.weight.shape[1], 0), changed=False)
        return tokens

    def _losses(self, pupils: Pupils, features: Tensor, targets: Targets, blocks: Blocks) -> dict[str, Tensor]:
        """Of `features` (B, blocks, tokens, 1024) and `targets` (B * blocks, frames, ...)."""
        seen = shown(features, targets.weight.shape[1])
        if pupils.training:
            seen = seen * (1 + 0.05 * torch.randn(len(seen), 1, 1, seen.shape[-1], device=self._device))
        outputs = Outputs(*(output.float() for output in pupils.adapter(seen, blocks.frames)))
        on_device = Targets(*(target.to(self._device) for target in targets))
        return losses(outputs, on_device, pupils.adapter, self._view)

    def evaluate(self, kind: str, limit: int = EVALUATION_ROWS) -> dict[str, float]:
        """The losses and figures of the averaged weights on held-out rows of one kind, heard live."""
        sums: dict[str, float] = {}
        frames = 0.0
        for features, targets in self._held_out(kind, limit):
            weight = float(targets.weight.sum())
            for name, part in self._losses(self.average, features, targets, LIVE).items():
                sums[name] = sums.get(name, 0.0) + float(part) * weight
            frames += weight
        return {name: round(value / frames, 4) for name, value in sums.items()} if frames else {}

    def _held_out(self, kind: str, limit: int) -> Iterator[tuple[Tensor, Targets]]:
        """What is heard live of held-out rows (1, blocks, tokens, 1024), and what is said in the blocks."""
        self.average.eval()
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=self.plan.bfloat16):
            for rows in self._corpus.evaluation(kind, limit, LIVE):
                features = self.average.hearing(rows.mel.to(self._device), rows.places.to(self._device), LIVE)
                said = targets_of_blocks(rows.targets, rows.mel.shape[1], LIVE, live_only=True)
                if said.weight.any():
                    yield features, said

    def sharpened(self) -> tuple[Adapter, float]:
        """A copy of the averaged adapter whose latents vary as much as true ones do, and the factor it took.

        Where an adapter is in doubt its answer lies nearer the mean than any sound does. The factor is measured on
        held-out speech, away from the mean, in frames that are speech.
        """
        true, found = 0.0, 0.0
        adapter = self.average.adapter
        for kind in SHARES:
            for features, targets in self._held_out(kind, EVALUATION_ROWS):
                spoken = (targets.speech * targets.weight).to(self._device) > 0
                mean = adapter.latent_mean
                true += float((targets.latent.to(self._device)[spoken] - mean).square().sum())
                latent = adapter(shown(features, targets.weight.shape[1]), LIVE.frames).latent.float()
                found += float((latent[spoken] - mean).square().sum())
        factor = math.sqrt(true / found) if found else 1.0
        sharp = copy.deepcopy(adapter).cpu()
        sharp.latent_sd.mul_(factor)
        return sharp, factor

    def write(self, folder: Path) -> dict[str, float]:
        """Write both files to `folder`; returns the factor of sharpening, and how alike the adapter is in ONNX."""
        sharp, factor = self.sharpened()
        folder.mkdir(parents=True, exist_ok=True)
        likeness = export(sharp, folder / ADAPTER_FILE, factor)
        write_changes(self.average.hearing, folder / HEARING_FILE)
        return {"sharpened": round(factor, 4), "alike in ONNX": round(likeness, 4)}

    def _report(self, means: dict[str, float]) -> None:
        entry: dict[str, object] = {
            "step": self._step,
            "seconds": round(self._seconds),
            "hours": round(self._corpus.hours, 2),
            "train": {name: round(value, 4) for name, value in means.items()},
        }
        if self._step % EVALUATE_STEPS == 0 or self._step == self.plan.steps:
            entry |= {kind: self.evaluate(kind) for kind in SHARES}
        line = json.dumps(entry)
        print(line, flush=True)
        with (self._work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _save(self) -> None:
        part = self._checkpoint.with_suffix(".part")
        state = {
            "pupils": self._pupils.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "seconds": self._seconds,
        }
        torch.save(state, part)
        part.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._device, weights_only=True)
        self._pupils.load_state_dict(state["pupils"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds = state["step"], state["seconds"]
        # Another order than the one already seen.
        self._corpus = Corpus(self._work / "data", np.random.default_rng((self.plan.seed, self._step)))


def _unlikeness(live: Tensor, whole: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference of what is heard live and whole (B, n, 1024), each tap normalised, where `weight`
    (B, frames) says that there is something."""
    there = at_frames(
        weight.to(live.device)[..., None], 0.5 / TOKENS_PER_FRAME - 0.5, live.shape[1], 1 / TOKENS_PER_FRAME
    )[..., 0]
    size = live.shape[-1] // 2
    taps = [
        (F.layer_norm(live[..., part], (size,)) - F.layer_norm(whole[..., part], (size,))).square().mean(-1)
        for part in (slice(0, size), slice(size, None))
    ]
    return ((taps[0] + taps[1]) * there).sum() / there.sum().clamp(min=1)

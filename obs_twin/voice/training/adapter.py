"""Train the voice adapter, from text to `models/voice_adapter.onnx`. Stopped at any time, it goes on where it was.

    python -m obs_twin.voice.training.adapter --out models/voice_adapter.onnx --work FOLDER

Every loss, and the figures on sentences and voices that were kept out, go to FOLDER/log.jsonl.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from obs_twin.voice.training.batches import Corpus
from obs_twin.voice.training.dataset import add_arguments, make_shards
from obs_twin.voice.training.export import export
from obs_twin.voice.training.network import Adapter, Targets, losses

WARMUP_STEPS = 150
EMA_DECAY = 0.999
FLOOR = 0.02  # of the learning rate, at the end
CHECKPOINT_S = 120.0
EXPORT_S = 600.0
REPORT_STEPS = 100
EVALUATE_STEPS = 1000
EVALUATION_WINDOWS = 80
KINDS = ("hibari", "kokoro")
FIGURES = ("r2", "phone_accuracy")


@dataclass(frozen=True)
class Plan:
    """What is trained for how long."""

    steps: int
    batch: int
    learning_rate: float
    seed: int
    bfloat16: bool
    device: str

    def rate(self, step: int) -> float:
        """Learning rate: a short rise, then half a cosine."""
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))
        return self.learning_rate * min(1.0, (step + 1) / WARMUP_STEPS) * (FLOOR + (1 - FLOOR) * fall)


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
        """`published`: where unfinished adapters are put every ten minutes, for trying out."""
        torch.manual_seed(plan.seed)
        self.plan, self._work, self._published = plan, work, published
        self._corpus = Corpus(work / "data", np.random.default_rng(plan.seed))
        self._device = torch.device(plan.device)
        adapter = Adapter()
        mean, sd = self._corpus.statistics()
        adapter.latent_mean.copy_(mean)
        adapter.latent_sd.copy_(sd)
        self._adapter = adapter.to(self._device)
        self.average = copy.deepcopy(self._adapter)
        sample = self._corpus.batch(64)[1]
        view = decoder_view(work / "networks" / "hibari_decoder.onnx", sample.latent[sample.weight > 0])
        self._view = view.to(self._device)
        self._optimizer = torch.optim.AdamW(
            self._adapter.parameters(), lr=plan.learning_rate, weight_decay=0.02, betas=(0.9, 0.98)
        )
        self._step = 0
        self._seconds = 0.0
        self._checkpoint = work / "checkpoint.pt"
        if self._checkpoint.is_file():
            self._resume()

    def run(self) -> None:
        began = saved = published = time.monotonic()
        sums: dict[str, float] = {}
        summed = 0
        before_s = self._seconds
        while self._step < self.plan.steps:
            for name, value in self._advance().items():
                sums[name] = sums.get(name, 0.0) + value
            summed += 1
            now = time.monotonic()
            self._seconds = before_s + now - began
            if self._step % REPORT_STEPS == 0:
                self._report({name: value / summed for name, value in sums.items()})
                sums, summed = {}, 0
                self._corpus.refresh()
            if now - saved > CHECKPOINT_S:
                self._save()
                saved = now
            if self._published is not None and now - published > EXPORT_S:
                export(self.sharpened()[0], self._published)
                published = now
        self._save()

    def _advance(self) -> dict[str, float]:
        plan = self.plan
        for group in self._optimizer.param_groups:
            group["lr"] = plan.rate(self._step)
        features, targets = self._corpus.batch(plan.batch)
        features = features.to(self._device)
        targets = Targets(*(target.to(self._device) for target in targets))
        features = features * (1 + 0.05 * torch.randn(plan.batch, 1, features.shape[-1], device=self._device))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=plan.bfloat16):
            outputs = self._adapter(features)
        outputs = type(outputs)(*(output.float() for output in outputs))
        parts = losses(outputs, targets, self._adapter, self._view)
        loss = torch.stack([part for name, part in parts.items() if name not in FIGURES]).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._adapter.parameters(), 1.0)
        self._optimizer.step()
        self._step += 1
        decay = min(EMA_DECAY, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self._adapter.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return {name: float(part.detach()) for name, part in parts.items()}

    def evaluate(self, kind: str, limit: int = EVALUATION_WINDOWS) -> dict[str, float]:
        """The losses and figures of the averaged weights on held-out windows of "hibari" or "kokoro" speech."""
        self.average.eval()
        sums: dict[str, float] = {}
        frames = 0
        with torch.no_grad():
            for features, targets in self._corpus.evaluation(kind, limit):
                outputs = self.average(features.to(self._device))
                on_device = Targets(*(target.to(self._device) for target in targets))
                for name, part in losses(outputs, on_device, self.average, self._view).items():
                    sums[name] = sums.get(name, 0.0) + float(part) * features.shape[1]
                frames += features.shape[1]
        return {name: round(value / frames, 4) for name, value in sums.items()}

    def sharpened(self) -> tuple[Adapter, float]:
        """A copy of the averaged adapter whose latents vary as much as true ones do, and the factor it took.

        Where an adapter is in doubt its answer lies nearer the mean than any sound does. The factor is measured on
        held-out speech, away from the mean, in frames that are speech.
        """
        self.average.eval()
        true, found = 0.0, 0.0
        with torch.no_grad():
            for kind in KINDS:
                for features, targets in self._corpus.evaluation(kind, EVALUATION_WINDOWS):
                    spoken = targets.speech.to(self._device) > 0
                    mean = self.average.latent_mean
                    true += float((targets.latent.to(self._device)[spoken] - mean).square().sum())
                    found += float((self.average(features.to(self._device)).latent[spoken] - mean).square().sum())
        factor = math.sqrt(true / found) if found else 1.0
        sharp = copy.deepcopy(self.average).cpu()
        sharp.latent_sd.mul_(factor)
        return sharp, factor

    def _report(self, means: dict[str, float]) -> None:
        entry: dict[str, object] = {
            "step": self._step,
            "seconds": round(self._seconds),
            "hours": round(self._corpus.hours, 2),
            "train": {name: round(value, 4) for name, value in means.items()},
        }
        if self._step % EVALUATE_STEPS == 0 or self._step == self.plan.steps:
            entry |= {kind: self.evaluate(kind) for kind in KINDS}
        line = json.dumps(entry)
        print(line, flush=True)
        with (self._work / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _save(self) -> None:
        part = self._checkpoint.with_suffix(".part")
        state = {
            "adapter": self._adapter.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "seconds": self._seconds,
        }
        torch.save(state, part)
        part.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._device, weights_only=True)
        self._adapter.load_state_dict(state["adapter"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self._seconds = state["step"], state["seconds"]
        # Another order than the one already seen.
        self._corpus = Corpus(self._work / "data", np.random.default_rng((self.plan.seed, self._step)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--hibari-shards", type=int, default=56, help="of twenty minutes")
    parser.add_argument("--kokoro-shards", type=int, default=5, help="of five minutes")
    parser.add_argument("--steps", type=int, default=8_300)
    parser.add_argument("--batch", type=int, default=24, help="pieces of 2.4 s")
    parser.add_argument("--learning-rate", type=float, default=1.2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 (for processors without it)")
    parser.add_argument("--published", type=Path, help="also write the unfinished adapter here, every ten minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    make_shards(arguments, range(arguments.hibari_shards), with_kokoro=False)
    make_shards(arguments, range(arguments.kokoro_shards), with_kokoro=True)
    plan = Plan(
        arguments.steps,
        arguments.batch,
        arguments.learning_rate,
        arguments.seed,
        not arguments.float32,
        arguments.device,
    )
    training = Training(plan, arguments.work, arguments.published)
    training.run()
    figures = {kind: training.evaluate(kind, limit=10**9) for kind in KINDS}
    sharp, factor = training.sharpened()
    difference = export(sharp, arguments.out)
    print(json.dumps({"held out": figures, "sharpened": round(factor, 4), "difference in ONNX": difference}))


if __name__ == "__main__":
    main()

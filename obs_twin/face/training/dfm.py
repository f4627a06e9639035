"""Train a small face model and write it as `.dfm`:

    python -m obs_twin.face.training.dfm --src TARGET --dst ACTOR --minutes 15 --out model.dfm

`--src` is the person to be shown, `--dst` the person at the camera; each is a folder of pictures or a video. The result
goes into a twin pack with `obs-twin twin new NAME --dfm model.dfm`, which asks the person shown for their consent.

A few minutes on a processor give a small, soft face of one person in one light. A model for use takes hours on a
graphics card and DeepFaceLab; this one shows the whole way at a small size.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from obs_twin.face.dfm.align import FACE_TYPES
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.training.batches import Batch, Batches
from obs_twin.face.training.export import write_dfm
from obs_twin.face.training.faces import FaceSet, FaceSetError, extract, read_pictures
from obs_twin.face.training.nets import Saehd, dssim
from obs_twin.face.training.spec import FloatArray, SaehdSpec
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.store import ModelStore

SMALL = SaehdSpec(resolution=96, archi="df", opts="ud", ae_dims=64, e_dims=16, d_dims=16, d_mask_dims=8)
"""What a processor can train in a quarter of an hour."""

_FEATURES_COUNT = 3.0
_BACKGROUND_COUNTS = 0.1
_WARP_UNTIL = 0.8  # share of the time; the rest sharpens, as DeepFaceLab's users do by hand
_WARM_UP_STEPS = 50
_REPORT_EVERY_S = 30.0


@dataclass(frozen=True)
class Trained:
    """The outcome: the network, and the loss of every step (the mean of both faces')."""

    network: Saehd
    losses: list[float]
    seconds: float


def train(
    target: FaceSet,
    actor: FaceSet,
    spec: SaehdSpec = SMALL,
    *,
    seconds: float = 900.0,
    max_steps: int | None = None,
    batch: int = 4,
    rate: float = 1e-3,
    seed: int = 0,
    bf16: bool = False,
    report: Callable[[str], None] = lambda _line: None,
    preview: Callable[[Saehd, int], None] | None = None,
) -> Trained:
    """Train from nothing.

    Args:
        target, actor: the faces of who is shown and of who is at the camera.
        spec: the network's sizes.
        seconds: processor time to spend.
        max_steps: stop after so many steps at the latest.
        batch: faces of each person in one step.
        rate: the highest learning rate.
        seed: the same seed gives the same network, if `max_steps` ends it.
        bf16: multiply in half precision (bfloat16): half as long again in speed on processors that know it.
        report: gets a line now and then.
        preview: called with the network and the step after each line, to show or to keep it.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Saehd(spec)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.99))
    # The target's colours are varied, so that the network leaves the light to the colour transfer.
    sources = [Batches(faces, spec.resolution, rng, colour=True) for faces in (target, actor)]
    window = _window(spec.resolution)
    losses: list[float] = []
    start_s = time.process_time()
    reported_s = start_s
    while True:
        spent = time.process_time() - start_s
        done = max(spent / seconds, len(losses) / max_steps if max_steps else 0.0)
        if done >= 1.0:
            break
        # Warm up, then fall along a cosine.
        share = min(len(losses) / _WARM_UP_STEPS, 1.0) * (0.05 + 0.95 * (0.5 + 0.5 * np.cos(np.pi * done)))
        for group in optimiser.param_groups:
            group["lr"] = rate * float(share)
        warp = 1.0 if done < _WARP_UNTIL else 0.2
        batches = [source.next(batch, warp=warp) for source in sources]
        optimiser.zero_grad(set_to_none=True)
        loss = torch.zeros(())
        for draw, sample in zip((network.target, network.actor), batches, strict=True):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                face, mask = draw(torch.from_numpy(sample.warped))
            loss = loss + _loss(face.float(), mask.float(), sample, window)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()) / 2)
        now_s = time.process_time()
        if now_s - reported_s > _REPORT_EVERY_S:
            reported_s = now_s
            report(f"{now_s - start_s:6.0f} s  step {len(losses):6d}  loss {np.mean(losses[-100:]):.4f}")
            if preview is not None:
                preview(network, len(losses))
    return Trained(network, losses, time.process_time() - start_s)


def _window(resolution: int) -> Callable[[Tensor], Tensor]:
    """The local mean of SSIM: a Gaussian window of a twelfth of the picture, as DeepFaceLab's."""
    size = max(3, int(resolution / 11.6)) // 2 * 2 + 1
    kernel = torch.from_numpy(np.asarray(cv2.getGaussianKernel(size, 1.5 * size / 11), np.float32).ravel())

    def mean(x: Tensor) -> Tensor:
        channels = x.shape[1]
        across = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, size)
        down = kernel.view(1, 1, -1, 1).expand(channels, 1, size, 1)
        return F.conv2d(F.conv2d(x, across, groups=channels), down, groups=channels)

    return mean


def _loss(face: Tensor, drawn_mask: Tensor, batch: Batch, window: Callable[[Tensor], Tensor]) -> Tensor:
    """Structure (DSSIM) and colour (L1) inside the mask, eyes and mouth more; and the mask itself."""
    wanted, mask, features = (torch.from_numpy(part) for part in (batch.straight, batch.mask, batch.features))
    weight = _BACKGROUND_COUNTS + (1 - _BACKGROUND_COUNTS) * mask
    structure = dssim(face * weight, wanted * weight, window)
    colour = ((face - wanted).abs() * (weight + _FEATURES_COUNT * features)).mean()
    return 2.0 * structure + 2.0 * colour + (drawn_mask - mask).abs().mean()


def preview_picture(network: Saehd, target: FaceSet, actor: FaceSet, columns: int = 8) -> FloatArray:
    """Rows: the target, as the network draws them; the actor, as it draws them; the target in the actor's place."""
    side = network.spec.resolution

    def some(faces: FaceSet) -> FloatArray:
        at = (faces.faces.shape[1] - side) // 2
        picks = np.linspace(0, len(faces.faces) - 1, columns).astype(int)
        return np.asarray(faces.faces[picks, at : at + side, at : at + side] / np.float32(255), np.float32)

    def drawn(draw: Callable[[Tensor], tuple[Tensor, Tensor]], faces: FloatArray) -> FloatArray:
        with torch.no_grad():
            face, _mask = draw(torch.from_numpy(faces).permute(0, 3, 1, 2))
        return np.asarray(face.permute(0, 2, 3, 1).numpy(), np.float32)

    src, dst = some(target), some(actor)
    rows = [src, drawn(network.target, src), dst, drawn(network.actor, dst), drawn(network.target, dst)]
    return np.asarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0), np.float32)


def _perceiver() -> FacePerceiver:
    store = ModelStore()
    names = ("face_detection_short_range", "face_landmark", "iris_landmark")
    return FacePerceiver(*(store.path(name) for name in names))


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m obs_twin.face.training.dfm", description=__doc__.split("\n")[0])
    parser.add_argument("--src", required=True, type=Path, metavar="FOLDER|VIDEO", help="the person to be shown")
    parser.add_argument("--dst", required=True, type=Path, metavar="FOLDER|VIDEO", help="the person at the camera")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.dfm")
    parser.add_argument("--minutes", type=float, default=15.0, help="of one processor core (15)")
    parser.add_argument("--resolution", type=int, default=SMALL.resolution, help="of the model, in pixels (96)")
    parser.add_argument("--archi", choices=("df", "liae"), default=SMALL.archi)
    parser.add_argument("--dims", type=int, default=SMALL.d_dims, help="width of encoder and decoder (16)")
    parser.add_argument("--face-type", choices=FACE_TYPES, default="whole_face")
    parser.add_argument(
        "--faces", type=int, default=400, metavar="N", help="at most so many faces of each person (400)"
    )
    parser.add_argument("--bf16", action="store_true", help="faster on processors that know bfloat16")
    parser.add_argument("--preview", type=Path, metavar="FILE.png", help="a picture that shows how far it is")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    dims = args.dims
    try:
        spec = SaehdSpec(args.resolution, args.archi, "ud", 4 * dims, dims, dims, max(dims // 2, 4))
        perceiver = _perceiver()
        sets = []
        for name, source in (("src", args.src), ("dst", args.dst)):
            found = extract(read_pictures(source, most=args.faces), perceiver, spec.resolution, args.face_type)
            print(f"{name}: {len(found.faces)} faces in {found.looked_at} pictures of {source}", flush=True)
            sets.append(found)
    except (FaceSetError, ModelError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    target, actor = sets

    def keep(network: Saehd, _step: int) -> None:
        # Every time, so that training can be ended when it is good enough.
        write_dfm(args.out, spec, network.weights(), face_type=args.face_type)
        if args.preview:
            picture = preview_picture(network, target, actor)
            cv2.imwrite(str(args.preview), (picture * 255).clip(0, 255).astype(np.uint8))

    trained = train(
        target,
        actor,
        spec,
        seconds=args.minutes * 60,
        report=lambda line: print(line, flush=True),
        bf16=args.bf16,
        preview=keep,
    )
    keep(trained.network, len(trained.losses))
    print(f"{len(trained.losses)} steps, loss {np.mean(trained.losses[-100:]):.4f}. Written to {args.out}")
    print("To make a twin of it: obs-twin twin new NAME --subject PERSON --operator NAME --dfm FILE")
    return 0


if __name__ == "__main__":
    sys.exit(main())

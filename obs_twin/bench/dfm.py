"""What drawing a DeepFaceLab model costs beyond its network:

    python -m obs_twin.bench.dfm                      # the usual size, liae-ud 224, with random weights
    python -m obs_twin.bench.dfm --resolution 320
    python -m obs_twin.bench.dfm --model FILE.dfm

The bare network and the whole frame (cut out, network, masks, colours, put back) are timed in turn in one run, in
processor time of the one thread that does it and in time by the clock; beside other work only the first can be
compared. Speed does not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from obs_twin.bench.machine import machine
from obs_twin.face.dfm.model import DfmModel, open_dfm
from obs_twin.face.dfm.settings import DfmSettings
from obs_twin.face.dfm.twin import DfmTwin
from obs_twin.face.observation import FaceObservation, FloatArray
from obs_twin.face.perceive import FacePerceiver
from obs_twin.face.photo import FaceModelError
from obs_twin.face.settings import FaceSettings
from obs_twin.face.training.spec import SaehdSpec, random_weights
from obs_twin.twin.synthetic.people import BRUNO
from obs_twin.twin.synthetic.persona import portrait
from obs_twin.zoo.store import ModelStore

Image = npt.NDArray[np.uint8]


@dataclass
class Timer:
    """Seconds of one kind of work, each time it is done."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)

    def time(self, work: Callable[[], Any]) -> Any:
        """Do it, and note what it took; returns its result."""
        wall, cpu = time.perf_counter(), time.thread_time()
        result = work()
        self.cpu_s.append(time.thread_time() - cpu)
        self.wall_s.append(time.perf_counter() - wall)
        return result

    def line(self, name: str) -> str:
        """Medians in ms."""
        cpu, wall = (1e3 * statistics.median(values) for values in (self.cpu_s, self.wall_s))
        return f"{name:34} {cpu:9.2f} ms processor {wall:9.2f} ms clock"


class TimedModel(DfmModel):
    """A model that notes what each run of its network takes."""

    def __init__(self, model: DfmModel) -> None:
        super().__init__(model._session, model.layout)
        self.inside = Timer()

    def run(self, face: FloatArray, morph: float = 0.75) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        result: tuple[FloatArray, FloatArray | None, FloatArray | None]
        result = self.inside.time(lambda: super(TimedModel, self).run(face, morph))
        return result


def scene(width: int, height: int) -> tuple[Image, FaceObservation]:
    """A frame with the generated actor, and what is seen of the actor's face."""
    photo = portrait(BRUNO)
    side = round(height * 1.1)
    actor = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
    frame = np.full((height, width, 3), 150, np.uint8)
    left = (width - side) // 2
    frame[:, left : left + side] = actor[:height]
    frame = np.clip(frame + np.random.default_rng(0).normal(0, 2.5, frame.shape), 0, 255).astype(np.uint8)
    store = ModelStore()
    names = ("face_detection_short_range", "face_landmark", "iris_landmark")
    perceiver = FacePerceiver(*(store.path(name) for name in names))
    seen = None
    for _ in range(4):
        seen = perceiver.perceive(frame)
    if seen is None:
        raise RuntimeError(f"the actor was not found in a frame of {width} x {height}: use a larger one")
    return frame, seen


def measure(model: DfmModel, frame: Image, seen: FaceObservation, rounds: int, settings: FaceSettings) -> float:
    """Print the comparison; returns whole frame over bare network, by processor time."""
    timed = TimedModel(model)
    twin = DfmTwin(timed)
    side = model.layout.side_px
    face = np.random.default_rng(1).random((side, side, 3)).astype(np.float32)
    picture = frame.copy()
    twin.render(picture, seen, settings)  # compiles, and fills caches
    bare, whole, rest = Timer(), Timer(), Timer()
    timed.inside = Timer()
    feeds = face[None].transpose(0, 3, 1, 2) if model.layout.face_in.channels_first else face[None]
    named: dict[str, Any] = {
        model.layout.face_in.name: np.ascontiguousarray(feeds, np.float16 if model.layout.half else np.float32)
    }
    if model.layout.morph is not None:
        named[model.layout.morph] = np.full(
            (1,) * model.layout.morph_rank, 0.75, named[model.layout.face_in.name].dtype
        )
    for _ in range(rounds):
        bare.time(lambda: model._session.run(named))
        picture[:] = frame
        whole.time(lambda: twin.render(picture, seen, settings))
        rest.cpu_s.append(whole.cpu_s[-1] - timed.inside.cpu_s[-1])
        rest.wall_s.append(whole.wall_s[-1] - timed.inside.wall_s[-1])
    print(bare.line("bare network"))
    print(whole.line("whole frame"))
    print(rest.line("  of which not the network"))
    ratio = statistics.median(whole.cpu_s) / statistics.median(bare.cpu_s)
    print(f"{'whole frame / bare network':34} {ratio:9.3f}")
    return ratio


def in_flight(twin: DfmTwin, frame: Image, seen: FaceObservation, frames: int, settings: FaceSettings) -> None:
    """Print frames a second with one and with two frames under way at a time."""
    for threads in (1, 2):
        start = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda _: twin.render(frame.copy(), seen, settings), range(frames)))
        print(
            f"{threads} frame(s) in flight {frames / (time.perf_counter() - start):20.2f} frames a second by the clock"
        )


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m obs_twin.bench.dfm", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, metavar="FILE.dfm", help="a model of your own instead of random weights")
    parser.add_argument("--archi", choices=("df", "liae"), default="liae")
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--dims", type=int, default=64, help="of encoder and decoder; the code has four times as many")
    parser.add_argument("--size", default="1280x720", help="of the frame")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--color-transfer", default="rct", help="none, rct, lct, mkl, idt or sot")
    parser.add_argument("--in-flight", action="store_true", help="also two frames at a time, against one")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    width, height = (int(part) for part in args.size.split("x"))
    settings = FaceSettings(dfm=DfmSettings(color_transfer=args.color_transfer))
    with tempfile.TemporaryDirectory() as folder:
        path = args.model
        if path is None:
            from obs_twin.face.training.export import write_dfm

            mask_dims = args.dims // 3 + args.dims // 3 % 2
            spec = SaehdSpec(args.resolution, args.archi, "ud", 4 * args.dims, args.dims, args.dims, mask_dims)
            path = write_dfm(Path(folder) / "random.dfm", spec, random_weights(spec))
            print(f"{spec.name} with random weights, {path.stat().st_size / 1e6:.0f} MB")
        try:
            model = open_dfm(path, threads=1)
            frame, seen = scene(width, height)
            print(
                f"{model.layout.describe()}\n{model.provider}; frame {width} x {height}, head {seen.head.scale:.0f} px"
            )
            print(machine())
            measure(model, frame, seen, args.rounds, settings)
            if args.in_flight:
                in_flight(DfmTwin(model), frame, seen, max(4, args.rounds), settings)
        except FaceModelError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

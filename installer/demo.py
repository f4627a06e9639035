"""The demo: an actor goes through the three Twin filters in a real OBS, and what a meeting would get is recorded.

    prepare the actor -> start OBS on a throw-away configuration -> wait for the twin -> calibrate -> record -> report

The user's own OBS settings are never touched; their twin packs are read where they are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from installer.demo_actor import Actor, DemoError, find_camera, prepare_actor
from installer.demo_report import Figures, write_report
from installer.progress import Progress, Step
from obs_twin.cli.calibrate import Measured
from obs_twin.cli.errors import CommandError
from obs_twin.link.paths import user_dirs
from obs_twin.twin.pack import PackMissing, find_pack
from obs_twin.twin.synthetic.persona import PACK_NAME, build_persona_pack
from obs_twin.zoo.catalogue import ModelError
from tests.rig.bench import Bench
from tests.rig.camera import PictureTap
from tests.rig.process import RigError
from tests.rig.recorder import Recorder, mux
from tests.rig.scene import Filter, SceneCollection, Script
from tests.rig.twin import ENVIRONMENT, SCRIPT, Twin

__all__ = ["main"]

FPS = 30
READY_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    actor: str
    out: Path
    seconds: float
    delay_ms: int
    twin: str
    size: tuple[int, int]
    keep_open: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        The exit status: 0 when it was recorded and reported, 1 after printing why it could not be.
    """
    options = _parse(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="obs-twin-demo-") as folder:
            _run(options, Path(folder))
    except (DemoError, RigError, ModelError, TimeoutError) as error:
        print(f"\nThe demo could not be finished.\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _run(options: Options, folder: Path) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    progress = Progress(6)
    with progress.step("Actor") as step:
        actor = prepare_actor(options.actor, options.size, FPS, options.seconds, step)
    with progress.step("Twin") as step:
        _prepare_twin(options.twin, step)
    with contextlib.ExitStack() as stack:
        with progress.step("OBS with the Twin filters") as step:
            _furnish(folder / "twin")
            bench = stack.enter_context(_bench(options, actor, folder))
            twin = Twin(bench)
            thumbnails = stack.enter_context(PictureTap(bench.camera, actor.thumbnail))
            _wait_for_twin(bench, twin, options.twin, step)
        with progress.step("Lips and voice in step") as step:
            step.show("half a minute of flashes and beeps")
            step.outcome, left = _calibrate(twin)
        with progress.step("Recording what a meeting gets") as step:
            recorder = Recorder(bench.camera, folder / "picture.mkv", options.size, FPS)
            with recorder:
                _pass_time(bench, options.seconds, step)
            sound = mux(recorder, bench.cable.sound(), options.out / "twin.mkv")
            status = twin.status()
        if options.keep_open and bench.display.has_screen:
            print("OBS stays open with the twin in it. Close its window to go on.")
            while bench.obs.running:
                time.sleep(0.5)
        ending = bench.obs.close()
        with progress.step("Report"):
            figures = Figures(options.twin, options.delay_ms, status, ending, recorder, sound, thumbnails, left)
            write_report(figures, actor, options.out)


def _parse(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="bootstrap.py demo",
        description="Plays an actor through OBS Twin in a real OBS and records what a meeting would get.",
    )
    parser.add_argument(
        "--actor",
        default="",
        metavar="FILE|camera|generated",
        help="a video file with a face and a voice, 'camera', or 'generated'; default: the camera if there is one",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where the results go (./out)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to record (20)")
    parser.add_argument("--delay-ms", type=int, default=1500, help="delay of picture and voice, 300 to 5000 (1500)")
    parser.add_argument("--twin", default=PACK_NAME, help=f"name of the twin pack ({PACK_NAME})")
    parser.add_argument("--size", default="640x360", help="of the picture, WIDTHxHEIGHT (640x360)")
    parser.add_argument("--keep-open", action="store_true", help="leave OBS open afterwards (needs a display)")
    given = parser.parse_args(argv)
    try:
        width, height = (int(number) for number in given.size.lower().split("x"))
    except ValueError:
        parser.error(f"--size: expected WIDTHxHEIGHT such as 1280x720, found {given.size!r}")
    if not (160 <= width <= 1920 and 120 <= height <= 1080) or width % 4 or height % 2:
        parser.error(f"--size: expected 160x120 to 1920x1080, width in fours, height in twos; found {given.size}")
    if not 300 <= given.delay_ms <= 5000:
        parser.error(f"--delay-ms: expected 300 to 5000, found {given.delay_ms}")
    if not 3 <= given.seconds <= 600:
        parser.error(f"--seconds: expected 3 to 600, found {given.seconds:g}")
    actor = given.actor or ("camera" if find_camera() else "generated")
    out = given.out.absolute()
    return Options(actor, out, given.seconds, given.delay_ms, given.twin, (width, height), given.keep_open)


def _prepare_twin(name: str, step: Step) -> None:
    """See that the pack is there; the built-in one is rendered when it is not."""
    step.outcome = name
    if name == PACK_NAME:
        step.show("rendering the built-in persona, if this version's is not there (a minute or two, once)")
        build_persona_pack(user_dirs().cache / "builtin" / PACK_NAME)
        return
    try:
        find_pack(name)
    except PackMissing as missing:
        raise DemoError(str(missing)) from missing


def _furnish(home: Path) -> None:
    """Puts the user's packs and keys within reach of the demo's throw-away state folder; the calibration is its own."""
    real = user_dirs()
    home.mkdir()
    if real.data.is_dir():
        (home / "data").symlink_to(real.data, target_is_directory=True)
    if real.config.is_dir():
        shutil.copytree(real.config, home / "config", ignore=shutil.ignore_patterns("calibration.json"))


def _bench(options: Options, actor: Actor, folder: Path) -> Bench:
    settings = {"twin": options.twin, "delay_ms": options.delay_ms}
    face = Filter("obs_twin_face", "Twin Face", settings)
    background = Filter("obs_twin_background", "Twin Background", {**settings, "mode": "replace"})
    voice = Filter("obs_twin_voice", "Twin Voice", settings)
    collection = SceneCollection(
        actor.sources((background, face), voice),
        (Script(SCRIPT, {"delay_ms": options.delay_ms}),),
        name="OBS Twin demo",
    )
    screen = os.environ.get("DISPLAY") if options.keep_open else None
    return Bench(
        collection,
        options.size,
        FPS,
        folder,
        ENVIRONMENT,
        on_display=screen,
        preview=screen is not None,
    )


def _wait_for_twin(bench: Bench, twin: Twin, name: str, step: Step) -> None:
    """Until twin frames leave OBS and the opening slate is over."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    step.show("starting the engine")
    problem = "the engine does not answer"
    while time.monotonic() < deadline:
        if not bench.obs.running:
            raise DemoError(f"OBS ended by itself:\n{bench.obs.log[-2000:]}")
        status = twin.status()
        for listed in status.get("twins", []):
            if listed["name"] == name and listed.get("problem"):
                raise DemoError(f"The twin {name!r} was refused: {listed['problem']}")
        showing = twin.showing()
        if showing == {"twin"}:
            return
        if showing:
            step.show(f"showing: {', '.join(sorted(showing))}")
        problem = twin.problem() or problem
        time.sleep(0.5)
    raise DemoError(f"No twin picture left OBS within {READY_TIMEOUT_S:.0f} s: {problem}")


def _calibrate(twin: Twin) -> tuple[str, Measured | None]:
    """Even out what voice and picture differ by on their way into a meeting, with flash and beep at the taps.

    Returns:
        (what was found, for the terminal; what is left of it, None if it could not be told). A machine too busy to
        tell is no reason to stop.
    """
    try:
        shift_ms, left = twin.calibrate()
    except CommandError as error:
        return f"not measured: {str(error).split('. ')[0]}", None
    return f"picture shifted by {shift_ms:+.0f} ms, {left.median_ms:+.0f} ms left", left


def _pass_time(bench: Bench, seconds: float, step: Step) -> None:
    start_s = time.monotonic()
    while (passed_s := time.monotonic() - start_s) < seconds:
        if not bench.obs.running:
            raise DemoError(f"OBS ended by itself:\n{bench.obs.log[-2000:]}")
        step.show(f"{passed_s:.0f} of {seconds:.0f} s", passed_s / seconds)
        time.sleep(min(0.2, seconds - passed_s))


if __name__ == "__main__":
    sys.exit(main())

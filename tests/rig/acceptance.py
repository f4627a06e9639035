"""What the product promises, measured in real OBS. The tests run short versions, the command line the long ones:

python -m tests.rig.acceptance delay --delay-ms 300 1500 3000 --seconds 60 [--rate-drops]
python -m tests.rig.acceptance cost --seconds 60
python -m tests.rig.acceptance keep-up --delay-ms 500 --seconds 600
python -m tests.rig.acceptance kill --times 20
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from obs_twin.twin.disclosure import badge_for

from . import measure
from .camera import PictureTap, TappedFrame
from .clip import Clip
from .process import RigError
from .stage import ALL_FILTERS, Stage, stamped_actor

SLACK_PX = 3
PICTURE_AND_VOICE = ("obs_twin_face", "obs_twin_voice")


@dataclass(frozen=True)
class DelayResult:
    """Voice against picture at the meeting's end, after calibration."""

    delay_ms: int
    median_ms: float
    p95_abs_ms: float
    shift_ms: float
    frames: int
    voice_windows: int
    stage_ms: dict[str, Any]
    counts: dict[str, Any]


def measure_delay(clip: Clip, delay_ms: int, seconds: float) -> DelayResult:
    """Calibrate, then compare picture and voice at the taps for `seconds`."""
    with Stage(clip, PICTURE_AND_VOICE, delay_ms) as stage:
        shift_ms, _ = stage.twin.calibrate()
        with PictureTap(stage.bench.camera, measure.read_counter) as tap:
            time.sleep(seconds)
        sound = stage.bench.cable.sound().between(tap.times_ns[0], tap.times_ns[-1])
        status = stage.twin.status()
    picture = measure.picture_series(tap.times_ns, tap.seen, clip)
    step = measure.step(picture, measure.voice_series(sound, clip))
    video = next(s for s in status["streams"].values() if s["kind"] == "video")
    return DelayResult(
        delay_ms,
        round(step.median_ms, 1),
        round(step.p95_abs_ms, 1),
        round(shift_ms, 1),
        step.frames,
        step.voice_windows,
        video["stage_ms"],
        status["host"]["counts"],
    )


@dataclass(frozen=True)
class KeepUpResult:
    """What came too late in a long run, once all is loaded: counted by the host, as viewers get it."""

    delay_ms: int
    seconds: float
    voice_packets: int
    voice_packets_late: int
    frames: int
    frames_late: int
    """Stood in by a neighbour."""
    frames_not_twin: int
    convert_ms: dict[str, float]


def keep_up(clip: Clip, delay_ms: int, seconds: float) -> KeepUpResult:
    """All three filters, `seconds` long, after a start of ten."""
    with Stage(clip, ALL_FILTERS, delay_ms) as stage:
        time.sleep(10.0)
        before = stage.twin.status()["host"]["counts"]
        time.sleep(seconds)
        status = stage.twin.status()
    after = status["host"]["counts"]
    since = {n: {key: value - before[n].get(key, 0) for key, value in after[n].items()} for n in after}
    video = next(counts for counts in since.values() if "frames" in counts)
    voice = next(counts for counts in since.values() if "packets" in counts)
    sound = next(s for s in status["streams"].values() if s["kind"] != "video")
    return KeepUpResult(
        delay_ms,
        seconds,
        voice["packets"],
        voice.get("late", 0),
        video["frames"],
        video.get("late", 0),
        video["frames"] - video.get("twin", 0),
        sound["stage_ms"].get("convert", {}),
    )


@dataclass(frozen=True)
class KillResult:
    """What leaked, and how long the twin was away, over all kills."""

    kills: int
    restarts: int
    frames: int
    frames_without_twin_or_card: int
    raw_voice_windows: int
    away_s: list[float]
    """For each kill: from the kill until twin pictures leave OBS (0: they never stopped)."""
    back_s: list[float]
    """For each kill: from the kill until a new engine finishes frames."""
    exit_status: int | None
    memory_leaks: int | None


class BadgeCheck:
    """Tells what a tapped frame is by the notice in its corner, which nothing but the engine draws."""

    def __init__(self, size: tuple[int, int], name: str = "Ada", synthetic: bool = True) -> None:
        badge = badge_for(*size, name, synthetic=synthetic)
        self._rect = badge.rect
        self._plate = cv2.cvtColor(badge.plate, cv2.COLOR_BGR2GRAY)

    def __call__(self, frame: TappedFrame) -> str:
        """ "twin" (with its badge), "card" (card, slate or the plain grey), or "RAW"."""
        x0, y0, x1, y1 = self._rect
        # OBS draws packed 4:2:2 frames a pixel to the left, so the badge is looked for around its place.
        around = np.ascontiguousarray(frame.luma[y0 - SLACK_PX : y1 + SLACK_PX, x0 - SLACK_PX : x1 + SLACK_PX])
        if float(cv2.matchTemplate(around, self._plate, cv2.TM_CCOEFF_NORMED).max()) > 0.8:
            return "twin"
        # Card, slate and grey are dark pages: hardly any of their pixels are as light as a face.
        if float(np.percentile(frame.luma, 75)) < 68.0:
            return "card"
        return "RAW"


def kill_engine(clip: Clip, times: int, pause_s: float = 4.0) -> KillResult:
    """`kill -9` of the engine again and again, with an eye on every frame and an ear on every sample."""
    check = BadgeCheck(clip.size)
    away, back = [], []
    with Stage(clip, PICTURE_AND_VOICE) as stage:
        with PictureTap(stage.bench.camera, check) as tap:
            for _ in range(times):
                time.sleep(pause_s)
                pid = stage.twin.engine_pid()
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                killed_s = time.monotonic()
                back.append(_until_finishing(stage, pid) - killed_s)
                away.append(_away_s(tap, killed_s))
            time.sleep(pause_s)
        sound = stage.bench.cable.sound().between(tap.times_ns[0], tap.times_ns[-1])
        restarts = int(stage.twin.status()["host"]["restarts"])
        ending = stage.bench.obs.close()
    return KillResult(
        times,
        restarts,
        len(tap.seen),
        sum(seen == "RAW" for seen in tap.seen),
        len(measure.raw_voice(sound, clip)),
        [round(s, 2) for s in away],
        [round(s, 2) for s in back],
        ending.exit_status,
        ending.memory_leaks,
    )


def _until_finishing(stage: Stage, old_pid: int, timeout_s: float = 30.0) -> float:
    """When (monotonic seconds) an engine after `old_pid` finishes pictures with a face in them."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status = stage.twin.status()
        if status and status["pid"] != old_pid:
            video = [s for s in status["streams"].values() if s["kind"] == "video"]
            if video and video[0]["counts"].get("finished", 0) > 0:
                return time.monotonic()
        time.sleep(0.05)
    raise TimeoutError(f"no twin {timeout_s:.0f} s after the engine was killed:\n{stage.engine_log()[-3000:]}")


def _away_s(tap: PictureTap, killed_s: float, watch_s: float = 2.0) -> float:
    """From the kill until the last frame that was no twin; watched for `watch_s` more."""
    time.sleep(watch_s)
    without = [t for t, seen in zip(tap.times_ns, tap.seen, strict=False) if t / 1e9 > killed_s and seen != "twin"]
    return max(0.0, without[-1] / 1e9 - killed_s) if without else 0.0


@dataclass(frozen=True)
class CostResult:
    """OBS's own profiler, side by side, without and with the three filters."""

    without: dict[str, float]
    with_filters: dict[str, float]
    graphics_thread_median_ms: list[float]
    lagged_without: float
    lagged_with: float
    stage_ms: dict[str, Any]
    fps: float
    counts: dict[str, Any]


def measure_cost(clip: Clip, seconds: float, canvas: tuple[int, int] | None = None) -> CostResult:
    """Two runs of the same clip and length, first without any filter of ours."""
    results, graphics = [], []
    status: dict[str, Any] = {}
    for kinds in ((), ALL_FILTERS):
        with Stage(clip, kinds, wait=bool(kinds), canvas=canvas) as stage:
            time.sleep(seconds)
            status = stage.twin.status() or status
            ending = stage.bench.obs.close()
        row = ending.profile["tick_sources"]
        lagged = ending.lagged_frames / max(1, ending.rendered_frames)
        graphics.append(ending.profile["obs_graphics_thread"].median_ms)
        results.append(({"median_ms": row.median_ms, "p99_ms": row.p99_ms, "max_ms": row.max_ms}, lagged))
    video = next(s for s in status["streams"].values() if s["kind"] == "video")
    return CostResult(
        results[0][0],
        results[1][0],
        graphics,
        results[0][1],
        results[1][1],
        video["stage_ms"],
        video["fps"],
        status["host"]["counts"],
    )


@dataclass(frozen=True)
class LifeResult:
    """How OBS ended after a busy life."""

    reloads: int
    switches: int
    twin_at_the_end: bool
    exit_status: int | None
    memory_leaks: int | None


def live_busily(clip: Clip, other: Clip, reloads: int, switches: int) -> LifeResult:
    """Reload the script, switch scene collections, add, disable and remove filters, resize the source, then close."""
    with Stage(clip, PICTURE_AND_VOICE) as stage:
        obs = stage.bench.obs
        _reload_script(stage, reloads)
        for number in range(3):
            obs.ask("CreateSourceFilter", sourceName="Actor", filterName="Room", filterKind="obs_twin_background")
            time.sleep(0.7)
            for name in ("Twin Face", "Room", "Twin Voice"):
                for enabled in (False, True):
                    obs.ask("SetSourceFilterEnabled", sourceName="Actor", filterName=name, filterEnabled=enabled)
                    time.sleep(0.2)
            stage.set_filter("Twin Face", delay_ms=300 + 700 * number)
            playing = other if number % 2 == 0 else clip
            obs.ask("SetInputSettings", inputName="Actor", inputSettings={"local_file": str(playing.path)})
            time.sleep(1.0)
            obs.ask("RemoveSourceFilter", sourceName="Actor", filterName="Room")
            time.sleep(0.3)
        obs.ask("CreateSceneCollection", sceneCollectionName="Another")
        for number in range(switches - 1):
            time.sleep(0.5)
            name = "Rig" if number % 2 == 0 else "Another"
            obs.ask("SetCurrentSceneCollection", sceneCollectionName=name)
        if switches % 2:
            obs.ask("SetCurrentSceneCollection", sceneCollectionName="Rig")
        stage.twin.wait_showing()
        ending = obs.close()
    return LifeResult(reloads, switches, True, ending.exit_status, ending.memory_leaks)


RELOAD_BUTTON = (121, 410)
"""Of the Scripts dialog, in the size that OBS gives it."""


def _reload_script(stage: Stage, times: int) -> None:
    obs, display = stage.bench.obs, stage.bench.display
    if not times:
        return
    window = obs.open_scripts()
    time.sleep(1.0)
    for _ in range(times):
        before = obs.log.count("Loaded python script")
        display.raise_window(window)
        display.click_in(window, *RELOAD_BUTTON)
        deadline = time.monotonic() + 5.0
        while obs.log.count("Loaded python script") == before:
            if time.monotonic() > deadline:
                raise RigError(f"the script was not loaded again:\n{obs.log[-2000:]}")
            time.sleep(0.05)
    display.ask_to_close(window)


def main(arguments: list[str]) -> int:
    """Run one measurement and print its result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.rig.acceptance", description=__doc__)
    parser.add_argument("what", choices=("delay", "cost", "keep-up", "kill", "life"))
    parser.add_argument("--delay-ms", type=int, nargs="+", default=[300, 1500, 3000])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--canvas", help="OBS's canvas for cost, if it is not the source's size")
    parser.add_argument("--rate-drops", action="store_true", help="30 fps drops to 15 in the middle of the clip")
    options = parser.parse_args(arguments)
    width, height = (int(number) for number in options.size.split("x"))
    with tempfile.TemporaryDirectory(prefix="rig-clip-") as folder, contextlib.suppress(KeyboardInterrupt):
        clip = stamped_actor(Path(folder), (width, height), rate_drops=options.rate_drops)
        if options.what == "delay":
            for delay_ms in options.delay_ms:
                print(json.dumps(asdict(measure_delay(clip, delay_ms, options.seconds))), flush=True)
        elif options.what == "keep-up":
            for delay_ms in options.delay_ms:
                print(json.dumps(asdict(keep_up(clip, delay_ms, options.seconds))), flush=True)
        elif options.what == "kill":
            print(json.dumps(asdict(kill_engine(clip, options.times))))
        elif options.what == "life":
            Path(folder, "other").mkdir()
            other = stamped_actor(Path(folder, "other"), (480, 270), 8.0)
            print(json.dumps(asdict(live_busily(clip, other, options.times, max(1, options.times // 2)))))
        else:
            canvas = tuple(int(number) for number in options.canvas.split("x")) if options.canvas else clip.size
            print(json.dumps(asdict(measure_cost(clip, options.seconds, (canvas[0], canvas[1]))), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

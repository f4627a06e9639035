"""`python -m tests.rig --clip FILE --script PATH --filters obs_twin_face,obs_twin_voice --seconds 10 --out DIR`

Plays a clip in a real OBS with the given filters, and shows what a meeting would get: some frames as PNG, the sound
as WAV, OBS's log, how it ended, its profiler.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cv2
import soundfile

from .bench import Bench
from .camera import TappedFrame
from .clip import make_counter_clip
from .scene import Filter, SceneCollection, Script, media
from .sound import SAMPLE_RATE_HZ
from .twin import NAMES


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rig", description=__doc__)
    parser.add_argument("--clip", type=Path, help="what the actor's source plays; default: a generated counter clip")
    parser.add_argument("--script", type=Path, help="an OBS script to load")
    parser.add_argument("--filters", default="", help="filter ids, first to last, separated by commas")
    parser.add_argument("--settings", default="{}", help="JSON object: settings of each filter by its id")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--size", default="640x360", help="of the canvas, WIDTHxHEIGHT")
    parser.add_argument("--photograph", action="store_true", help="photograph the Filters and Scripts dialogs too")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    width, height = (int(number) for number in options.size.split("x"))
    options.out.mkdir(parents=True, exist_ok=True)

    size = (width, height)
    clip = (
        options.clip.resolve()
        if options.clip
        else make_counter_clip(options.out / "clip.mov", size=size).path.resolve()
    )
    settings = json.loads(options.settings)
    filters = tuple(
        Filter(kind, NAMES.get(kind, kind), settings.get(kind, {})) for kind in options.filters.split(",") if kind
    )
    scripts = (Script(options.script.resolve()),) if options.script else ()
    collection = SceneCollection((media("Actor", clip, filters),), scripts)

    def save_one_a_second(frame: TappedFrame) -> None:
        if frame.number % 30 == 0:
            cv2.imwrite(str(options.out / f"frame-{frame.number:05d}.png"), frame.bgr())

    with Bench(collection, size, preview=options.photograph) as bench:
        bench.camera.subscribe(save_one_a_second)
        time.sleep(options.seconds)
        bench.display.save_screenshot(options.out / "screen.png")
        if options.photograph:
            bench.obs.open_filters("Actor")
            time.sleep(1.0)
            bench.display.save_screenshot(options.out / "filters.png")
            bench.obs.open_scripts()
            time.sleep(1.0)
            bench.display.save_screenshot(options.out / "scripts.png")
        sound = bench.cable.sound()
        frames = bench.camera.frames
        ending = bench.obs.close()
    soundfile.write(options.out / "cable.wav", sound.samples, SAMPLE_RATE_HZ)
    (options.out / "obs.log").write_text(ending.log)

    print("\n".join(ending.log.replace("\xa0", " ").splitlines()[-100:]))
    print(f"\n{frames} frames and {len(sound.samples) / SAMPLE_RATE_HZ:.1f} s of sound tapped")
    print(f"exit status {ending.exit_status}, memory leaks {ending.memory_leaks}")
    print(f"lagged {ending.lagged_frames} and skipped {ending.skipped_frames} of {ending.rendered_frames} frames")
    for name in ("tick_sources", "render_video", "output_frame", "obs_graphics_thread"):
        if row := ending.profile.get(name):
            print(f"{name}: median {row.median_ms} ms, p99 {row.p99_ms} ms, max {row.max_ms} ms")
    return 0 if ending.exit_status == 0 and ending.memory_leaks == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

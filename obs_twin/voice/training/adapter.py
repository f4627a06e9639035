"""Train the voice adapter, and teach Whisper's encoder to hear a stream, from text to the files in `models/`. Stopped
at any time, it goes on where it was.

    python -m obs_twin.voice.training.adapter --out models --work FOLDER --recordings SPEECH

First the adapter learns alone, from generated speech that is heard whole. Then it finds in recordings of people where
each sound is, and both learn from all rows, heard block by block. Every loss, and the figures on sentences and voices
that were kept out, go to FOLDER/log.jsonl. With `--from models` the published files learn on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from obs_twin.voice.training.batches import SHARES
from obs_twin.voice.training.course import Plan, Training
from obs_twin.voice.training.dataset import add_arguments, make_shards
from obs_twin.voice.training.recordings import make_recorded_shards
from obs_twin.voice.training.speech import Hibari


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the two files")
    parser.add_argument("--hibari-shards", type=int, default=60, help="of twenty minutes")
    parser.add_argument("--kokoro-shards", type=int, default=12, help="of five minutes")
    parser.add_argument("--recordings", type=Path, help="a folder of recorded speech and its texts")
    parser.add_argument("--from", dest="begin", type=Path, help="learn on from the two files in this folder")
    parser.add_argument("--whole-steps", type=int, default=4_000)
    parser.add_argument("--steps", type=int, default=7_000)
    parser.add_argument("--rows", type=int, default=4, help="of 6 s, in a step; on whole rows six times as many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 (for processors without it)")
    parser.add_argument("--published", type=Path, help="also put the unfinished files here, every ten minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    make_shards(arguments, range(arguments.hibari_shards), with_kokoro=False)
    make_shards(arguments, range(arguments.kokoro_shards), with_kokoro=True)
    plan = Plan(
        arguments.whole_steps,
        arguments.steps,
        arguments.rows,
        whole_rate=1.2e-3,
        adapter_rate=4e-4,
        hearing_rate=1e-3,
        seed=arguments.seed,
        bfloat16=not arguments.float32,
        device=arguments.device,
    )
    if arguments.begin:  # more gently, and heard as a stream from the first step on
        plan = replace(plan, whole_steps=0, adapter_rate=1.5e-4, hearing_rate=4e-4)
    training = Training(plan, arguments.work, arguments.published)
    if arguments.begin:
        training.learn_on(arguments.begin)
    training.run(until=plan.whole_steps)
    if arguments.recordings:
        pupils, hibari = training.average, Hibari(arguments.work / "networks")
        make_recorded_shards(
            arguments.work, arguments.recordings, pupils.hearing, pupils.adapter, hibari, arguments.seed
        )
    training.run()
    figures = {kind: training.evaluate(kind, limit=10**9) for kind in SHARES}
    print(json.dumps({"held out": figures} | training.write(arguments.out)))


if __name__ == "__main__":
    main()

"""What an RVC voice of the true size costs on this machine, streamed:

    python -m obs_twin.bench.rvc_speed --delays 0.5 1.5

The weights are random (`rvc_nets`), so the sound means nothing; needs the optional extra "training" (PyTorch).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from obs_twin.twin.synthetic.speech import speak
from obs_twin.voice.model import F32, VoiceModelError, VoiceSettings
from obs_twin.voice.rvc.voice import RvcVoice

RATE_HZ = 48_000
PACKET = 1024
ENGINE_MS = 90.0
"""What the engine keeps free of the delay."""


@dataclass(frozen=True)
class Cost:
    """Of one delay: processor time and wall clock for each second of sound, and how far the voice hears ahead."""

    delay_s: float
    cpu_s: float
    wall_s: float
    lookahead_ms: float
    blocks: str


def measure(files: Mapping[str, Path], sound: F32, delay_s: float, f0_method: str) -> Cost:
    """Stream (N,) samples at 48 kHz. Raises VoiceModelError if the delay is too short."""
    settings = VoiceSettings(gate=False, options={"f0_method": f0_method})
    budget_ms = 1000 * delay_s - ENGINE_MS
    voice = RvcVoice(files, sample_rate_hz=RATE_HZ, delay_budget_ms=budget_ms, settings=settings)
    voice.push(sound[:RATE_HZ])  # the first block of each length is planned, and kernels are compiled
    voice.reset()
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for at in range(0, len(sound), PACKET):
        voice.push(sound[at : at + PACKET])
    made_s = len(sound) / RATE_HZ - voice.lookahead_samples / RATE_HZ
    return Cost(
        delay_s,
        (time.process_time() - cpu_s) / made_s,
        (time.perf_counter() - wall_s) / made_s,
        1000 * voice.lookahead_samples / RATE_HZ,
        voice.layout_text,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rate", type=int, choices=(40_000, 48_000), default=40_000, help="of the voice (40000)")
    parser.add_argument("--delays", type=float, nargs="+", default=[0.5, 1.0, 1.5, 3.0], metavar="S")
    parser.add_argument("--f0-method", default="swift-f0")
    parser.add_argument("--seconds", type=float, default=6.0, help="of speech (6)")
    args = parser.parse_args(argv)
    from obs_twin.bench.rvc_nets import export

    said = speak("Everybody at the office knows that numbers never lie, but people sometimes do. " * 3)
    sound = np.asarray(soxr.resample(said.samples, said.sample_rate_hz, RATE_HZ), np.float32)
    with tempfile.TemporaryDirectory(prefix="obs-twin-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = export(Path(folder), args.rate)
        print(f"RVC v2, {args.rate} Hz, random weights of the true size; F0 by {args.f0_method}")
        print("delay s   processor s/s   wall s/s   hears ahead   blocks")
        for delay_s in args.delays:
            try:
                cost = measure(files, sound[: int(args.seconds * RATE_HZ)], delay_s, args.f0_method)
            except VoiceModelError as error:
                print(f"{delay_s:7.2f}   {error}")
                continue
            print(f"{delay_s:7.2f} {cost.cpu_s:15.2f} {cost.wall_s:10.2f} {cost.lookahead_ms:10.0f} ms   {cost.blocks}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

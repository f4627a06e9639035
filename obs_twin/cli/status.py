"""`obs-twin status`: what the running engine says of itself."""

from __future__ import annotations

import argparse
import json
from typing import Any

from obs_twin.cli.errors import CommandError


def add_parser(subparsers: Any) -> None:
    """Add `status`."""
    text = "what the running twin does: state, delay, frame rate, times of each stage, consent"
    parser = subparsers.add_parser("status", help=text, description=text)
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.set_defaults(run=_run)


def ask_engine(request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running engine. Raises CommandError if there is none, or it says no."""
    from obs_twin.engine.control import EngineNotRunningError, ask

    try:
        answer = ask(request)
    except EngineNotRunningError as error:
        raise CommandError(str(error)) from error
    if "error" in answer:
        raise CommandError(str(answer["error"]))
    return answer


def _run(args: argparse.Namespace) -> int:
    status = ask_engine({"ask": "status"})
    if args.json:
        print(json.dumps(status, indent=1))
        return 0
    host = status.get("host", {})
    measured = "measured" if status["calibrated"] else "not measured: run obs-twin calibrate"
    print(f"Engine     running for {status['uptime_s']:.0f} s, restarted {host.get('restarts', 0)} times")
    print(
        f"Delay      {status['delay_ms']:.0f} ms; picture against voice {status['shift_ns'] / 1e6:+.0f} ms ({measured})"
    )
    if not status["streams"]:
        print("No Twin filter is on a source yet.")
    for number, stream in status["streams"].items():
        _print_stream(stream, host.get("counts", {}).get(number, {}))
    return 0


def _print_stream(stream: dict[str, Any], counts: dict[str, int]) -> None:
    print(f"\n{stream['name']}")
    for kind, title in (("face", "Twin Face"), ("background", "Twin Background"), ("voice", "Twin Voice")):
        part = stream.get(kind)
        if not part:
            continue
        print(f"  {title:16} {part.get('problem') or part.get('headline', '')}")
        for label in ("consent", "figures", "provider"):
            if part.get(label):
                print(f"  {'':16} {label}: {part[label]}")
        for line in (*part.get("device", ()), *part.get("advice", ())):
            print(f"  {'':16} {line}")
    for stage, times in stream.get("stage_ms", {}).items():
        print(f"  {stage:16} {times['p50']:7.2f} ms median  {times['p95']:7.2f} ms p95")
    for source, found in (("engine", stream.get("counts", {})), ("in OBS", counts)):
        if found:
            print(f"  {source:16} " + ", ".join(f"{name} {count}" for name, count in sorted(found.items())))

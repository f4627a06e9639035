"""The command line, `obs-twin`.

Every module in `COMMANDS` offers `add_parser(subparsers)`, which adds its parser and sets the default `run`, a function
from the parsed arguments to the exit status. Modules import what is heavy inside of `run`, so that help is quick.

Exit status: 0 done, 1 refused or failed (the message says why), 2 wrong usage, 70 a fault in the program,
130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from obs_twin.bench.extra import BenchError
from obs_twin.cli import bench, calibrate, convert, install, models, say, status, twin, voice
from obs_twin.cli.errors import CommandError
from obs_twin.link.paths import ensure, user_dirs
from obs_twin.twin.make import MakeError
from obs_twin.twin.manifest import ManifestError
from obs_twin.twin.pack import PackError
from obs_twin.twin.trust import TrustError
from obs_twin.zoo.catalogue import ModelError

COMMANDS = (install, twin, models, status, calibrate, convert, say, voice, bench)
EXPECTED = (CommandError, BenchError, PackError, ModelError, MakeError, ManifestError, TrustError)

FAILED = 1
FAULT = 70
INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="obs-twin", description="A presenter's consented, disclosed digital twin, live in OBS Studio."
    )
    parser.add_argument("--version", action="version", version=f"OBS Twin {_version()}")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return INTERRUPTED
    except EOFError:
        print("obs-twin: the answer to a question was expected, and the input ended.", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # The reader (a pager, `head`) has seen enough; nothing may be written to it any more.
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return FAILED
    except EXPECTED as error:
        if args.debug:
            traceback.print_exc()
        print(f"obs-twin: {error}", file=sys.stderr)
        return FAILED
    except Exception as error:
        log = _log_fault(argv)
        if args.debug:
            traceback.print_exc()
        where = f" The details are in {log}." if log else " Run it again with --debug for the details."
        print(f"obs-twin: unexpected error: {type(error).__name__}: {error}.{where}", file=sys.stderr)
        return FAULT


def _version() -> str:
    try:
        return importlib.metadata.version("obs-twin")
    except importlib.metadata.PackageNotFoundError:
        return "(from its source folder)"


def _log_fault(argv: Sequence[str] | None) -> Path | None:
    try:
        path = ensure(user_dirs().logs) / "obs-twin.log"
        with path.open("a", encoding="utf-8", errors="replace") as log:
            command = " ".join(sys.argv[1:] if argv is None else argv)
            log.write(f"{datetime.now().isoformat(timespec='seconds')} obs-twin {command}\n{traceback.format_exc()}\n")
    except OSError:
        return None
    return path


if __name__ == "__main__":
    sys.exit(main())

"""`obs-twin models`: fetch, list and verify the models that the twin needs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

BAR_CHARS = 30


def add_parser(subparsers: Any) -> None:
    """Add `models` and its three actions."""
    parser = subparsers.add_parser("models", help="fetch, list and verify the models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, text in (
        ("fetch", _fetch, "fetch what is missing, and check each file's sha256"),
        ("list", _list, "every model: what it is, its licence, whether it is here"),
        ("verify", _verify, "check the sha256 of every file"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=run)
        if name != "list":
            action.add_argument("names", nargs="*", metavar="MODEL", help="only these; all if none is given")


def _fetch(args: argparse.Namespace) -> int:
    from obs_twin.zoo.derive import DERIVED, derived_path, sources_of
    from obs_twin.zoo.store import ModelStore

    store = ModelStore()
    paths = store.fetch(sources_of(args.names) or None, _progress if sys.stderr.isatty() else None)
    for path in paths:
        print(f"ready  {path}")
    for name in DERIVED:
        if not args.names or name in args.names:
            print(f"ready  {derived_path(name, store)}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from obs_twin.zoo.derive import DERIVED
    from obs_twin.zoo.store import ModelStore

    for status in ModelStore().list():
        entry = status.entry
        print(f"{status.state:8} {entry.name:32} {entry.bytes / 1e6:7.2f} MB  {entry.licence}")
        if entry.extra:
            print(f"{'':8} (optional: fetched when it is needed, for {entry.extra})")
        print(f"{'':8} {entry.what}")
        print(f"{'':8} by {entry.author}: {entry.upstream}")
        if entry.package is not None:
            print(f"{'':8} fetched from the package {entry.package.package} {entry.package.version}")
        print()
    for name, recipe in DERIVED.items():
        print(f"{'built':8} {name:32} from {', '.join(recipe.sources)}")
        print(f"{'':8} {recipe.what}")
        print()
    return 0


def _verify(args: argparse.Namespace) -> int:
    from obs_twin.zoo.store import ModelStore

    statuses = ModelStore().verify(args.names or None)
    for status in statuses:
        print(f"{status.state:8} {status.entry.name}")
        if status.problem:
            print(f"{'':8} {status.problem}")
    missing = [status.entry.name for status in statuses if status.state == "missing" and not status.entry.extra]
    if missing:
        print(f"To fetch what is missing, run: obs-twin models fetch {' '.join(missing)}")
    damaged = any(status.state == "damaged" for status in statuses)
    return 1 if missing or damaged else 0


def _progress(what: str, done_bytes: int, total_bytes: int) -> None:
    share = done_bytes / max(1, total_bytes)
    bar = "#" * round(share * BAR_CHARS)
    end = "\n" if done_bytes >= total_bytes else ""
    text = f"\r{what:28} [{bar:{BAR_CHARS}}] {done_bytes / 1e6:6.1f} of {total_bytes / 1e6:.1f} MB"
    print(text, end=end, file=sys.stderr, flush=True)

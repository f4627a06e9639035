"""The conversation in which the person shown gives their consent, in plain words, at the keyboard."""

from __future__ import annotations

import getpass
import sys
import textwrap
from datetime import datetime, timedelta, timezone
from pathlib import Path

from obs_twin.cli.errors import CommandError
from obs_twin.twin.consent import ConsentRecord, Scope, standard_statement
from obs_twin.twin.log import SessionLog
from obs_twin.twin.make import add_consent, key_path, subject_key
from obs_twin.twin.manifest import MANIFEST_NAME, Manifest, parse_manifest
from obs_twin.twin.trust import LocalTrust

AGREE = "I agree"
WIDTH = 88


def say(text: str = "") -> None:
    """Print a paragraph, wrapped."""
    print(textwrap.fill(text, WIDTH))


def same_words(given: str, wanted: str) -> bool:
    """Whether two names or phrases agree but for case and spaces."""
    return " ".join(given.split()).casefold() == " ".join(wanted.split()).casefold()


def ask_consent(
    folder: Path,
    *,
    operator: str,
    days: int,
    scope: Scope,
    statement: str | None,
    clip: Path | None,
    locked: bool,
) -> ConsentRecord:
    """Show the statement, ask the subject to agree, sign the record and trust the key.

    Args:
        folder: the pack.
        operator, days, scope, statement, clip: as in `add_consent`.
        locked: ask for a passphrase for the subject's key.

    Raises:
        CommandError: the person did not agree.
        MakeError: the record cannot be made.
    """
    manifest = parse_manifest((folder / MANIFEST_NAME).read_bytes())
    person = manifest.display_name
    now = datetime.now(timezone.utc).replace(microsecond=0)
    roles = [part.role for part in manifest.parts]
    words = statement or standard_statement(person, operator, scope, now + timedelta(days=days), roles)
    say()
    say(f"These questions are for {person} in person. Nobody can answer them in {person}'s place.")
    print()
    print(textwrap.indent(textwrap.fill(words, WIDTH - 4), "    "))
    print()
    say(
        "The consent is for the files of this twin as they are now, and for no others. It can "
        f"be withdrawn at any time with: obs-twin twin revoke {manifest.name}"
    )
    print()
    if not same_words(input(f"To sign, type your full name ({person}): "), person):
        raise CommandError(f"That is not {person}'s name, so no consent was recorded.")
    if not same_words(input(f'If you agree, type "{AGREE}": '), AGREE):
        raise CommandError("No consent was given, so none was recorded.")
    record = add_consent(
        folder,
        key=subject_key(key_path(manifest.display_name), _passphrase(manifest) if locked else ""),
        operator=operator,
        days=days,
        scope=scope,
        statement=words,
        clip=clip,
        now=now,
    )
    trust = LocalTrust()
    trust.trust(record.public_key, person, now)
    trust.remember_person(manifest, now)
    SessionLog().consent("signed", manifest, record.id)
    print()
    say(f"Signed. The consent {record.id} holds until {record.expires:%d %B %Y}.")
    return record


def _passphrase(manifest: Manifest) -> str:
    exists = key_path(manifest.display_name).exists()
    person = manifest.display_name
    if not sys.stdin.isatty():
        return input()
    if exists:
        return getpass.getpass(f"{person}'s passphrase: ")
    say(
        f"A passphrase that only {person} knows keeps others from renewing the consent on this computer. "
        "Leave it empty for none."
    )
    first = getpass.getpass("Passphrase: ")
    if first and getpass.getpass("Again: ") != first:
        raise CommandError("The two passphrases differ, so no consent was recorded.")
    return first

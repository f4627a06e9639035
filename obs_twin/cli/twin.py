"""`obs-twin twin`: make, look at, check and withdraw twin packs."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obs_twin.cli import dfm, face_sources, rvc
from obs_twin.cli.errors import CommandError

if TYPE_CHECKING:
    from obs_twin.cli.voice_enrolment import VoiceFiles

MAX_VOICE_BYTES = 1 << 20


def add_parser(subparsers: Any) -> None:
    """Add `twin` and its actions."""
    parser = subparsers.add_parser("twin", help="make, look at, check and withdraw twin packs")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    new = _action(actions, "new", _new, "make a twin pack, and ask the person shown for their consent")
    new.usage = (
        'obs-twin twin new NAME --subject "PERSON SHOWN" --operator "WHO USES IT" --photo FILE [FILE ...] '
        "[--voice FILE|FOLDER ...] [more options: --help]"
    )
    new.add_argument("name", help="a short name: small letters, digits, - and _")
    new.add_argument("--subject", required=True, metavar="NAME", help="full name of the person shown")
    face_sources.add_options(new)
    new.add_argument(
        "--voice", nargs="+", type=Path, metavar="FILE|FOLDER", help="recordings of the voice, to learn it from"
    )
    new.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="how long to learn the voice at most (3); it ends sooner when the recordings give no more",
    )
    new.add_argument("--background", type=Path, metavar="FILE", help="a picture of the room")
    new.add_argument("--voice-target", type=Path, metavar="FILE.json", help="the voice's measurements")
    new.add_argument("--provenance", default="", metavar="TEXT", help="where the photos and the voice come from")
    new.add_argument("--synthetic", action="store_true", help="the person shown does not exist")
    dfm.add_options(new)
    rvc.add_options(new)
    _consent_options(new)

    renew = _action(actions, "renew", _renew, "ask the person shown for a new consent for the same twin")
    renew.add_argument("name")
    _consent_options(renew)

    _action(actions, "list", _list, "every twin on this machine, and whether it may be used")
    inspect = _action(actions, "inspect", _inspect, "what is in a pack, and what was agreed to")
    inspect.add_argument("name", metavar="NAME|PATH")

    verify = _action(actions, "verify", _verify, "check everything that is checked before a twin goes live")
    verify.add_argument("name", metavar="NAME|PATH")
    for option in ("purpose", "audience", "event", "app"):
        verify.add_argument(f"--{option}", metavar="TEXT", help=f"the {option} that the twin is for")

    revoke = _action(actions, "revoke", _revoke, "withdraw a consent, at once and for good")
    revoke.add_argument("name", metavar="NAME|PATH|CONSENT-ID")
    revoke.add_argument("--reason", default="", metavar="TEXT")

    trust = _action(actions, "trust", _trust, "accept a key as that of the person who signed a pack's consent")
    trust.add_argument("name", metavar="NAME|PATH", nargs="?")
    trust.add_argument("--remove", metavar="PERSON", help="accept this person's keys no longer")

    add = _action(actions, "add", _add, "copy somebody's pack to where OBS Twin finds it")
    add.add_argument("path", type=Path)
    export = _action(actions, "export", _export, "write a pack as one .zip")
    export.add_argument("name")
    export.add_argument("file", type=Path, metavar="FILE.zip")


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _consent_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the consent")
    group.add_argument("--operator", metavar="NAME", help="full name of the person who will use the twin")
    group.add_argument("--days", type=int, default=30, metavar="N", help="how long it lasts (30)")
    for option, text in (
        ("purpose", "only for this purpose"),
        ("audience", "only for this audience"),
        ("event", "only for this event"),
        ("app", "only in this program"),
    ):
        group.add_argument(f"--{option}", action="append", default=[], metavar="TEXT", help=f"{text}; may be repeated")
    group.add_argument("--statement", type=Path, metavar="FILE.txt", help="other words than the standard ones")
    group.add_argument("--clip", type=Path, metavar="FILE", help="a recording of the person saying them")
    group.add_argument(
        "--consent-audio",
        type=Path,
        metavar="FILE",
        help="the same as sound: it is kept with the record, and must be by the voice of the twin",
    )
    group.add_argument("--passphrase", action="store_true", help="lock the person's signing key with a passphrase")


def _new(args: argparse.Namespace) -> int:
    from obs_twin.link.paths import ensure, user_dirs
    from obs_twin.twin.make import PartFiles, write_pack
    from obs_twin.twin.manifest import PERSON, SYNTHETIC, check_display_name, check_pack_name

    _check_options(args)
    check_pack_name(args.name)
    check_display_name(args.subject)
    target = ensure(user_dirs().packs) / args.name
    if target.exists():
        raise CommandError(f"There is a twin called {args.name!r} already: {target}. Delete it first.")
    provenance = args.provenance or ("made by the user" if args.synthetic else f"given by {args.subject}")
    parts = []
    face = face_sources.face_part(args, provenance)
    if face is not None:
        parts.append(face)
    face_model = dfm.dfm_part(args, provenance)
    if face_model is not None:
        parts.append(face_model)
    brought = rvc.rvc_part(args, provenance)
    if brought is not None:
        parts.append(brought)
    if args.voice_target:
        parts.append(PartFiles("voice", "world", {"voice/target.json": _voice(args.voice_target)}, provenance))
    if args.background:
        room = face_sources.as_png(face_sources.read_picture(args.background))
        parts.append(PartFiles("background", "image", {"background/room.png": room}, "a picture"))
    voice = _learn_voice(args) if args.voice else None
    if voice is not None:
        parts.append(PartFiles("voice", "neural", voice.files, provenance))
    folder = write_pack(
        target,
        name=args.name,
        display_name=args.subject,
        subject_kind=SYNTHETIC if args.synthetic else PERSON,
        parts=parts,
    )
    try:
        if voice is not None:
            print(f"A sample to listen to: {folder / 'voice' / 'sample.wav'}")
        if not args.synthetic:
            _ask(folder, args)
        elif voice is None:
            _ask_synthetic(args.subject)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # no consent, no twin
        raise
    finally:
        if voice is not None:
            shutil.rmtree(voice.workplace, ignore_errors=True)
    print(f"The twin {args.name!r} is ready in {folder}")
    names = [name for role, name in (("face", "Twin Face"), ("voice", "Twin Voice")) if role in {p.role for p in parts}]
    sources = {"Twin Face": "your camera", "Twin Voice": "your microphone"}
    for name in names:
        print(f"To use it in OBS: right-click {sources[name]} > Filters > + > {name}, and choose it under 'Twin'.")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    if args.synthetic and (args.operator or args.clip or args.consent_audio or args.statement):
        raise CommandError(
            "A synthetic person gives no consent: leave out --operator, --clip, --consent-audio and --statement."
        )
    if not args.synthetic and not args.operator:
        raise CommandError("Who will use the twin? Say it with: --operator NAME")
    voices = [option for option in ("voice", "voice_target", "rvc") if getattr(args, option)]
    if (args.photo or args.video) and args.dfm:
        raise CommandError("A twin has one face: give either --photo or --video, or --dfm.")
    if not args.photo and not args.video and not args.dfm and not voices:
        raise CommandError(
            "A twin needs a face or a voice: give photos (--photo FILE), recordings (--voice FILE), or both."
        )
    if len(voices) > 1:
        options = " or ".join(f"--{option.replace('_', '-')}" for option in voices)
        raise CommandError(f"A twin has one voice: give either {options}.")
    if args.minutes is not None and not args.voice:
        raise CommandError("--minutes is for learning a voice: it goes with --voice.")
    if args.clip and args.consent_audio:
        raise CommandError("Give either --clip or --consent-audio, not both.")


def _learn_voice(args: argparse.Namespace) -> VoiceFiles:
    from obs_twin.cli.voice_enrolment import DEFAULT_MINUTES, allow_training, make_voice

    if args.synthetic:
        _ask_synthetic(args.subject)
    else:
        allow_training(args.subject)
    return make_voice(
        args.name,
        args.voice,
        minutes=DEFAULT_MINUTES if args.minutes is None else args.minutes,
        consent_audio=args.consent_audio,
    )


def _ask_synthetic(name: str) -> None:
    from obs_twin.cli.consent_dialogue import same_words

    print(f"\n{name} must not be a real person, nor look or sound like one.")
    phrase = f"{name} does not exist"
    if not same_words(input(f'To confirm that, type "{phrase}": '), phrase):
        raise CommandError("That was not confirmed, so no twin was made.")


def _ask(folder: Path, args: argparse.Namespace) -> None:
    from obs_twin.cli.consent_dialogue import ask_consent
    from obs_twin.cli.voice_enrolment import check_spoken_consent
    from obs_twin.twin.consent import Scope

    try:
        statement = None if args.statement is None else args.statement.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise CommandError(f"The statement {args.statement} cannot be read: {error}") from error
    if args.consent_audio is not None:
        notes = folder / "voice" / "enrolment.json"
        check_spoken_consent(args.consent_audio, notes if notes.is_file() else None)
    ask_consent(
        folder,
        operator=args.operator,
        days=args.days,
        scope=Scope(tuple(args.purpose), tuple(args.audience), tuple(args.event), tuple(args.app)),
        statement=statement,
        clip=args.consent_audio or args.clip,
        locked=args.passphrase,
    )


def _renew(args: argparse.Namespace) -> int:
    from obs_twin.twin.pack import find_pack, read_manifest
    from obs_twin.twin.trust import LocalTrust

    path = find_pack(args.name)
    manifest = read_manifest(path)
    if manifest.synthetic:
        raise CommandError(f"{manifest.display_name} is synthetic and needs no consent.")
    if not path.is_dir():
        raise CommandError(f"{path.name} is a zip file: only {manifest.display_name}'s own copy can be signed anew.")
    if LocalTrust().revocation(manifest, None) is not None:
        raise CommandError(
            f"{manifest.display_name} withdrew the consent for these models. A new twin is needed, from new photos: "
            "obs-twin twin new"
        )
    if not args.operator:
        raise CommandError("Who will use the twin? Say it with: --operator NAME")
    _ask(path, args)
    return 0


def _list(args: argparse.Namespace) -> int:
    from obs_twin.twin.pack import list_packs, pack_dirs

    found = list_packs()
    for info in found:
        kind = "synthetic" if info.synthetic else "person"
        until = f"until {info.expires:%Y-%m-%d}" if info.expires else ""
        state = "refused" if info.problem else "ready"
        print(f"{state:8} {info.name:20} {info.display_name:28} {kind:10} {until}")
        if info.problem:
            print(textwrap.indent(textwrap.fill(info.problem, 96), " " * 9))
    if not found:
        print("There is no twin yet. To make one: obs-twin twin new NAME --subject PERSON --photo FILE --voice FILE")
    print(f"\nTwins are looked for in: {', '.join(str(folder) for folder in pack_dirs())}")
    return 0


def _inspect(args: argparse.Namespace) -> int:
    from obs_twin.twin.manifest import format_time
    from obs_twin.twin.pack import find_pack, read_pack

    path = find_pack(args.name)
    manifest, record = read_pack(path)
    print(f"Twin      {manifest.name}, in {path}")
    print(f"Shows     {manifest.display_name} ({manifest.subject_kind})")
    print(f"Made      {format_time(manifest.created)}")
    for part in manifest.parts:
        print(f"{part.role.capitalize():9} {part.kind}; {part.provenance}")
        for file in part.files:
            print(f"{'':9}   {file.path}  {file.bytes} bytes  sha256 {file.sha256}")
    if record is None:
        print("Consent   none" + (", and none is needed" if manifest.synthetic else ""))
        return 0
    print(f"Consent   {record.id}, {format_time(record.start)} to {format_time(record.expires)}")
    print(f"{'':9} signed by {record.subject_name} with the key {record.fingerprint}")
    print(f"{'':9} for {record.operator}, for {record.scope.describe()}")
    print(textwrap.indent(textwrap.fill(record.statement, 88), " " * 10))
    if record.clip is not None:
        print(f"{'':9} recorded in {record.clip.path}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from obs_twin.twin.consent import Use
    from obs_twin.twin.pack import find_pack, open_pack

    use = Use(args.purpose, args.audience, args.event, args.app)
    with open_pack(find_pack(args.name), scope=use) as pack:
        print(f"{pack.name}: in order; {pack.consent_line}")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from obs_twin.twin.log import SessionLog
    from obs_twin.twin.pack import PackError, PackMissing, find_pack, list_packs, read_manifest, read_pack
    from obs_twin.twin.trust import LocalTrust

    now = datetime.now(timezone.utc)
    trust = LocalTrust()
    try:
        path = find_pack(args.name)
    except PackMissing:
        paths = [info.path for info in list_packs() if info.consent_id == args.name]
        if not paths:
            if not _is_record_id(args.name):
                raise
            trust.revoke_record(args.name, now, args.reason)
            print(f"The consent {args.name} is withdrawn. No pack with it is on this machine.")
            return 0
        path = paths[0]
    manifest = read_manifest(path)
    try:
        record = read_pack(path)[1]
    except PackError:
        record = None  # a damaged record must not keep anybody from withdrawing
    trust.revoke(manifest, record, now, args.reason)
    trust.remember_person(manifest, now)
    SessionLog().consent("revoked", manifest, None if record is None else record.id)
    print(
        f"The consent for {manifest.name!r} is withdrawn. Its models are refused from now on, in whatever pack they "
        f"come; a live twin stops within seconds. The files are still in {path}: delete them if you want."
    )
    return 0


def _is_record_id(text: str) -> bool:
    return len(text) == 16 and all(char in "0123456789abcdef" for char in text)


def _trust(args: argparse.Namespace) -> int:
    from obs_twin.cli.consent_dialogue import same_words, say
    from obs_twin.twin.consent import fingerprint
    from obs_twin.twin.log import SessionLog
    from obs_twin.twin.pack import find_pack, read_pack
    from obs_twin.twin.trust import LocalTrust

    trust = LocalTrust()
    if args.remove:
        keys = [item for item in trust.trusted_keys() if same_words(item["subject_name"], args.remove)]
        if not keys:
            raise CommandError(f"No key of {args.remove!r} is trusted. To see those that are: obs-twin twin trust")
        for item in keys:
            trust.distrust(item["public_key"])
        print(f"{len(keys)} key(s) of {args.remove} are trusted no longer.")
        return 0
    if args.name is None:
        for item in trust.trusted_keys():
            print(f"{item['subject_name']:28} {fingerprint(item['public_key'])}  since {item['added']}")
        return 0
    manifest, record = read_pack(find_pack(args.name))
    if record is None:
        raise CommandError(f"{manifest.name!r} has no consent record, so there is no key to trust.")
    person = record.subject_name
    print(f"{person} is said to have agreed to this:\n")
    print(textwrap.indent(textwrap.fill(record.statement, 84), "    "))
    print(f"\nsigned with the key   {record.fingerprint}\n")
    say(
        f"Anybody can make a key and write {person}'s name beside it. Ask {person}, face to face or in a call, to read "
        "you their key's number: obs-twin twin inspect shows it."
    )
    if not same_words(input(f"If {person} confirmed it to you, type {person}'s full name: "), person):
        raise CommandError("That is not the name, so the key is not trusted.")
    now = datetime.now(timezone.utc)
    trust.trust(record.public_key, person, now)
    trust.remember_person(manifest, now)
    SessionLog().consent("trusted", manifest, record.id)
    print(f"The key is accepted as {person}'s.")
    return 0


def _add(args: argparse.Namespace) -> int:
    from obs_twin.link.paths import ensure, user_dirs
    from obs_twin.twin.pack import read_manifest

    manifest = read_manifest(args.path)
    folder = ensure(user_dirs().packs)
    target = folder / (f"{manifest.name}.zip" if args.path.is_file() else manifest.name)
    for taken in (folder / manifest.name, folder / f"{manifest.name}.zip"):
        if taken.exists():
            raise CommandError(f"There is a twin called {manifest.name!r} already: {taken}. Delete it first.")
    if args.path.is_file():
        shutil.copyfile(args.path, target)
    else:
        shutil.copytree(args.path, target)
    print(f"Copied to {target}. To check it: obs-twin twin verify {manifest.name}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from obs_twin.twin.make import export_zip
    from obs_twin.twin.pack import find_pack

    path = find_pack(args.name)
    if args.file.exists():
        raise CommandError(f"{args.file} exists already. Choose another name, or delete it first.")
    if path.is_dir():
        export_zip(path, args.file)
    else:
        shutil.copyfile(path, args.file)
    print(f"Written to {args.file}. The person's signing key is not in it.")
    return 0


def _voice(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_VOICE_BYTES or not isinstance(json.loads(raw), dict):
            raise ValueError("one JSON object of at most 1 MB was expected")
    except (OSError, ValueError) as error:
        raise CommandError(f"The voice target {path} cannot be used: {error}") from error
    return raw

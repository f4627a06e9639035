"""Consent records and the local lists, and the disclosure log."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from obs_twin.twin import log as log_module
from obs_twin.twin.consent import (
    ConsentRecord,
    Scope,
    Use,
    encode_record,
    fingerprint,
    new_record,
    parse_record,
    public_key_of,
    standard_statement,
)
from obs_twin.twin.log import SessionLog
from obs_twin.twin.make import MakeError, subject_key
from obs_twin.twin.manifest import FileEntry, Manifest, ManifestError, Part, encode, format_time, parse_time
from obs_twin.twin.trust import LocalTrust, TrustError

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=timezone.utc)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
WORDS = st.lists(NAMES, max_size=3).map(tuple)


def record(**changes: Any) -> ConsentRecord:
    options: dict[str, Any] = {
        "subject_name": "Ada Lovelace",
        "operator": "Grace Hopper",
        "models_digest": "0" * 64,
        "key": KEY,
        "start": NOW,
        "statement": "I agree.",
    }
    return new_record(**options | changes)


@settings(max_examples=50, deadline=None)
@given(
    subject_name=NAMES,
    operator=NAMES,
    statement=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    days=st.integers(1, 366),
    scope=st.builds(Scope, WORDS, WORDS, WORDS, WORDS),
    clip=st.none() | st.just(FileEntry("consent/statement.wav", "1" * 64, 99)),
)
def test_round_trip(**options: Any) -> None:
    made = record(**options)
    assert parse_record(encode_record(made)) == made
    assert made.expires - made.start == timedelta(days=options["days"])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject) -> None:
    raw = bytearray(encode_record(record()))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ManifestError):
        parse_record(bytes(raw))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires", "2030-01-01T00:00:00Z"),
        ("start", "2020-01-01T00:00:00Z"),
        ("models_sha256", "1" * 64),
        ("subject_name", "Bob"),
        ("statement", "I agree to everything."),
        ("scope", {"purposes": [], "audiences": [], "events": ["any"], "apps": []}),
        ("public_key", public_key_of(Ed25519PrivateKey.from_private_bytes(bytes(32)))),
        ("signature", "00" * 64),
        ("signature", ""),
        ("public_key", "zz"),
        ("clip", {"path": "../x", "sha256": "0" * 64, "bytes": 1}),
        ("format", 2),
    ],
)
def test_a_rewritten_record_is_refused(field: str, value: object) -> None:
    """In the right spelling, as somebody would who knows the format but has not the key."""
    document = json.loads(encode_record(record()))
    document[field] = value
    with pytest.raises(ManifestError):
        parse_record(encode(document))


def test_the_signature_is_for_consent_only() -> None:
    made = record()
    unsigned = json.loads(encode_record(made))
    del unsigned["signature"]
    plain = KEY.sign(encode(unsigned)).hex()
    with pytest.raises(ManifestError, match="signature"):
        parse_record(encode(unsigned | {"signature": plain}))


@pytest.mark.parametrize("days", [0, -1, 367])
def test_how_long_a_consent_may_last(days: int) -> None:
    with pytest.raises(ManifestError, match="days"):
        record(days=days)


@pytest.mark.parametrize("name", ["", " Ada", "A\nB", "x" * 81])
def test_names(name: str) -> None:
    with pytest.raises(ManifestError):
        record(subject_name=name)


def test_statement() -> None:
    words = standard_statement("Ada", "Grace", Scope(apps=("Teams",)), NOW, ["face"])
    assert words.startswith("I, Ada, am aware that pictures of my face were used")
    assert "Grace may use it" in words
    assert "for: the program 'Teams' only." in words
    assert "22 November 2026" in words
    assert "voice" not in words
    assert "voice and pictures of my room" in standard_statement(
        "Ada", "Grace", Scope(), NOW, ["background", "voice", "face"]
    )


def test_fingerprint() -> None:
    text = fingerprint(public_key_of(KEY))
    assert len(text.split()) == 8
    assert text == record().fingerprint


def test_scope() -> None:
    assert Use().outside(Scope()) == ""
    assert Use(event="x").outside(Scope()) == ""
    limited = Scope(purposes=("Teaching",), apps=("Teams", "Zoom"))
    assert "purpose" in Use(app="zoom").outside(limited)
    assert "program" in Use(purpose="teaching", app="Meet").outside(limited)
    assert Use(purpose=" TEACHING ", app="zoom").outside(limited) == ""


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc)))
def test_times(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert parse_time(format_time(moment), "x") == whole


@pytest.mark.parametrize("text", ["", "2026-11-22", "2026-11-22T08:00:00", "2026-1-2T08:00:00Z", 5, None])
def test_bad_times(text: object) -> None:
    with pytest.raises(ManifestError):
        parse_time(text, "start")


# --- keys ---------------------------------------------------------------------------------------------------


def test_the_subject_key_is_made_once_and_locked(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "ada.pem"
    key = subject_key(path, "sesame")
    assert public_key_of(subject_key(path, "sesame")) == public_key_of(key)
    for wrong in ("", "Sesame"):
        with pytest.raises(MakeError, match="passphrase"):
            subject_key(path, wrong)
    if os.name == "posix":
        assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(b"junk")
    with pytest.raises(MakeError):
        subject_key(path)


# --- the local lists ----------------------------------------------------------------------------------------


def manifest(face: str = "a" * 64, voice: str = "b" * 64, room: str = "c" * 64) -> Manifest:
    parts = tuple(
        Part(role, kind, (FileEntry(f"{role}/x", sha, 1),), "")
        for role, kind, sha in (("face", "mesh", face), ("voice", "world", voice), ("background", "image", room))
    )
    return Manifest("ada", "Ada Lovelace", "person", parts, NOW)


def test_trust_is_for_one_name(tmp_path: Path) -> None:
    trust = LocalTrust(tmp_path)
    key = public_key_of(KEY)
    assert not trust.trusts(key, "Ada")
    trust.trust(key, "Ada", NOW)
    trust.trust(key, "ADA", NOW)
    assert len(trust.trusted_keys()) == 1
    assert LocalTrust(tmp_path).trusts(key, "ada")
    assert not trust.trusts(key, "Bob")
    assert trust.distrust(key)
    assert not trust.distrust(key)
    assert not trust.trusts(key, "Ada")


def test_revocation_follows_the_likeness_and_spares_the_room(tmp_path: Path) -> None:
    trust = LocalTrust(tmp_path)
    made = record()
    trust.revoke(manifest(), made, NOW, "why")
    assert trust.revocation(manifest(), None)
    assert trust.revocation(manifest(voice="d" * 64), None)
    assert trust.revocation(manifest("e" * 64, "f" * 64), made)
    assert trust.revocation(manifest("e" * 64, "f" * 64), replace(made, id="other")) is None
    trust.revoke_record("other", NOW, "")
    assert trust.revocation(manifest("e" * 64, "f" * 64), replace(made, id="other"))


def test_known_people(tmp_path: Path) -> None:
    trust = LocalTrust(tmp_path)
    assert trust.known_person(manifest()) is None
    trust.remember_person(manifest(), NOW)
    trust.remember_person(manifest(), NOW)
    assert trust.known_person(manifest(voice="0" * 64)) == "Ada Lovelace"
    assert trust.known_person(manifest("0" * 64, "1" * 64)) is None
    assert len(json.loads((tmp_path / "people.json").read_text())) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[{}", '[{"record_id": "x"}]', "\ud800"])
def test_unreadable_lists(tmp_path: Path, text: str) -> None:
    (tmp_path / "revoked.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(TrustError, match=r"revoked\.json"):
        LocalTrust(tmp_path).revocation(manifest(), None)


# --- the log ------------------------------------------------------------------------------------------------


def test_log(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "state" / "disclosure.jsonl")
    made = record()
    log.started(manifest(), made, {"face": "LiteRT, CPU"})
    log.overridden("badge", "  shown as a caption on stage ")
    log.restored("badge")
    log.reveal(True)
    log.panic(True)
    log.refused("ada", "consent_expired", "ended")
    log.stopped("ada", "OBS closed", {"frames": 100.0})
    for notice, reason in (("badge", " "), ("logo", "because")):
        with pytest.raises(ValueError, match=notice):
            log.overridden(notice, reason)
    with log.path.open("a", encoding="utf-8") as file:
        file.write('{"time": "2026')
    events = list(log.events())
    assert [event["event"] for event in events] == [
        "start",
        "override",
        "restore",
        "reveal",
        "panic",
        "refused",
        "stop",
    ]
    assert events[0]["consent_id"] == made.id
    assert events[1]["reason"] == "shown as a caption on stage"


def test_log_is_turned_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_BYTES", 500)
    log = SessionLog(tmp_path / "disclosure.jsonl")
    for _ in range(20):
        log.panic(True)
    assert log.path.stat().st_size < 700
    assert {path.name for path in tmp_path.iterdir()} == {"disclosure.jsonl", "disclosure.1.jsonl"}

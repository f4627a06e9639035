"""Twin packs: what is opened, and everything that must be refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obs_twin.twin import archive as archive_module
from obs_twin.twin import pack as packs
from obs_twin.twin.consent import RECORD_NAME, Scope, Use, public_key_of
from obs_twin.twin.make import MakeError, PartFiles, add_consent, export_zip, write_pack
from obs_twin.twin.manifest import (
    MANIFEST_NAME,
    ManifestError,
    check_pack_name,
    encode,
    encode_manifest,
    parse_manifest,
    safe_path,
)
from obs_twin.twin.pack import PackError, find_pack, list_packs, open_pack
from obs_twin.twin.trust import LocalTrust

NOW = datetime(2026, 11, 22, 8, 0, 0, tzinfo=timezone.utc)
PHOTO = bytes(range(256)) * 20
VOICE = b'{"f0_median_hz": 190.0}\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OBS_TWIN_CACHE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def trust(tmp_path: Path) -> LocalTrust:
    return LocalTrust(tmp_path / "trust")


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def person(tmp_path: Path, key: Ed25519PrivateKey, trust: LocalTrust) -> Path:
    """A real person's pack, in order."""
    folder = make(tmp_path / "packs" / "ada", "person")
    add_consent(folder, key=key, operator="Grace Hopper", now=NOW)
    trust.trust(public_key_of(key), "Ada Lovelace", NOW)
    return folder


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    return make(tmp_path / "packs" / "nova", "synthetic")


def make(folder: Path, kind: str) -> Path:
    parts = [
        PartFiles("face", "mesh", {"face/photo.png": PHOTO}, "a photo"),
        PartFiles("voice", "world", {"voice/target.json": VOICE}, "measured from speech"),
    ]
    name = "Ada Lovelace" if kind == "person" else "Nova"
    return write_pack(folder, name=folder.name, display_name=name, subject_kind=kind, parts=parts, created=NOW)


def refused(path: Path, trust: LocalTrust, error: type[PackError], *words: str, **options: object) -> None:
    options.setdefault("now", NOW)
    with pytest.raises(error) as caught:
        open_pack(path, trust=trust, **options)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)
    # What strangers see on the card names no file, no key and no person.
    assert path.name not in caught.value.public
    assert caught.value.title


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    export_zip(folder, target)
    return target


@pytest.mark.parametrize("form", ["folder", "zip", "zip of the folder"])
def test_a_pack_in_order_opens(person: Path, trust: LocalTrust, form: str) -> None:
    path = person
    if form == "zip":
        path = zipped(person)
    elif form == "zip of the folder":
        path = Path(shutil.make_archive(str(person), "zip", person.parent, person.name))
    with open_pack(path, now=NOW, trust=trust) as pack:
        assert pack.name == "ada"
        assert pack.display_name == "Ada Lovelace"
        assert not pack.synthetic
        assert pack.roles == ("face", "voice")
        assert pack.kind("face") == "mesh"
        assert pack.kind("background") is None
        assert pack.paths("background") == ()
        assert pack.paths("face")[0].read_bytes() == PHOTO
        assert "until 2026-12-22" in pack.consent_line
        pack.check(NOW + timedelta(days=29))
        unpacked = pack.paths("face")[0]
    assert unpacked.exists() == (form == "folder")


def test_a_synthetic_pack_needs_no_record(synthetic: Path, trust: LocalTrust) -> None:
    with open_pack(synthetic, trust=trust) as pack:
        assert pack.synthetic
        assert pack.record is None
        pack.check()


def test_no_pack(tmp_path: Path, trust: LocalTrust) -> None:
    refused(tmp_path / "nobody", trust, packs.PackMissing, "obs-twin twin list")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", trust, packs.PackDamaged, MANIFEST_NAME)


def test_changed_model_byte(person: Path, trust: LocalTrust) -> None:
    photo = person / "face" / "photo.png"
    photo.write_bytes(PHOTO[:100] + bytes([PHOTO[100] ^ 1]) + PHOTO[101:])
    refused(person, trust, packs.PackDamaged, "face/photo.png", "expected sha256")


def test_truncated_and_missing_model(person: Path, trust: LocalTrust) -> None:
    photo = person / "face" / "photo.png"
    photo.write_bytes(PHOTO[:-1])
    refused(person, trust, packs.PackDamaged, "truncated", f"expected {len(PHOTO)} bytes")
    photo.unlink()
    refused(person, trust, packs.PackDamaged, "missing")


def test_unlisted_files_are_ignored(person: Path, trust: LocalTrust, home: Path) -> None:
    (person / "face" / "extra.onnx").write_bytes(b"whatever")
    with zipfile.ZipFile(zipped(person), "a") as archive:
        archive.writestr("face/more.onnx", b"whatever")
    with open_pack(person.with_suffix(".zip"), now=NOW, trust=trust) as pack:
        names = {path.name for path in pack.folder.rglob("*") if path.is_file()}
        assert names == {"photo.png", "target.json"}
    open_pack(person, now=NOW, trust=trust)


def test_consent_missing(person: Path, trust: LocalTrust) -> None:
    (person / RECORD_NAME).unlink()
    refused(person, trust, packs.ConsentMissing, "Ada Lovelace", RECORD_NAME)


def test_consent_expired_and_not_begun(person: Path, trust: LocalTrust) -> None:
    refused(person, trust, packs.ConsentExpired, "2026-12-22", now=NOW + timedelta(days=30))
    refused(person, trust, packs.ConsentNotYetValid, "2026-11-22", now=NOW - timedelta(seconds=1))


def test_consent_by_a_foreign_key(person: Path, trust: LocalTrust) -> None:
    add_consent(person, key=Ed25519PrivateKey.generate(), operator="Mallory", now=NOW)
    refused(person, trust, packs.ConsentForeign, "obs-twin twin trust")


def test_a_key_trusted_for_another_person_does_not_count(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    folder = make(tmp_path / "packs" / "ada", "person")
    add_consent(folder, key=key, operator="Mallory", now=NOW)
    trust = LocalTrust(tmp_path / "other")
    trust.trust(public_key_of(key), "Mallory", NOW)
    refused(folder, trust, packs.ConsentForeign)


def test_consent_for_other_models(person: Path, trust: LocalTrust, tmp_path: Path) -> None:
    other = write_pack(
        tmp_path / "packs" / "ada2",
        name="ada2",
        display_name="Ada Lovelace",
        subject_kind="person",
        parts=[PartFiles("face", "mesh", {"face/photo.png": PHOTO + b"x"}, "another photo")],
    )
    shutil.copytree(person / "consent", other / "consent")
    refused(other, trust, packs.ConsentAltered, "other models")


def test_consent_by_someone_else(person: Path, trust: LocalTrust, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    other = write_pack(
        tmp_path / "packs" / "bob",
        name="bob",
        display_name="Bob",
        subject_kind="person",
        parts=[
            PartFiles("face", "mesh", {"face/photo.png": PHOTO}, "a photo"),
            PartFiles("voice", "world", {"voice/target.json": VOICE}, "measured from speech"),
        ],
    )
    shutil.copytree(person / "consent", other / "consent")
    refused(other, trust, packs.ConsentAltered, "given by Ada Lovelace")


def test_scope(tmp_path: Path, key: Ed25519PrivateKey, trust: LocalTrust) -> None:
    folder = make(tmp_path / "packs" / "ada", "person")
    add_consent(folder, key=key, operator="Grace", now=NOW, scope=Scope(events=("Workshop 3", "Workshop 4")))
    trust.trust(public_key_of(key), "Ada Lovelace", NOW)
    refused(folder, trust, packs.ConsentScope, "nobody has said yet which event")
    refused(folder, trust, packs.ConsentScope, "'Party'", scope=Use(event="Party"))
    pack = open_pack(folder, now=NOW, trust=trust, scope=Use(event="workshop 4", app="Teams"))
    with pytest.raises(packs.ConsentScope, match="'Party'"):
        pack.check(NOW, Use(event="Party"))


def test_revocation_stops_a_live_twin_and_its_models(person: Path, trust: LocalTrust, key: Ed25519PrivateKey) -> None:
    pack = open_pack(person, now=NOW, trust=trust)
    pack.check(NOW)
    # As another process would do it: through the file.
    LocalTrust(person.parent.parent / "trust").revoke(pack.manifest, pack.record, NOW, "asked by Ada")
    with pytest.raises(packs.ConsentRevoked):
        pack.check(NOW)
    add_consent(person, key=key, operator="Grace", now=NOW)
    refused(person, trust, packs.ConsentRevoked, "2026-11-22")


def test_expiry_and_replaced_files_stop_a_live_twin(person: Path, trust: LocalTrust) -> None:
    pack = open_pack(person, now=NOW, trust=trust)
    with pytest.raises(packs.ConsentExpired):
        pack.check(NOW + timedelta(days=31))
    (person / "face" / "photo.png").write_bytes(b"another face")
    with pytest.raises(packs.PackDamaged, match="replaced"):
        pack.check(NOW)


def test_distrusting_a_key_stops_a_live_twin(person: Path, trust: LocalTrust, key: Ed25519PrivateKey) -> None:
    pack = open_pack(person, now=NOW, trust=trust)
    trust.distrust(public_key_of(key))
    with pytest.raises(packs.ConsentForeign):
        pack.check(NOW)


def test_a_person_does_not_pass_as_synthetic(person: Path, trust: LocalTrust, tmp_path: Path) -> None:
    manifest = parse_manifest((person / MANIFEST_NAME).read_bytes())
    trust.remember_person(manifest, NOW)
    flipped = make(tmp_path / "packs" / "flipped", "synthetic")
    refused(flipped, trust, packs.ConsentMissing, "synthetic", "Ada Lovelace")
    trust_without_memory = LocalTrust(tmp_path / "empty")
    shutil.copytree(person / "consent", flipped / "consent")
    refused(flipped, trust_without_memory, packs.ConsentMissing, "Ada Lovelace")


def test_an_unreadable_list_refuses_everything(synthetic: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "revoked.json").write_text('[{"record_id": "1"')
    refused(synthetic, LocalTrust(folder), packs.TrustUnreadable, "revoked.json", "backup")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["models"][0].update(role="body"), "role 'body' is unknown"),
        (lambda d: d["models"][0].update(kind="hologram"), "'hologram'"),
        (lambda d: d["models"][0]["files"][0].update(path="../photo.png"), "'..'"),
        (lambda d: d["models"][0]["files"][0].update(path="/etc/passwd"), "absolute"),
        (lambda d: d["models"][0]["files"][0].update(path="C:/photo.png"), "holds one of"),
        (lambda d: d["models"][0]["files"][0].update(sha256="0"), "sha256"),
        (lambda d: d["models"][0].update(files=[]), "no files"),
        (lambda d: d.update(models=[]), "one model or more"),
        (lambda d: d["models"].append(d["models"][0]), "at most one per role"),
        (lambda d: d.update(format=2), "format 2"),
        (lambda d: d.update(name="../ada"), "not a name"),
        (lambda d: d.update(created="yesterday"), "a time like"),
        (lambda d: d["subject"].update(kind="celebrity"), "'celebrity'"),
        (lambda d: d["subject"].update(display_name="a\nb"), "printable"),
        (lambda d: d.update(note="x"), "should have the keys"),
        (lambda d: d.update(subject=3), "'subject' is a int"),
    ],
)
def test_manifests_that_are_refused(
    synthetic: Path, trust: LocalTrust, change: Callable[[dict[str, object]], None], words: str
) -> None:
    """Each with a fitting seal: it is the content that is refused."""
    path = synthetic / MANIFEST_NAME
    document = json.loads(path.read_bytes())
    del document["seal"]
    change(document)
    path.write_bytes(sealed(document))
    refused(synthetic, trust, packs.PackDamaged, words)


def sealed(document: dict[str, object]) -> bytes:
    return encode(document | {"seal": hashlib.sha256(encode(document)).hexdigest()})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_is_refused(person: Path, synthetic: Path, trust: LocalTrust, data: st.DataObject) -> None:
    target = data.draw(
        st.sampled_from(
            [
                person / MANIFEST_NAME,
                person / RECORD_NAME,
                person / "face" / "photo.png",
                person / "voice" / "target.json",
                synthetic / MANIFEST_NAME,
                synthetic / "face" / "photo.png",
            ]
        )
    )
    raw = target.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    flip = data.draw(st.integers(1, 255))
    try:
        target.write_bytes(raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :])
        with pytest.raises(PackError):
            open_pack(person if person in target.parents else synthetic, now=NOW, trust=trust)
    finally:
        target.write_bytes(raw)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_zip_never_crashes(person: Path, trust: LocalTrust, data: st.DataObject) -> None:
    path = person.with_name("damaged.zip")
    if not path.exists():
        export_zip(person, path)
        path.with_suffix(".good").write_bytes(path.read_bytes())
    raw = bytearray(path.with_suffix(".good").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    try:
        with open_pack(path, now=NOW, trust=trust) as pack:
            # A flip in the zip's own bookkeeping may be harmless; the content is then the right one.
            assert pack.paths("face")[0].read_bytes() == PHOTO
    except PackError:
        pass


@settings(max_examples=300)
@given(raw=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_parsing_anything_as_a_manifest(raw: bytes) -> None:
    with pytest.raises(ManifestError):
        parse_manifest(raw)


def test_windows_line_ends_are_accepted(synthetic: Path, trust: LocalTrust) -> None:
    path = synthetic / MANIFEST_NAME
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    open_pack(synthetic, trust=trust)


# --- hostile zips -------------------------------------------------------------------------------------------

HOSTILE = [
    "../evil.txt",
    "face/../../evil.txt",
    "/tmp/evil.txt",
    "C:/evil.txt",
    "C:evil.txt",
    "..\\evil.txt",
    "face\\evil.txt",
    "//server/share/evil.txt",
    "face/./evil.txt",
    "face//evil.txt",
    "NUL",
    "face/con.txt",
    "aux.png",
    "face/COM1",
    "face/evil.txt.",
    "face/evil ",
    "face/evil\x00.txt",
    "face/ev\nil.txt",
    "face/photo.png:stream",
    "a" * 300,
]


def write_raw_zip(path: Path, entries: list[tuple[str, bytes]]) -> None:
    """A zip whose names are exactly these: Python's own writer would tidy them."""
    out, directory = bytearray(), bytearray()
    for name, content in entries:
        raw = name.encode("utf-8")
        head = struct.pack(
            "<HHHHHIIIHH", 20, 0x800, 0, 0, 0x21, zlib.crc32(content), len(content), len(content), len(raw), 0
        )
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(out))
        directory += raw
        out += b"PK\x03\x04" + head + raw + content
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(out), 0)
    path.write_bytes(bytes(out + directory) + b"PK\x05\x06" + end)


def pack_entries(folder: Path) -> list[tuple[str, bytes]]:
    return [
        (path.relative_to(folder).as_posix(), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    ]


@pytest.fixture
def untouched(tmp_path: Path, synthetic: Path) -> Iterator[None]:
    """Nothing outside of the scratch folder may appear or change."""

    def snapshot() -> dict[str, int]:
        return {
            str(path): path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".zip"
        }

    before = snapshot()
    yield
    assert snapshot() == before


def test_the_raw_zip_itself_is_fine(synthetic: Path, trust: LocalTrust, tmp_path: Path) -> None:
    write_raw_zip(tmp_path / "x.zip", pack_entries(synthetic))
    open_pack(tmp_path / "x.zip", trust=trust).close()


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("untouched")
def test_hostile_names(synthetic: Path, trust: LocalTrust, tmp_path: Path, name: str) -> None:
    write_raw_zip(tmp_path / "x.zip", [*pack_entries(synthetic), (name, b"evil")])
    refused(tmp_path / "x.zip", trust, packs.PackUnsafe, "refused")


@settings(max_examples=300)
@given(path=st.text(st.sampled_from("ab./\\: \x00\n~$-C"), max_size=20))
def test_a_path_called_safe_stays_inside(path: str) -> None:
    try:
        safe = safe_path(path)
    except ManifestError:
        return
    root = Path("/root/pack")
    assert (root / safe).resolve().is_relative_to(root)
    assert ".." not in safe.parts


def test_symlinks_in_a_zip(synthetic: Path, trust: LocalTrust, tmp_path: Path) -> None:
    target = zipped(synthetic)
    link = zipfile.ZipInfo("face/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(target, trust, packs.PackUnsafe, "link")


def test_duplicate_names(synthetic: Path, trust: LocalTrust, tmp_path: Path) -> None:
    entries = pack_entries(synthetic)
    write_raw_zip(tmp_path / "x.zip", [*entries, ("FACE/photo.PNG", b"evil")])
    refused(tmp_path / "x.zip", trust, packs.PackUnsafe, "twice")


def test_bombs(synthetic: Path, trust: LocalTrust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = zipped(synthetic)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(4 << 20))
    refused(target, trust, packs.PackUnsafe, "fold")
    many = tmp_path / "many.zip"
    write_raw_zip(many, [(f"f{i}", b"") for i in range(archive_module.MAX_ENTRIES + 1)])
    refused(many, trust, packs.PackUnsafe, "entries")
    monkeypatch.setattr(archive_module, "MAX_TOTAL_BYTES", 1000)
    refused(zipped(synthetic), trust, packs.PackUnsafe, "GB")


def test_a_member_that_is_longer_than_the_manifest_says(synthetic: Path, trust: LocalTrust, tmp_path: Path) -> None:
    entries = dict(pack_entries(synthetic)) | {"face/photo.png": PHOTO + bytes(100_000)}
    write_raw_zip(tmp_path / "x.zip", list(entries.items()))
    refused(tmp_path / "x.zip", trust, packs.PackDamaged, "longer than")


def test_not_a_zip(tmp_path: Path, trust: LocalTrust) -> None:
    (tmp_path / "x.zip").write_bytes(b"hello")
    refused(tmp_path / "x.zip", trust, packs.PackUnsafe, "not a readable zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "y.zip", trust, packs.PackUnsafe, "not a twin pack")


def test_scratch_of_a_dead_process_is_swept(synthetic: Path, trust: LocalTrust, home: Path) -> None:
    target = zipped(synthetic)
    live = open_pack(target, trust=trust)
    dead = home / "cache" / "unpacked" / "dead"
    dead.mkdir()
    (dead / ".lock").write_bytes(b"")
    (dead / "photo.png").write_bytes(PHOTO)
    open_pack(target, trust=trust).close()
    assert not dead.exists()
    assert live.paths("face")[0].exists()
    live.close()
    assert list((home / "cache" / "unpacked").iterdir()) == []


# --- names and lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "Ada", "a/b", "../x", "con", "nul", "a" * 41, "-a", "ada.zip", "lpt1"])
def test_pack_names_that_are_refused(name: str) -> None:
    with pytest.raises(ManifestError):
        check_pack_name(name)


def test_list_and_find(person: Path, synthetic: Path, trust: LocalTrust, tmp_path: Path) -> None:
    (person.parent / "broken.zip").write_bytes(b"no zip")
    (person.parent / "unrelated").mkdir()
    found = {info.name: info for info in list_packs([person.parent], now=NOW, trust=trust)}
    assert set(found) == {"ada", "nova", "broken"}
    assert found["ada"].problem == ""
    assert found["nova"].synthetic
    assert "zip" in found["broken"].problem
    later = list_packs([person.parent], now=NOW + timedelta(days=99), trust=trust)
    assert any("ended" in info.problem for info in later)
    assert find_pack("ada", [person.parent]) == person
    assert find_pack(str(person)) == person
    for unknown in ("bob", "../ada", "Not A Name", str(tmp_path / "bob")):
        with pytest.raises(packs.PackMissing):
            find_pack(unknown, [person.parent])


def test_a_pack_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    for files in ({"face/a.png": tmp_path / "absent.png"}, {"../a.png": b"x"}):
        with pytest.raises(MakeError):
            write_pack(
                tmp_path / "packs" / "x",
                name="x",
                display_name="X",
                subject_kind="synthetic",
                parts=[PartFiles("face", "mesh", files, "")],
            )
    assert not (tmp_path / "packs").exists() or list((tmp_path / "packs").iterdir()) == []


def test_manifest_round_trip(synthetic: Path) -> None:
    raw = (synthetic / MANIFEST_NAME).read_bytes()
    assert encode_manifest(parse_manifest(raw)) == raw

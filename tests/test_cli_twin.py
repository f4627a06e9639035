"""`obs-twin twin`: from the photos to a signed pack, and back to a withdrawn one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from obs_twin.cli.main import main
from obs_twin.link.paths import user_dirs
from obs_twin.twin.log import SessionLog
from obs_twin.twin.pack import read_pack


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OBS_TWIN_CACHE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    picture = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(picture, (300, 400)))
    return path


def run(monkeypatch: pytest.MonkeyPatch, answers: str, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(answers))
    return main(["twin", *map(str, arguments)])


def new_ada(monkeypatch: pytest.MonkeyPatch, photo: Path, *more: str | Path, answers: str = "") -> int:
    signed = answers or "ada  lovelace\ni AGREE\n"
    options = ("--subject", "Ada Lovelace", "--operator", "Grace Hopper", "--photo", photo)
    return run(monkeypatch, signed, "new", "ada", *options, *more)


def test_new_inspect_verify_list_export(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path
) -> None:
    voice = tmp_path / "voice.json"
    voice.write_text('{"f0_median_hz": 190.0}')
    assert new_ada(monkeypatch, photo, "--voice-target", voice, "--background", photo) == 0
    shown = capsys.readouterr().out
    assert "recordings of my voice" in shown
    folder = user_dirs().packs / "ada"
    _, record = read_pack(folder)
    assert record is not None
    assert record.statement in " ".join(shown.split())
    assert (folder / "face" / "photo.png").read_bytes()[:4] == b"\x89PNG"

    assert run(monkeypatch, "", "verify", "ada") == 0
    assert record.id in capsys.readouterr().out
    assert run(monkeypatch, "", "inspect", "ada") == 0
    assert record.fingerprint in capsys.readouterr().out
    assert run(monkeypatch, "", "list") == 0
    assert "ready    ada" in capsys.readouterr().out
    assert run(monkeypatch, "", "export", "ada", tmp_path / "ada.zip") == 0
    assert run(monkeypatch, "", "export", "ada", tmp_path / "ada.zip") == 1
    assert "exists already" in capsys.readouterr().err
    events = [event["event"] for event in SessionLog().events()]
    assert events == ["consent_signed"]


@pytest.mark.parametrize("answers", ["Bob\n", "Ada Lovelace\nno\n", "Ada Lovelace\n", ""])
def test_no_consent_no_twin(monkeypatch: pytest.MonkeyPatch, photo: Path, answers: str) -> None:
    assert new_ada(monkeypatch, photo, answers=answers or "\n") == 1
    assert not (user_dirs().packs / "ada").exists()
    assert not (user_dirs().config / "trusted_keys.json").exists()


def test_synthetic(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path) -> None:
    options = ("new", "nova", "--subject", "Nova", "--synthetic", "--photo", photo)
    assert run(monkeypatch, "yes\n", *options) == 1
    assert run(monkeypatch, "nova does not exist\n", *options) == 0
    assert run(monkeypatch, "", "verify", "nova") == 0
    assert "synthetic" in capsys.readouterr().out
    # A real person's photo is remembered, and does not pass as a synthetic person's.
    assert new_ada(monkeypatch, photo) == 0
    assert run(monkeypatch, "", "verify", "nova") == 1
    assert "Ada Lovelace" in capsys.readouterr().err


def test_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    tiny = tmp_path / "tiny.png"
    cv2.imwrite(str(tiny), np.zeros((20, 20, 3), np.uint8))
    for bad, words in ((text, "not a picture"), (tiny, "too small"), (tmp_path / "absent.png", "cannot be read")):
        assert new_ada(monkeypatch, bad) == 1
        assert words in capsys.readouterr().err
    assert new_ada(monkeypatch, photo, "--days", "1000") == 1
    assert "1 to 366 days" in capsys.readouterr().err
    assert new_ada(monkeypatch, photo, "--voice-target", text) == 1
    assert new_ada(monkeypatch, photo, "--statement", tmp_path / "absent.txt") == 1
    assert run(monkeypatch, "", "new", "Bad Name", "--subject", "X", "--synthetic", "--photo", photo) == 1
    assert "not a name" in capsys.readouterr().err
    assert run(monkeypatch, "", "new", "x", "--subject", "X", "--photo", photo) == 1
    assert "--operator" in capsys.readouterr().err
    assert run(monkeypatch, "", "verify", "nobody") == 1
    assert "obs-twin twin list" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_status:
        main(["twin"])
    assert exit_status.value.code == 2


def test_add_trust_revoke_on_another_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path, tmp_path: Path
) -> None:
    assert new_ada(monkeypatch, photo, "--event", "Workshop 3") == 0
    exported = tmp_path / "ada.zip"
    assert run(monkeypatch, "", "export", "ada", exported) == 0
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path / "other"))
    assert run(monkeypatch, "", "add", exported) == 0
    assert run(monkeypatch, "", "add", exported) == 1
    assert run(monkeypatch, "", "verify", "ada") == 1
    assert "not known here" in capsys.readouterr().err
    assert run(monkeypatch, "Bob\n", "trust", "ada") == 1
    assert run(monkeypatch, "Ada Lovelace\n", "trust", "ada") == 0
    assert run(monkeypatch, "", "verify", "ada") == 1
    assert "nobody has said yet which event" in capsys.readouterr().err
    assert run(monkeypatch, "", "verify", "ada", "--event", "workshop 3") == 0
    assert run(monkeypatch, "", "trust") == 0
    assert "Ada Lovelace" in capsys.readouterr().out
    assert run(monkeypatch, "", "trust", "--remove", "ada lovelace") == 0
    assert run(monkeypatch, "", "verify", "ada", "--event", "workshop 3") == 1
    assert run(monkeypatch, "Ada Lovelace\n", "trust", "ada") == 0
    assert run(monkeypatch, "", "revoke", "ada", "--reason", "asked to") == 0
    capsys.readouterr()
    assert run(monkeypatch, "", "verify", "ada", "--event", "workshop 3") == 1
    assert "withdrawn" in capsys.readouterr().err
    revoked = json.loads((user_dirs().config / "revoked.json").read_text())
    assert revoked[0]["reason"] == "asked to"


def test_renew(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photo: Path) -> None:
    assert new_ada(monkeypatch, photo, "--days", "1") == 0
    first = read_pack(user_dirs().packs / "ada")[1]
    assert run(monkeypatch, "Ada Lovelace\nI agree\n", "renew", "ada", "--operator", "Grace Hopper") == 0
    second = read_pack(user_dirs().packs / "ada")[1]
    assert first is not None
    assert second is not None
    assert first.id != second.id
    assert first.public_key == second.public_key
    assert second.expires > first.expires
    assert run(monkeypatch, "", "revoke", second.id) == 0
    assert run(monkeypatch, "Ada Lovelace\nI agree\n", "renew", "ada", "--operator", "Grace Hopper") == 1
    assert "withdrew" in capsys.readouterr().err


def test_revoking_an_id_that_is_only_known_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "", "revoke", "0123456789abcdef") == 0
    assert run(monkeypatch, "", "revoke", "nothing-like-it") == 1


def test_a_passphrase_locks_the_key(monkeypatch: pytest.MonkeyPatch, photo: Path) -> None:
    answers = "Ada Lovelace\nI agree\nsesame\n"
    assert new_ada(monkeypatch, photo, "--passphrase", answers=answers) == 0
    again = ("renew", "ada", "--operator", "Grace", "--passphrase")
    assert run(monkeypatch, "Ada Lovelace\nI agree\nwrong\n", *again) == 1
    assert run(monkeypatch, "Ada Lovelace\nI agree\n", *again[:-1]) == 1
    assert run(monkeypatch, answers, *again) == 0

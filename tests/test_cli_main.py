"""The command line itself: exit status, friendly errors, and a log for the unfriendly ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from obs_twin.cli import main as cli
from obs_twin.cli import models
from obs_twin.cli.errors import CommandError


class Failing:
    """A command that raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def add_parser(self, subparsers: Any) -> None:
        subparsers.add_parser("fail").set_defaults(run=self._run)

    def _run(self, args: argparse.Namespace) -> int:
        raise self._error


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBS_TWIN_HOME", str(tmp_path))
    monkeypatch.delenv("OBS_TWIN_CACHE", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (CommandError("expected this, found that"), 1, "expected this, found that"),
        (KeyboardInterrupt(), 130, "Stopped"),
        (EOFError(), 1, "input ended"),
        (ZeroDivisionError("by zero"), 70, "unexpected error: ZeroDivisionError"),
    ],
)
def test_errors(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    home: Path,
    error: BaseException,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", (Failing(error),))
    assert cli.main(["fail"]) == status
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown
    log = home / "logs" / "obs-twin.log"
    assert log.exists() == (status == 70)
    if log.exists():
        assert "ZeroDivisionError" in log.read_text()
        assert cli.main(["--debug", "fail"]) == status
        assert "Traceback" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--version"], ["twin", "--help"], ["models", "--help"]):
        with pytest.raises(SystemExit) as exit_status:
            cli.main(arguments)
        assert exit_status.value.code == 0
    assert "withdraw" in capsys.readouterr().out


def test_models_on_an_empty_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "missing  face_landmark" in listed
    assert "Apache-2.0" in listed
    assert cli.main(["models", "verify", "face_landmark"]) == 1
    assert "obs-twin models fetch face_landmark" in capsys.readouterr().out
    assert cli.main(["models", "fetch", "no_such_model"]) == 1
    assert "The list has" in capsys.readouterr().err
    models._progress("mediapipe", 5_000_000, 35_000_000)
    assert "5.0 of 35.0 MB" in capsys.readouterr().err

"""Set-up: what it decides, what it says when something is in the way, and that a second run changes nothing."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from installer import apt, bootstrap, environment, platforms, unpacked
from installer.commands import Output, run_shown
from installer.environment import Environment
from installer.errors import SetupError
from installer.platforms import Account, Need
from installer.progress import Progress, Step

ROOT = Path(bootstrap.__file__).resolve().parent.parent
HERE = Account(dict(os.environ))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def step() -> Step:
    return Step("[1/1] Trial:", io.StringIO(), lambda: 0.0)


# ---- progress


def test_plain_lines_when_not_a_terminal() -> None:
    stream, now = io.StringIO(), [0.0]
    with Progress(2, stream, lambda: now[0]).step("Models") as step:
        for second in range(25):
            now[0] = float(second)
            step.show(f"model {second}", second / 25)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "[1/2] Models: 40 %, 10 s: model 10",
        "[1/2] Models: 80 %, 20 s: model 20",
        "[1/2] Models: done (24 s)",
    ]


def test_one_moving_line_on_a_terminal() -> None:
    stream, now = Terminal(), [0.0]
    with Progress(1, stream, lambda: now[0]).step("Models") as step:
        now[0] = 0.5
        step.show("x" * 500, 0.5)
        step.outcome = "already there"
    shown = stream.getvalue()
    assert "##########.........." in shown
    assert shown.count("\n") == 1
    assert shown.endswith("[1/1] Models: already there\n")


def test_a_failed_step_is_left_clean() -> None:
    stream = io.StringIO()
    with pytest.raises(SetupError), Progress(1, stream).step("Models"):
        raise SetupError("no network")
    assert stream.getvalue() == "[1/1] Models: not finished\n"


# ---- other programs


def test_run_shown_hands_over_lines_and_status(step: Step) -> None:
    lines: list[str] = []
    code = "import sys; print('one'); print('E: two', file=sys.stderr); sys.exit(3)"
    output = run_shown([sys.executable, "-u", "-c", code], step, lambda line, _: lines.append(line), HERE)
    assert (output.status, lines) == (3, ["one", "E: two"])
    assert output.complaints() == "    E: two"


def test_a_program_that_is_not_there(step: Step) -> None:
    with pytest.raises(SetupError, match="could not be started"):
        run_shown(["no-such-program-at-all"], step, lambda line, _: None, HERE)


# ---- apt-get


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (apt)", "Another program"),
        ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a'", "dpkg --configure -a"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "disk is full"),
        ("E: Packages need to be removed but remove is disabled.", "removes nothing"),
        ("E: Unable to locate package obs-studio", "universe"),
        ("Err:1 http://deb\n  Temporary failure resolving 'deb.debian.org'", "Check the network"),
        ("E: Something else", "E: Something else"),
    ],
)
def test_apt_errors_become_words(text: str, words: str) -> None:
    assert words in apt._explain(Output(100, text), Output(0, ""), "sudo apt-get install x")


def test_apt_lists_that_could_not_be_fetched() -> None:
    output = Output(100, "E: Unable to locate package obs-studio")
    assert "Check the network" in apt._explain(output, Output(100, "Could not resolve"), "")


def test_apt_progress_from_its_lines(step: Step) -> None:
    shown: list[tuple[str | None, float | None]] = []
    step.show = lambda detail=None, fraction=None: shown.append((detail, fraction))  # type: ignore[method-assign]
    lines = apt._AptLines()
    for line in (
        "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.",
        "Get:1 http://deb.debian.org/debian bookworm/main amd64 xvfb amd64 2:21 [3,000 kB]",
        "Unpacking xvfb (2:21.1.7-3) ...",
        "Setting up xvfb (2:21.1.7-3) ...",
    ):
        lines.show(line, step)
    assert [fraction for _, fraction in shown] == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_no_apt(monkeypatch: pytest.MonkeyPatch, step: Step, tmp_path: Path) -> None:
    monkeypatch.setattr(apt.shutil, "which", lambda name: None)
    need = Need("FFmpeg", ("ffmpeg",), lambda: False)
    with pytest.raises(SetupError, match=r"no apt-get.*ffmpeg"):
        apt.install([need], tmp_path, step, HERE)


def test_no_sudo_names_the_command(monkeypatch: pytest.MonkeyPatch, step: Step, tmp_path: Path) -> None:
    monkeypatch.setattr(apt.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(apt.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    need = Need("FFmpeg", ("ffmpeg",), lambda: False)
    with pytest.raises(SetupError, match="sudo apt-get install --no-install-recommends ffmpeg"):
        apt.install([need], tmp_path, step, HERE)


@pytest.mark.parametrize(
    ("there", "said", "fine"),
    [
        ("obs", "OBS Studio - 29.0.2.1-1+b1 (linux)", True),
        ("obs", "OBS Studio - 27.2.4 (linux)", False),
        ("apt-cache", "Package: obs-studio\nVersion: 27.2.3+dfsg1-1\nInstalled-Size: 1", False),
        ("apt-cache", "Package: obs-studio\nVersion: 1:30.0.2-3build1", True),
        ("apt-cache", "", True),
    ],
)
def test_an_old_obs_is_refused(monkeypatch: pytest.MonkeyPatch, there: str, said: str, fine: bool) -> None:
    monkeypatch.setattr(apt.shutil, "which", lambda name: name if name == there else None)
    monkeypatch.setattr(apt.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=said))
    with nullcontext() if fine else pytest.raises(SetupError, match="needs OBS 28 or newer"):
        apt.require_recent_obs()


def test_launcher_of_the_unpacked_sound_server(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    (folder / "usr/lib/x/pulseaudio").mkdir(parents=True)
    (folder / "usr/lib/pulse-16/modules").mkdir(parents=True)
    program = folder / "usr/bin/pulseaudio"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH $@"\n')
    program.chmod(0o755)
    unpacked._write_launcher(folder)
    said = subprocess.run([folder / "bin/pulseaudio", "-n"], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{folder}/usr/lib/x/pulseaudio:{folder}/usr/lib/pulse-16/modules")
    assert said.rstrip().endswith(f"--dl-search-path={folder}/usr/lib/pulse-16/modules -n")


# ---- the environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "none"\n[project]\nname = "x"\nversion = "1"\n'
    )
    return tmp_path


def test_a_dead_environment_is_made_anew(checkout: Path, step: Step) -> None:
    env = Environment(checkout, HERE)
    assert not env.alive()
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to("/no/such/python")
    assert not env.alive()
    env.create(step)
    assert env.alive()


def test_stamp_follows_the_requirements(checkout: Path) -> None:
    env = Environment(checkout, HERE)
    env.folder.mkdir()
    assert not env.packages_current()
    env.write_stamp(packages=env._packages_digest(), kernels=env._kernels_digest())
    assert env.packages_current()
    assert env.kernels_current()
    (checkout / "requirements.txt").write_text("numpy\n")
    assert not env.packages_current()
    (env.folder / environment.STAMP_NAME).write_text("{ not json")
    assert not env.kernels_current()


def test_a_full_disk_is_said_before_anything_is_fetched(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=100_000_000))
    with pytest.raises(SetupError, match=r"0\.1 GB free"):
        Environment(checkout, HERE).require_room()


def test_a_folder_that_cannot_be_written_to(checkout: Path, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.os, "access", lambda path, mode: False)
    with pytest.raises(SetupError, match="cannot be written to"):
        Environment(checkout, HERE).create(step)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ERROR: No matching distribution found for ai-edge-litert>=2.0", "no ready-made package ai-edge-litert"),
        (
            "Failed to establish a new connection: [Errno -2]\nERROR: No matching distribution found for numpy>=2",
            "Check the network",
        ),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: odd", "ERROR: odd"),
    ],
)
def test_pip_errors_become_words(text: str, words: str) -> None:
    assert words in environment._explain(Output(1, text))


# ---- platforms


def test_everything_needed_is_named_once() -> None:
    needs = platforms._needs(ROOT)
    packages = [package for need in needs for package in need.packages]
    assert len(set(packages)) == len(packages)


def test_pipewire_desktops_keep_their_sound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platforms.shutil, "which", lambda name: "/usr/bin/pipewire" if name == "pipewire" else None)
    need = platforms._pulseaudio(tmp_path)
    assert need.beside
    assert not need.present()
    launcher = platforms.unpacked_folder(tmp_path) / "bin/pulseaudio"
    launcher.parent.mkdir(parents=True)
    launcher.touch()
    assert need.present()


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_what_the_user_must_install(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "system_name", lambda: system)
    text = "\n".join(platforms.manual_steps())
    assert "https://obsproject.com/download" in text
    assert ("https://vb-audio.com/Cable/" if system == "windows" else "https://existential.audio/blackhole/") in text
    assert platforms.missing_needs(ROOT) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can start programs for others")
def test_sudo_leaves_the_checkout_to_its_owner(tmp_path: Path) -> None:
    import pwd

    person = next(entry for entry in pwd.getpwall() if entry.pw_uid > 0)
    os.chown(tmp_path, person.pw_uid, person.pw_gid)
    account = platforms.owner_account(tmp_path, {"SUDO_UID": str(person.pw_uid), "HOME": "/root"})
    assert account.env["HOME"] == person.pw_dir
    done = subprocess.run(["id", "-u"], capture_output=True, text=True, check=True, **account.popen)
    assert int(done.stdout) == person.pw_uid
    assert platforms.owner_account(tmp_path, {"HOME": "/root"}).popen == {}
    os.chown(tmp_path, 0, 0)
    assert platforms.owner_account(tmp_path, {"SUDO_UID": str(person.pw_uid)}).popen == {}


# ---- the command


def test_old_pythons_can_read_the_file() -> None:
    import ast

    ast.parse((ROOT / "installer/bootstrap.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_wrong_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bootstrap.main(["install"])
    assert "invalid choice" in capsys.readouterr().err


def test_set_up_errors_are_words_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*, training: bool) -> Environment:
        raise SetupError("The disk is full.")

    monkeypatch.setattr(bootstrap, "set_up", refuse)
    assert bootstrap.main(["demo"]) == 2
    assert capsys.readouterr().err == "\nThe disk is full.\n"

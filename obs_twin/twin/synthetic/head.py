"""A person's head, neck and shoulders as one mesh that can be posed.

The coarse mesh holds the skin, tongue and procedural teeth; `Head.pose` adds face units, turns the head on the neck,
and refines the result with Catmull-Clark. All lengths are decimetres, the origin lies between the eyes of the neutral
head, x to the person's left, y up, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .base_mesh import SKIN_MASKS, BaseMeshFile
from .geometry import affine
from .people import Person
from .subdivide import SparseMatrix, catmull_clark

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

SKIN, CLOTH, TONGUE, TEETH, GUMS, EYE = range(6)

FACE_UNITS = (
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("eyeBlinkLeft", "eyeBlinkRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight"),
    *("eyeLookUpLeft", "eyeLookUpRight", "eyeLookDownLeft", "eyeLookDownRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight"),
    *("jawOpen", "jawForward", "jawLeft", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower"),
    *("mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight"),
    *("mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight", "mouthStretchLeft"),
    *("mouthStretchRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("mouthLowerDownLeft", "mouthLowerDownRight"),
)


@dataclass(frozen=True)
class Pose:
    """Where a head is and what its face does.

    Attributes
    ----------
    units : face unit -> 0..1
    yaw, pitch, roll : degrees; yaw to the person's left, pitch up, roll towards the person's left shoulder
    gaze_yaw, gaze_pitch : degrees, of the eyes relative to the head
    shift : metres are too coarse: decimetres, of the whole head against the shoulders
    """

    units: dict[str, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze_yaw: float = 0.0
    gaze_pitch: float = 0.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


def rotation(yaw: float, pitch: float, roll: float) -> FloatArray:
    """(3, 3) rotation of column vectors, angles in degrees: roll, then pitch, then yaw."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z, np.float32)


@dataclass(frozen=True)
class Topology:
    """The refined mesh: matrices from coarse to fine, triangles, and what each triangle is made of."""

    matrices: tuple[SparseMatrix, ...]
    quads: IntArray
    triangles: IntArray
    material: npt.NDArray[np.uint8]

    def refine(self, coarse: FloatArray) -> FloatArray:
        for matrix in self.matrices:
            coarse = matrix @ coarse
        return coarse


class Head:
    """One person's posable mesh.

    Parameters
    ----------
    person : whose head
    source : the base mesh
    level : how often the coarse mesh is refined; 1 for video, 2 for stills
    """

    def __init__(self, person: Person, source: BaseMeshFile, level: int) -> None:
        self.person = person
        mesh = source.mesh()
        count = len(mesh.vertices)
        shaped = mesh.vertices.copy()
        for name, weight in person.shape.items():
            shaped += np.float32(weight) * source.shape(name, count)
        left_eye = shaped[np.unique(mesh.groups["helper-l-eye"])]
        right_eye = shaped[np.unique(mesh.groups["helper-r-eye"])]
        shaped -= 0.25 * (left_eye.max(0) + left_eye.min(0) + right_eye.max(0) + right_eye.min(0))
        _lower_arms(shaped, mesh.groups)
        units = {name: source.face_unit(name, count) for name in FACE_UNITS}
        for name, weight in person.resting_face.items():
            shaped += np.float32(weight) * units[name]

        body = mesh.groups["body"]
        body = body[mesh.vertices[body][:, :, 1].min(axis=1) > 3.2]
        tongue = mesh.groups["helper-tongue"]
        used, inverse = np.unique(np.concatenate([body, tongue]), return_inverse=True)
        quads = inverse.reshape(-1, 4).astype(np.int32)
        material = np.concatenate([np.full(len(body), SKIN), np.full(len(tongue), TONGUE)]).astype(np.uint8)
        self.coarse = np.ascontiguousarray(shaped[used])
        self.units = {name: np.ascontiguousarray(offsets[used]) for name, offsets in units.items()}

        self.eye_centres = np.stack(
            [0.5 * (shaped[ids].max(0) + shaped[ids].min(0)) for ids in self._eye_ids(mesh.groups)]
        ).astype(np.float32)
        left = np.linalg.norm(shaped[np.unique(mesh.groups["helper-l-eye"])] - self.eye_centres[0], axis=1)
        self.eye_radius = float(np.median(left))

        self.coarse_skin = quads[: len(body)]
        self._lash_vertices = {
            f"{side}{row}": np.unique(mesh.groups[f"helper-{side}-eyelashes-{row}"]) for side in "lr" for row in (1, 2)
        }
        self._lash_base = shaped
        self._lash_units = units
        uv = source.texture_coordinates(used)

        lips = _sample(source.mask("lips"), uv) > 0.5
        lip_points = self.coarse[lips]
        mouth_y = float(0.5 * (lip_points[:, 1].max() + lip_points[:, 1].min()))
        teeth_vertices, teeth_quads, teeth_material, carriers = _teeth(shaped, mesh.groups, mouth_y)
        quads = np.concatenate([quads, teeth_quads + len(self.coarse)]).astype(np.int32)
        material = np.concatenate([material, teeth_material])
        self.coarse = np.concatenate([self.coarse, teeth_vertices])
        self.units = {
            name: np.concatenate([offsets, units[name][carriers].mean(axis=1)]).astype(np.float32)
            for name, offsets in self.units.items()
        }
        self.topology = _refine(quads, material, len(self.coarse), level)
        self.rest = self.topology.refine(self.coarse)
        self.masks = self._masks(source, np.concatenate([uv, np.zeros((len(teeth_vertices), 2), np.float32)]))
        self.neck_pivot = np.array([0.0, -1.05, -0.85], np.float32)
        self.follow = head_weight(self.coarse)

    def _masks(self, source: BaseMeshFile, uv: FloatArray) -> dict[str, FloatArray]:
        """Region -> (V,) float32 0..1 on the fine mesh."""
        fine_uv = self.topology.refine(uv)
        masks = {}
        for name in SKIN_MASKS:
            picture = gaussian_blur(source.mask(name), 1.2)
            # Where the texture's seams cross, interpolated coordinates mean nothing: trust the corners there.
            near = self.topology.refine(_sample(picture, uv)[:, None])[:, 0] > 0.02
            masks[name] = np.where(near, _sample(picture, fine_uv), 0.0).astype(np.float32)
        return masks

    @staticmethod
    def _eye_ids(groups: dict[str, IntArray]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return np.unique(groups["helper-l-eye"]), np.unique(groups["helper-r-eye"])

    def lash_cards(self) -> tuple[FloatArray, dict[str, FloatArray], list[list[npt.NDArray[np.int64]]]]:
        """Vertices of the lash cards (L, 3), their face units, and the cards of the left and of the right eye as ids.

        Each eye has two cards, of the upper and of the lower lid, in no certain order.
        """
        ids = np.concatenate(list(self._lash_vertices.values()))
        order = np.sort(ids)
        cards = [[np.searchsorted(order, self._lash_vertices[f"{side}{row}"]) for row in (1, 2)] for side in "lr"]
        units = {name: np.ascontiguousarray(offsets[order]) for name, offsets in self._lash_units.items()}
        return np.ascontiguousarray(self._lash_base[order]), units, cards

    def expression(self, pose: Pose) -> FloatArray:
        """Coarse vertices with the face units added, head not turned."""
        coarse = self.coarse.copy()
        for name, weight in pose.units.items():
            if abs(weight) > 1e-4:
                coarse += np.float32(weight) * self.units[name]
        return coarse

    def pose(self, pose: Pose) -> FloatArray:
        """Fine vertices (V, 3) of the posed head."""
        coarse = self.expression(pose)
        return self.topology.refine(self.turn(coarse, pose, self.follow))

    def turn(self, points: FloatArray, pose: Pose, follow: FloatArray | float = 1.0) -> FloatArray:
        """Turn rest-frame ``points`` (N, 3) with the head; ``follow`` (N,) is how much each follows it (1: all)."""
        weight = np.asarray(follow, np.float32)
        if weight.ndim == 0:
            matrix = rotation(pose.yaw, pose.pitch, pose.roll)
            offset = self.neck_pivot - matrix @ self.neck_pivot + np.asarray(pose.shift, np.float32)
            return affine(np.ascontiguousarray(points, np.float32), matrix, offset.astype(np.float32))
        out = np.empty_like(points)
        # The neck twists along its length: quantise the weight, so that few matrices are needed.
        steps = np.rint(weight * 24).astype(np.int32)
        for step in np.unique(steps):
            w = step / 24.0
            sel = steps == step
            part = Pose({}, pose.yaw * w, pose.pitch * w, pose.roll * w, shift=tuple(s * w for s in pose.shift))
            out[sel] = self.turn(points[sel], part)
        return out


def _sample(picture: FloatArray, uv: FloatArray) -> FloatArray:
    height, width = picture.shape
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1).astype(np.float32)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1).astype(np.float32)
    return np.concatenate(
        [
            cv2.remap(picture, x[i : i + 30000], y[i : i + 30000], cv2.INTER_LINEAR).reshape(-1)
            for i in range(0, len(x), 30000)
        ]
    ).astype(np.float32)


def head_weight(points: FloatArray) -> FloatArray:
    """How much each point follows the head: 1 on the skull, falling along the neck to 0 at the collar bones."""
    # The line along which the neck bends runs down and forward: the nape is fixed lower than the throat.
    height = points[:, 1] + 0.25 * (points[:, 2] + 0.8)
    t = np.clip((height + 2.15) / 1.05, 0.0, 1.0)
    weight = t * t * (3.0 - 2.0 * t)
    # Shoulders and the sides of the neck's root stay.
    out = np.clip((np.hypot(points[:, 0], points[:, 2] + 0.85) - 0.62) / 0.55, 0.0, 1.0)
    low = np.clip((-0.95 - points[:, 1]) / 0.35, 0.0, 1.0)
    return np.asarray(weight * (1 - out * low), np.float32)


def _lower_arms(vertices: FloatArray, groups: dict[str, IntArray]) -> None:
    """Let the arms hang (the base mesh holds them away from the body)."""
    for side, sign in (("l", 1.0), ("r", -1.0)):
        shoulder = vertices[np.unique(groups[f"joint-{side}-shoulder"])].mean(axis=0)
        elbow = vertices[np.unique(groups[f"joint-{side}-elbow"])].mean(axis=0)
        along = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
        t = np.clip(((vertices - shoulder) @ along + 0.55) / 1.1, 0.0, 1.0)
        t = t * t * (3 - 2 * t) * (sign * vertices[:, 0] > 0.9)
        angle = np.radians(-24.0) * sign * t
        c, s = np.cos(angle), np.sin(angle)
        dx, dy = vertices[:, 0] - shoulder[0], vertices[:, 1] - shoulder[1]
        vertices[:, 0] = shoulder[0] + c * dx - s * dy
        vertices[:, 1] = shoulder[1] + s * dx + c * dy


def _refine(quads: IntArray, material: npt.NDArray[np.uint8], count: int, level: int) -> Topology:
    matrices = []
    for _ in range(level):
        quads, matrix = catmull_clark(quads, count)
        material = np.repeat(material, 4)
        count = matrix.rows
        matrices.append(matrix)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return Topology(tuple(matrices), quads, triangles, np.concatenate([material, material]))


@dataclass(frozen=True)
class _Arch:
    """The curve along which teeth stand."""

    centre_x: float
    half_width: float
    depth: float
    front_z: float

    def at(self, s: float) -> tuple[FloatArray, FloatArray]:
        """Point and outward direction after walking ``s`` along the arch from its middle."""
        theta = np.clip(s / (0.62 * (self.half_width + self.depth)), -1.0, 1.0) * (np.pi / 2)
        x = self.centre_x + self.half_width * np.sin(theta)
        point = np.array([x, 0.0, self.front_z - self.depth * (1 - np.cos(theta))], np.float32)
        out = np.array([np.sin(theta) / self.half_width, 0.0, np.cos(theta) / self.depth])
        return point, np.asarray(out / np.linalg.norm(out), np.float32)


_TOOTH_WIDTHS = (0.085, 0.068, 0.078, 0.072, 0.070, 0.095)


def _teeth(
    shaped: FloatArray, groups: dict[str, IntArray], mouth_y: float
) -> tuple[FloatArray, IntArray, npt.NDArray[np.uint8], IntArray]:
    """Rows of rounded teeth and gums along the arches that the base mesh's teeth blocks mark.

    Returns vertices, quads, the material of each quad, and for each vertex the four of the base mesh that carry it.
    """
    vertices: list[FloatArray] = []
    quads: list[IntArray] = []
    material: list[int] = []
    nearest: list[IntArray] = []
    offset = 0
    for group, up in (("helper-upper-teeth", 1.0), ("helper-lower-teeth", -1.0)):
        ids = np.unique(groups[group])
        block = shaped[ids]
        lo, hi = block.min(0), block.max(0)
        front = block[block[:, 2] > hi[2] - 0.12]
        # The upper incisors end just below the line where the lips meet, and stand in front of the lower ones.
        edge_y = mouth_y - (0.012 if up > 0 else 0.030)
        half_width, depth = 0.5 * (hi[0] - lo[0]) * 0.82, (hi[2] - lo[2]) * 0.95
        centre_x = 0.5 * (hi[0] + lo[0])
        front_z = float(front[:, 2].max()) - (0.015 if up > 0 else 0.045)
        arch = _Arch(centre_x, half_width, depth, front_z)
        size = 1.0 if up > 0 else 0.86
        height = 0.115 if up > 0 else 0.10

        place = 0.0
        for number, width in enumerate(_TOOTH_WIDTHS):
            width *= size
            for side in (-1.0, 1.0):
                point, out = arch.at(side * (place + width / 2))
                along = np.array([out[2], 0.0, -out[0]], np.float32)
                long = height * (1.06 if number == 2 else 1.0 if number == 0 else 0.94)
                ball, ball_quads = _rounded_box()
                scale_x, scale_y, scale_z = width * 0.5, long * 0.62, 0.042
                tooth = (
                    point
                    + ball[:, :1] * along * scale_x
                    + ball[:, 2:] * out * scale_z
                    + np.array([0, 1, 0], np.float32)
                    * (edge_y + up * (scale_y - 0.004 * number) + ball[:, 1:2] * scale_y)
                )
                tooth = tooth.astype(np.float32)
                vertices.append(tooth)
                quads.append(ball_quads + offset)
                material += [TEETH] * len(ball_quads)
                offset += len(tooth)
            place += width
        rings = []
        for s in np.linspace(-place, place, 25):
            point, out = arch.at(float(s))
            ring = [
                point + out * dz + np.array([0, edge_y + up * dy, 0])
                for dz, dy in (
                    (0.005, 0.085),
                    (0.022, 0.11),
                    (0.015, 0.19),
                    (-0.05, 0.20),
                    (-0.07, 0.16),
                    (-0.05, 0.09),
                )
            ]
            rings.append(np.array(ring, np.float32))
        gum = np.concatenate(rings)
        gum_quads = np.array(
            [
                [r * 6 + k, r * 6 + (k + 1) % 6, (r + 1) * 6 + (k + 1) % 6, (r + 1) * 6 + k]
                for r in range(24)
                for k in range(6)
            ],
            np.int32,
        )
        if up > 0:
            gum_quads = gum_quads[:, ::-1]
        vertices.append(gum)
        quads.append(gum_quads + offset)
        material += [GUMS] * len(gum_quads)
        offset += len(gum)
        here = np.concatenate(vertices)[sum(len(n) for n in nearest) :]
        distance = np.linalg.norm(here[:, None] - block[None], axis=2)
        nearest.append(ids[np.argsort(distance, axis=1)[:, :4]])
    return (
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(quads).astype(np.int32),
        np.asarray(material, np.uint8),
        np.concatenate(nearest),
    )


def _rounded_box() -> tuple[FloatArray, IntArray]:
    """A cube's surface, 3x3 quads a side, for Catmull-Clark to round; (56, 3) vertices in -1..1."""
    points: dict[tuple[int, int, int], int] = {}
    quads: list[list[int]] = []
    grid = (-1.0, -0.62, 0.62, 1.0)

    def index(p: tuple[int, int, int]) -> int:
        return points.setdefault(p, len(points))

    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for end in (0, 3):
            for i in range(3):
                for j in range(3):
                    corners = []
                    for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
                        p = [0, 0, 0]
                        p[axis], p[u], p[v] = end, i + du, j + dv
                        corners.append(index((p[0], p[1], p[2])))
                    quads.append(corners if end == 3 else corners[::-1])
    vertices = np.array([[grid[a], grid[b], grid[c]] for a, b, c in points], np.float32)
    return vertices, np.array(quads, np.int32)


def sphere(rings: int, sectors: int) -> tuple[FloatArray, IntArray]:
    """A unit sphere whose pole looks along +z: (V, 3) vertices, (T, 3) triangles, front outward."""
    polar = np.linspace(0.0, np.pi, rings + 1)[:, None]
    around = np.linspace(0.0, 2 * np.pi, sectors, endpoint=False)[None]
    x, y = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)
    z = np.broadcast_to(np.cos(polar), x.shape)
    vertices = np.stack([x, y, z], axis=2).reshape(-1, 3).astype(np.float32)
    triangles = []
    for r in range(rings):
        for s in range(sectors):
            a, b = r * sectors + s, r * sectors + (s + 1) % sectors
            c, d = a + sectors, b + sectors
            triangles += [[a, c, d], [a, d, b]]
    return vertices, np.array(triangles, np.int32)


def gaussian_blur(image: FloatArray, sigma: float) -> FloatArray:
    """OpenCV's Gaussian blur, typed."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)

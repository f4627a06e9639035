"""Drawing a person: camera, geometry of the moment, light, pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from . import shading
from .base_mesh import BaseMeshFile
from .clothes import Clothing, dress
from .hair import SkinHair, grow_brows, grow_lashes, grow_scalp_hair, head_field, scalp, shade
from .head import EYE, SKIN, Head, Pose, gaussian_blur, rotation, sphere
from .light import Rig, Strands, adjacency, ambient_occlusion, irradiance, scatter, visibility
from .people import Person
from .raster import VisibilityBuffer, draw_strands, draw_triangles, vertex_normals
from .skin import paint

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Camera:
    """A camera on the z axis that looks along -z.

    Attributes
    ----------
    width, height : pixels
    focal_px : focal length
    distance_dm : from the camera to the plane of the eyes
    centre_x, centre_y : where on the picture the origin (between the resting eyes) falls, 0..1
    """

    width: int
    height: int
    focal_px: float
    distance_dm: float = 8.5
    centre_x: float = 0.5
    centre_y: float = 0.42

    def scaled(self, factor: int) -> Camera:
        return Camera(
            self.width * factor,
            self.height * factor,
            self.focal_px * factor,
            self.distance_dm,
            self.centre_x,
            self.centre_y,
        )

    def project(self, points: FloatArray) -> FloatArray:
        """(N, 3) decimetres to (N, 3): pixel x, pixel y, depth."""
        depth = self.distance_dm - points[:, 2]
        return np.stack(
            [
                self.centre_x * self.width + self.focal_px * points[:, 0] / depth,
                self.centre_y * self.height - self.focal_px * points[:, 1] / depth,
                depth,
            ],
            axis=1,
        ).astype(np.float32)

    @property
    def position(self) -> FloatArray:
        return np.array([0, 0, self.distance_dm], np.float32)


class PersonRenderer:
    """Draws one person in any pose.

    Parameters
    ----------
    person : who
    source : the base mesh
    level : refinement of the mesh; 1 for video, 2 for stills
    strand_factor : how many times the person's strands of hair (stills need more)
    """

    def __init__(self, person: Person, source: BaseMeshFile, level: int, strand_factor: float = 1.0) -> None:
        self.person = person
        self.head = Head(person, source, level)
        self.level = level
        head = self.head
        self.paint = paint(head, scalp(head))
        self.clothing: Clothing = dress(head)
        self._starts, self._neighbours = adjacency(head.topology.quads, len(head.rest))
        self.field = head_field(head)
        self.hair = grow_scalp_hair(head, self.field, int(person.hair.strands * strand_factor))
        self.hair_shade = 0.16 / strand_factor
        self.brows: SkinHair = grow_brows(head)
        self.lashes = grow_lashes(head)
        self._ball, self._ball_triangles = sphere(40, 48)
        self._inner = np.zeros(len(head.rest), np.float32)
        self._inner[head.topology.triangles[head.topology.material >= 2]] = 1.0
        inside = np.clip(head.masks["inside-mouth"] * (1 - 1.5 * head.masks["lips"]), 0, 1)
        self._inner = np.maximum(self._inner, inside).astype(np.float32)
        rest_normals = vertex_normals(head.rest, head.topology.triangles)
        self.occlusion = ambient_occlusion(
            head.rest, rest_normals, head.topology.triangles, self._strands(self.hair.vertices)
        )
        cloth_normals = vertex_normals(self.clothing.vertices, self.clothing.triangles)
        self._cloth_occlusion = ambient_occlusion(
            self.clothing.vertices, cloth_normals, head.topology.triangles, None, 24
        )

    def _strands(self, vertices: FloatArray) -> Strands:
        return Strands(vertices, self.hair.points, self.hair_shade)

    def draw(self, pose: Pose, camera: Camera, rig: Rig, detail: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Draw the person.

        Parameters
        ----------
        pose, camera, rig : what, from where, in which light
        detail : strength of pores and weave, 1 for stills

        Returns
        -------
        (H, W, 3) float32 linear RGB, and (H, W) float32 coverage 0 or 1, at the camera's resolution.
        """
        head, topology = self.head, self.head.topology
        turn = rotation(pose.yaw, pose.pitch, pose.roll)
        fine = head.pose(pose)
        normals = vertex_normals(fine, topology.triangles)
        hair = head.turn(self.hair.vertices, pose)
        directions = rig.directions()
        key_shadow = visibility(
            fine, fine, topology.triangles, directions[0], rig.lights[0].softness, self._strands(hair)
        )
        mouth = self._mouth_darkness(pose)
        # Teeth and tongue lie in the dark of the resting mouth; how much light an open one lets in is told by `mouth`.
        occlusion = np.maximum(self.occlusion, self._inner * 0.75) * mouth
        key_shadow = np.maximum(key_shadow, 0.5 * self._inner)
        light = irradiance(normals, rig, [key_shadow * mouth] + [None] * (len(rig.lights) - 1), occlusion)
        rounds = np.array([7, 3, 2], np.int32) * (1 if self.level == 1 else 3)
        light = scatter(light, self._starts, self._neighbours, self.paint.translucency, rounds.astype(np.int32))
        skin_table = self._table(
            head.rest,
            normals,
            fine,
            self.paint.albedo,
            light,
            key_shadow * mouth,
            self.paint.gloss,
            self.paint.roughness,
            self.paint.stubble,
            occlusion**1.5,
        )

        cloth = self.clothing
        cloth_at = head.turn(cloth.vertices, pose, cloth.follow)
        cloth_normals = vertex_normals(cloth_at, cloth.triangles)
        casters = np.concatenate([fine, cloth_at])
        cast_by = np.concatenate([topology.triangles, cloth.triangles + len(fine)]).astype(np.int32)
        cloth_shadow = visibility(
            cloth_at, casters, cast_by, directions[0], rig.lights[0].softness, self._strands(hair)
        )
        cloth_light = irradiance(
            cloth_normals, rig, [cloth_shadow] + [None] * (len(rig.lights) - 1), self._cloth_occlusion * cloth.crease
        )
        n = len(cloth_at)
        cloth_table = self._table(
            cloth.vertices,
            cloth_normals,
            cloth_at,
            cloth.albedo,
            cloth_light,
            cloth_shadow,
            np.zeros(n),
            np.ones(n),
            np.zeros(n),
            self._cloth_occlusion,
        )

        balls, eye_turns = [], []
        for centre in head.eye_centres:
            eye_turn = turn @ rotation(pose.gaze_yaw, pose.gaze_pitch, 0)
            eye_turns.append(eye_turn)
            balls.append(head.turn(centre[None], pose) + (self._ball * head.eye_radius * 0.985) @ eye_turn.T)
        eyes = np.concatenate(balls).astype(np.float32)
        unit = np.concatenate([self._ball, self._ball])
        eye_normals = np.concatenate([self._ball @ t.T for t in eye_turns]).astype(np.float32)
        eye_shadow = visibility(eyes, fine, topology.triangles, directions[0], 0.03, self._strands(hair))
        eye_light = irradiance(
            eye_normals, rig, [eye_shadow] + [None] * (len(rig.lights) - 1), np.full(len(eyes), 0.8, np.float32)
        )
        ones = np.ones(len(eyes), np.float32)
        eye_table = self._table(
            unit, eye_normals, eyes, np.ones((len(eyes), 3)), eye_light, eye_shadow, ones, ones, ones, ones
        )

        world = np.concatenate([fine, cloth_at, eyes])
        table = np.ascontiguousarray(np.concatenate([skin_table, cloth_table, eye_table]), np.float32)
        ball_count = len(self._ball)
        triangles = np.concatenate(
            [
                topology.triangles,
                cloth.triangles + len(fine),
                self._ball_triangles + len(fine) + len(cloth_at),
                self._ball_triangles + len(fine) + len(cloth_at) + ball_count,
            ]
        ).astype(np.int32)
        material = np.concatenate(
            [
                topology.material,
                np.full(len(cloth.triangles), 1, np.uint8),
                np.full(2 * len(self._ball_triangles), EYE, np.uint8),
            ]
        )
        screen = camera.project(world)
        buffer = VisibilityBuffer.empty(camera.height, camera.width)
        draw_triangles(screen, triangles, False, buffer.depth, buffer.triangle, buffer.weights)

        image = np.zeros((camera.height, camera.width, 3), np.float32)
        sky = np.asarray(rig.sky, np.float32)
        shading.shade_surface(
            buffer.triangle,
            buffer.weights,
            triangles,
            material,
            table,
            directions,
            rig.colours(),
            sky,
            camera.position,
            detail,
            image,
        )
        first_right = len(triangles) - len(self._ball_triangles)
        shading.shade_eyes(
            buffer.triangle,
            buffer.weights,
            triangles,
            material,
            table,
            np.stack(eye_turns),
            first_right,
            np.asarray(self.person.eyes.iris_inner, np.float32),
            np.asarray(self.person.eyes.iris_outer, np.float32),
            directions,
            rig.colours(),
            sky,
            camera.position,
            self._lid_shade(buffer.triangle, material, camera),
            self.person.seed,
            image,
        )
        covered = (buffer.triangle >= 0).astype(np.float32)
        self._draw_hair(pose, turn, fine, hair, camera, rig, buffer, image)
        covered = np.maximum(covered, (buffer.depth < 1e8).astype(np.float32))
        return image, covered

    def _mouth_darkness(self, pose: Pose) -> FloatArray:
        """(V,) what little light reaches teeth, tongue and the inside of the mouth, the less the further back."""
        head = self.head
        rest = head.rest
        lips_front = rest[head.masks["lips"] > 0.5][:, 2].max()
        depth = np.clip(lips_front - rest[:, 2], 0, None)
        opening = 0.6 + 0.4 * min(1.0, pose.units.get("jawOpen", 0.0) * 2.5)
        dark = np.exp(-2.6 * np.maximum(depth - 0.12, 0)) * opening
        return np.asarray(1 + (dark - 1) * self._inner, np.float32)

    @staticmethod
    def _lid_shade(triangle: IntArray, material: npt.NDArray[np.uint8], camera: Camera) -> FloatArray:
        """(H, W) 0..1: the lids' shadow on the eyes, most under the upper lid. Found from what of the eyes is seen."""
        mask = ((triangle >= 0) & (material[np.maximum(triangle, 0)] == EYE)).astype(np.float32)
        if not mask.any():
            return mask
        pixel = camera.focal_px / camera.distance_dm  # pixels to a decimetre
        soft = gaussian_blur(mask, max(0.022 * pixel, 0.6))
        drop = np.float32(0.032 * pixel)
        lowered = cv2.warpAffine(soft, np.array([[1, 0, 0], [0, 1, drop]], np.float32), (mask.shape[1], mask.shape[0]))
        open_side = np.clip((soft - 0.35) / 0.6, 0, 1)
        open_top = np.clip((lowered - 0.05) / 0.85, 0, 1)
        return np.asarray((0.25 + 0.75 * open_side) * (0.30 + 0.70 * open_top), np.float32)

    def _draw_hair(
        self,
        pose: Pose,
        turn: FloatArray,
        fine: FloatArray,
        hair: FloatArray,
        camera: Camera,
        rig: Rig,
        buffer: VisibilityBuffer,
        image: FloatArray,
    ) -> None:
        head, style = self.head, self.person.hair
        key = rig.directions()[0]
        centre = head.turn(np.array([[0, 0.25, -0.75]], np.float32), pose)[0]
        outward = hair - centre
        # Below the skull hair hangs like a curtain: what counts there is the direction from the neck's axis.
        below = np.clip((centre[1] - hair[:, 1]) / 0.5, 0, 1)[:, None]
        outward = outward * (1 - below * np.array([0, 1, 0], np.float32))
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
        blocked = visibility(hair, fine, head.topology.triangles, key, 0.06, None)
        occlusion = np.clip(self.hair.occlusion, 0.03, 1)
        colour = shade(
            hair, self.hair.points, self.hair.tone, style.colour, style.highlight, rig, camera.position,
            blocked * occlusion**0.8, occlusion, outward.astype(np.float32),
        )  # fmt: skip
        draw_strands(camera.project(hair), colour, self.hair.points, 0.0, buffer.depth, image, self.hair.opacity)

        brows = self.brows.at(fine, turn)
        normals = np.repeat(brows.reshape(-1, self.brows.points, 3)[:, :1] - centre, self.brows.points, axis=1)
        normals = normals.reshape(-1, 3) / (np.linalg.norm(normals.reshape(-1, 3), axis=1, keepdims=True))
        lit = visibility(brows, fine, head.topology.triangles, key, 0.05, self._strands(hair))
        colour = shade(
            brows, self.brows.points, self.brows.tone, style.brow_colour, style.highlight, rig, camera.position,
            lit, np.full(len(brows), 0.6, np.float32), normals.astype(np.float32),
        )  # fmt: skip
        along = np.tile(np.linspace(0, 1, self.brows.points, dtype=np.float32), len(self.brows.offsets))
        draw_strands(
            camera.project(brows), colour * 0.8, self.brows.points, 0.03, buffer.depth, image, 0.75 * (1 - 0.6 * along)
        )

        lashes = head.turn(self.lashes.at(pose.units), pose)
        dark = np.tile(np.array([0.010, 0.007, 0.006], np.float32), (len(lashes), 1))
        along = np.tile(np.linspace(0, 1, self.lashes.points, dtype=np.float32), len(self.lashes.ids))
        draw_strands(
            camera.project(lashes),
            dark,
            self.lashes.points,
            0.02,
            buffer.depth,
            image,
            (0.85 * (1 - 0.75 * along)).astype(np.float32),
        )

    @staticmethod
    def _table(
        rest: FloatArray,
        normals: FloatArray,
        world: FloatArray,
        albedo: npt.NDArray[np.floating],
        light: FloatArray,
        key: FloatArray,
        gloss: npt.NDArray[np.floating],
        rough: npt.NDArray[np.floating],
        stubble: npt.NDArray[np.floating],
        opening: FloatArray,
    ) -> FloatArray:
        columns = [rest, normals, world, albedo, light] + [c[:, None] for c in (key, gloss, rough, stubble, opening)]
        return np.concatenate(columns, axis=1).astype(np.float32)


def develop(linear: FloatArray, exposure: float = 1.0) -> npt.NDArray[np.uint8]:
    """Linear RGB to an 8-bit BGR picture, as a camera with a soft shoulder would."""
    x = np.maximum(linear * np.float32(exposure * 0.8), 0)
    # Narkowicz's fit of the ACES film curve.
    y = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    srgb = np.where(y <= 0.0031308, 12.92 * y, 1.055 * np.power(np.maximum(y, 1e-6), 1 / 2.4) - 0.055)
    return np.ascontiguousarray(np.rint(srgb[..., ::-1] * 255).astype(np.uint8))


def shrink(image: FloatArray, factor: int) -> FloatArray:
    """Average ``factor`` by ``factor`` samples into one pixel."""
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA), np.float32)


def composite(person: FloatArray, covered: FloatArray, background: FloatArray, factor: int) -> FloatArray:
    """Put a supersampled person in front of a background of the final size; all linear RGB."""
    alpha = shrink(covered, factor)[..., None]
    return np.asarray(shrink(person * covered[..., None], factor) + background * (1 - alpha), np.float32)


_ = SKIN

"""Drawing a person: camera, geometry of the moment, light, pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from . import shading
from .base_mesh import BaseMeshFile
from .clothes import Clothing, dress
from .geometry import perspective, rotate
from .hair import SkinHair, grow_brows, grow_lashes, grow_scalp_hair, head_field, scalp, shade
from .head import CLOTH, EYE, Head, Pose, gaussian_blur, rotation, sphere
from .light import Rig, ShadowMap, Strands, adjacency, ambient_occlusion, irradiance, scatter
from .people import Person
from .raster import FAR, VisibilityBuffer, draw_strands, draw_triangles, vertex_normals
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

    def around(self, points: FloatArray, factor: int) -> tuple[Camera, int, int]:
        """A camera, finer by ``factor``, that sees just the part of the picture where ``points`` fall.

        Also returns that part's left and top edge in pixels of this camera's picture.
        """
        screen = self.project(points)
        x0, y0 = (int(np.clip(screen[:, k].min() - 3, 0, end - 2)) for k, end in ((0, self.width), (1, self.height)))
        x1, y1 = (int(np.clip(screen[:, k].max() + 3, 2, end)) for k, end in ((0, self.width), (1, self.height)))
        width, height = x1 - x0, y1 - y0
        part = Camera(
            width * factor,
            height * factor,
            self.focal_px * factor,
            self.distance_dm,
            (self.centre_x * self.width - x0) / width,
            (self.centre_y * self.height - y0) / height,
        )
        return part, x0, y0

    def project(self, points: FloatArray) -> FloatArray:
        """(N, 3) decimetres to (N, 3): pixel x, pixel y, depth."""
        centre = (self.centre_x * self.width, self.centre_y * self.height)
        return perspective(np.ascontiguousarray(points, np.float32), *centre, self.focal_px, self.distance_dm)

    @property
    def position(self) -> FloatArray:
        return np.array([0, 0, self.distance_dm], np.float32)


@dataclass(frozen=True)
class Drawing:
    """A drawn person, cut to where the person is.

    Attributes
    ----------
    colour : (h, w, 3) float32 linear RGB, times the coverage
    covered : (h, w) float32, 0..1
    x0, y0 : where the cut-out lies in the camera's picture
    """

    colour: FloatArray
    covered: FloatArray
    x0: int
    y0: int


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
        self.hair_shade = 0.11 / strand_factor
        self.brows: SkinHair = grow_brows(head)
        self.lashes = grow_lashes(head)
        self._ball, self._ball_triangles = sphere(40, 48)
        self._inner = np.zeros(len(head.rest), np.float32)
        self._inner[head.topology.triangles[head.topology.material >= 2]] = 1.0
        inside = np.clip(head.masks["inside-mouth"] * (1 - 1.5 * head.masks["lips"]), 0, 1)
        self._inner = np.maximum(self._inner, inside).astype(np.float32)
        self.occlusion, self._cloth_occlusion = self._surroundings()
        self._outward = self._hair_outward()
        self.hair.occlusion = np.clip(self.hair.occlusion, 0.08, 1).astype(np.float32)
        self._key_occlusion = (self.hair.occlusion**0.8).astype(np.float32)

    def _surroundings(self) -> tuple[FloatArray, FloatArray]:
        """How open to the surroundings skin and clothes are, at rest: found on the mesh refined once."""
        head, cloth = self.head, self.clothing
        normals = vertex_normals(head.rest, head.topology.triangles)
        # A sixth of the strands says how dense the hair is.
        some = self.hair.vertices.reshape(-1, self.hair.points, 3)[::6].reshape(-1, 3)
        strands = Strands(np.ascontiguousarray(some), self.hair.points, self.hair_shade * 3)
        last = head.topology.matrices[-1]
        coarse_count = int(last.columns.max()) + 1 if self.level > 1 else len(head.rest)
        coarse = head.rest[:coarse_count]  # Catmull-Clark keeps the old vertices in front
        occlusion = ambient_occlusion(coarse, normals[:coarse_count], head.rest, head.topology.triangles, strands)
        if self.level > 1:
            occlusion = (last @ occlusion[:, None])[:, 0]
        cloth_normals = vertex_normals(cloth.vertices, cloth.triangles)
        cloth_occlusion = ambient_occlusion(cloth.vertices, cloth_normals, head.rest, head.topology.triangles, None, 16)
        return occlusion, cloth_occlusion

    def _strands(self, vertices: FloatArray) -> Strands:
        return Strands(vertices, self.hair.points, self.hair_shade)

    def draw(self, pose: Pose, camera: Camera, rig: Rig, detail: float = 1.0, factor: int = 1) -> Drawing:
        """Draw the person.

        Parameters
        ----------
        pose, camera, rig : what, from where, in which light
        detail : strength of pores and weave, 1 for stills; below 1, neighbouring samples share their shading
        factor : samples along each side of a pixel
        """
        head, topology = self.head, self.head.topology
        turn = rotation(pose.yaw, pose.pitch, pose.roll)
        fine = head.pose(pose)
        hair = head.turn(self.hair.vertices, pose)
        cloth = head.turn(self.clothing.vertices, pose, self.clothing.follow)
        cloth_triangles = self.clothing.triangles + len(fine)
        shadow = ShadowMap(
            rig.directions()[0],
            np.concatenate([fine, cloth]),
            np.concatenate([topology.triangles, cloth_triangles]).astype(np.int32),
            self._strands(hair),
            rig.lights[0].softness,
        )
        eye_turns = np.stack([turn @ rotation(pose.gaze_yaw, pose.gaze_pitch, 0)] * 2)
        eyes, eye_table = self._eyes(pose, eye_turns, rig, shadow)
        world = np.concatenate([fine, cloth, eyes])
        table = np.concatenate([self._skin(pose, fine, rig, shadow), self._cloth(cloth, rig, shadow), eye_table])
        ball = self._ball_triangles + len(fine) + len(cloth)
        triangles = np.concatenate([topology.triangles, cloth_triangles, ball, ball + len(self._ball)]).astype(np.int32)
        material = np.concatenate(
            [
                topology.material,
                np.full(len(self.clothing.triangles), CLOTH, np.uint8),
                np.full(2 * len(ball), EYE, np.uint8),
            ]
        )

        fine_camera, x0, y0 = camera.around(np.concatenate([world, hair]), factor)
        buffer = VisibilityBuffer.empty(fine_camera.height, fine_camera.width)
        shell = (len(topology.triangles), len(topology.triangles) + len(cloth_triangles))
        draw_triangles(fine_camera.project(world), triangles, shell, buffer.depth, buffer.triangle, buffer.weights)
        image = np.zeros((fine_camera.height, fine_camera.width, 3), np.float32)
        surface = (buffer.triangle, buffer.weights, triangles, material, np.ascontiguousarray(table, np.float32))
        lights = (rig.directions(), rig.colours(), np.asarray(rig.sky, np.float32), camera.position)
        shading.shade_surface(*surface, *lights, detail, factor == 2 and detail < 1, image)
        lid_shade = self._lid_shade(buffer.triangle, len(triangles) - 2 * len(ball), fine_camera)
        shading.shade_eyes(
            *surface,
            eye_turns,
            len(triangles) - len(ball),
            np.asarray(self.person.eyes.iris_inner, np.float32),
            np.asarray(self.person.eyes.iris_outer, np.float32),
            *lights,
            lid_shade,
            self.person.seed,
            image,
        )
        self._draw_hair(pose, turn, fine, hair, fine_camera, rig, shadow, buffer, image)
        covered = (buffer.depth < FAR).astype(np.float32)
        return Drawing(shrink(image, factor), shrink(covered, factor), x0, y0)

    def _skin(self, pose: Pose, fine: FloatArray, rig: Rig, shadow: ShadowMap) -> FloatArray:
        head, coat = self.head, self.paint
        normals = vertex_normals(fine, head.topology.triangles)
        mouth = self._mouth_darkness(pose)
        # Teeth and tongue lie in the dark of the resting mouth; how much light an open one lets in is told by `mouth`.
        key = np.maximum(shadow.visibility(fine, rig.lights[0].softness), 0.5 * self._inner) * mouth
        occlusion = np.maximum(self.occlusion, self._inner * 0.75) * mouth
        light = irradiance(normals, rig, key, occlusion)
        rounds = np.array([7, 3, 2], np.int32) * (1 if self.level == 1 else 3)
        light = scatter(light, self._starts, self._neighbours, coat.translucency, rounds.astype(np.int32))
        return _table(
            head.rest, normals, fine, coat.albedo, light, key, coat.gloss, coat.roughness, coat.stubble, occlusion**1.5
        )

    def _cloth(self, cloth: FloatArray, rig: Rig, shadow: ShadowMap) -> FloatArray:
        normals = vertex_normals(cloth, self.clothing.triangles)
        key = shadow.visibility(cloth, rig.lights[0].softness)
        light = irradiance(normals, rig, key, self._cloth_occlusion * self.clothing.crease)
        none = np.zeros(len(cloth), np.float32)
        return _table(
            self.clothing.vertices,
            normals,
            cloth,
            self.clothing.albedo,
            light,
            key,
            none,
            none + 1,
            none,
            self._cloth_occlusion,
        )

    def _eyes(self, pose: Pose, turns: FloatArray, rig: Rig, shadow: ShadowMap) -> tuple[FloatArray, FloatArray]:
        head = self.head
        centres = head.turn(head.eye_centres, pose)
        eyes = np.concatenate(
            [c + (self._ball * head.eye_radius * 0.985) @ t.T for c, t in zip(centres, turns, strict=True)]
        ).astype(np.float32)
        normals = np.concatenate([self._ball @ t.T for t in turns]).astype(np.float32)
        key = shadow.visibility(eyes, 0.03)
        ones = np.ones(len(eyes), np.float32)
        light = irradiance(normals, rig, key, ones * 0.8)
        unit = np.concatenate([self._ball, self._ball])
        white = np.ones((len(eyes), 3), np.float32)
        return eyes, _table(unit, normals, eyes, white, light, key, ones, ones, ones, ones)

    def _hair_outward(self) -> FloatArray:
        """Which way each point of the scalp hair faces, at rest."""
        centre = np.array([0, 0.25, -0.75], np.float32)
        outward = self.hair.vertices - centre
        # Below the skull hair hangs like a curtain: what counts there is the direction from the neck's axis.
        below = np.clip((centre[1] - self.hair.vertices[:, 1]) / 0.5, 0, 1)[:, None]
        outward = outward * (1 - below * np.array([0, 1, 0], np.float32))
        return np.asarray(outward / (np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6), np.float32)

    def _mouth_darkness(self, pose: Pose) -> FloatArray:
        """(V,) what little light reaches teeth, tongue and the inside of the mouth, the less the further back."""
        head = self.head
        rest = head.rest
        lips_front = rest[head.masks["lips"] > 0.5][:, 2].max()
        depth = np.clip(lips_front - rest[:, 2], 0, None)
        parted = sum(
            pose.units.get(name, 0.0) for name in ("jawOpen", "jawOpen", "mouthUpperUpLeft", "mouthLowerDownLeft")
        )
        opening = 0.2 + 0.8 * min(1.0, 1.6 * parted)
        dark = np.exp(-2.6 * np.maximum(depth - 0.12, 0)) * opening
        return np.asarray(1 + (dark - 1) * self._inner, np.float32)

    @staticmethod
    def _lid_shade(triangle: IntArray, first_eye: int, camera: Camera) -> FloatArray:
        """(H, W) 0..1: the lids' shadow on the eyes, most under the upper lid. Found from what of the eyes is seen."""
        mask = (triangle >= first_eye).astype(np.float32)
        rows, columns = np.nonzero(mask.max(axis=1))[0], np.nonzero(mask.max(axis=0))[0]
        if not len(rows):
            return mask
        pixel = camera.focal_px / camera.distance_dm  # pixels to a decimetre
        margin = int(0.12 * pixel) + 2
        box = (
            slice(max(rows[0] - margin, 0), rows[-1] + margin),
            slice(max(columns[0] - margin, 0), columns[-1] + margin),
        )
        seen = np.ascontiguousarray(mask[box])
        soft = gaussian_blur(seen, max(0.022 * pixel, 0.6))
        drop = np.float32(0.032 * pixel)
        lowered = cv2.warpAffine(soft, np.array([[1, 0, 0], [0, 1, drop]], np.float32), (seen.shape[1], seen.shape[0]))
        open_side = np.clip((soft - 0.35) / 0.6, 0, 1)
        open_top = np.clip((lowered - 0.05) / 0.85, 0, 1)
        mask[box] = (0.25 + 0.75 * open_side) * (0.30 + 0.70 * open_top)
        return mask

    def _draw_hair(
        self,
        pose: Pose,
        turn: FloatArray,
        fine: FloatArray,
        hair: FloatArray,
        camera: Camera,
        rig: Rig,
        shadow: ShadowMap,
        buffer: VisibilityBuffer,
        image: FloatArray,
    ) -> None:
        head, style = self.head, self.person.hair
        eye = np.array([0, 0, camera.distance_dm], np.float32)
        centre = head.turn(np.array([[0, 0.25, -0.75]], np.float32), pose)[0]
        outward = rotate(self._outward, turn)
        occlusion = self.hair.occlusion
        # One look-up a strand, at its middle.
        middle = np.ascontiguousarray(hair[self.hair.points // 2 :: self.hair.points])
        reached = shadow.visibility(middle, 0.03, through_hair=False)
        blocked = np.repeat(reached, self.hair.points) * self._key_occlusion
        colour = shade(
            hair, self.hair.points, self.hair.tone, style.colour, style.highlight, rig, eye, blocked, occlusion, outward
        )
        draw_strands(camera.project(hair), colour, self.hair.points, 1, 0.0, buffer.depth, image, self.hair.opacity)

        # A brow's hair or a lash is about 0.1 mm thick, but never thinner than one sample.
        thick = max(1, round(0.0022 * camera.focal_px / camera.distance_dm))
        brows = self.brows.at(fine, turn)
        away = brows - centre
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        lit = shadow.visibility(brows, 0.05)
        open_to = np.full(len(brows), 0.6, np.float32)
        colour = shade(
            brows,
            self.brows.points,
            self.brows.tone,
            style.brow_colour,
            style.brow_colour,
            rig,
            eye,
            lit,
            open_to,
            away,
        )
        along = np.tile(np.linspace(0, 1, self.brows.points, dtype=np.float32), len(self.brows.offsets))
        opacity = (0.75 * (1 - 0.6 * along)).astype(np.float32)
        draw_strands(camera.project(brows), colour * 0.8, self.brows.points, thick, 0.03, buffer.depth, image, opacity)

        lashes = head.turn(self.lashes.at(pose.units), pose)
        dark = np.tile(np.array([0.010, 0.007, 0.006], np.float32), (len(lashes), 1))
        along = np.tile(np.linspace(0, 1, self.lashes.points, dtype=np.float32), len(self.lashes.ids))
        opacity = (0.85 * (1 - 0.75 * along)).astype(np.float32)
        draw_strands(camera.project(lashes), dark, self.lashes.points, thick, 0.02, buffer.depth, image, opacity)


def _table(
    rest: FloatArray,
    normals: FloatArray,
    world: FloatArray,
    albedo: FloatArray,
    light: FloatArray,
    key: FloatArray,
    gloss: FloatArray,
    rough: FloatArray,
    stubble: FloatArray,
    opening: FloatArray,
) -> FloatArray:
    """Vertex attributes in the order that `shading` expects."""
    columns = [rest, normals, world, albedo, light] + [c[:, None] for c in (key, gloss, rough, stubble, opening)]
    return np.concatenate(columns, axis=1).astype(np.float32)


_CURVE_END = 6.0
_CURVE_STEPS = 8192


def _film_curve() -> FloatArray:
    """8-bit values at the squares of even steps from 0 to the root of `_CURVE_END`."""
    x = np.linspace(0, np.sqrt(_CURVE_END), _CURVE_STEPS) ** 2 * 0.8
    # Narkowicz's fit of the ACES film curve, then sRGB.
    y = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    srgb = np.where(y <= 0.0031308, 12.92 * y, 1.055 * np.maximum(y, 1e-6) ** (1 / 2.4) - 0.055)
    return (srgb * 255).astype(np.float32)


def develop(linear: FloatArray, exposure: float = 1.0, grain: float = 0.0, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Linear RGB to an 8-bit BGR picture, as a camera would; ``grain`` is its noise in 8-bit steps."""
    out = np.empty(linear.shape, np.uint8)
    scale = (_CURVE_STEPS - 1) / float(np.sqrt(_CURVE_END))
    shading.develop(np.ascontiguousarray(linear, np.float32), _film_curve(), scale, exposure, grain, seed, out)
    return out


def shrink(image: FloatArray, factor: int) -> FloatArray:
    """Average ``factor`` by ``factor`` samples into one pixel."""
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA), np.float32)


def composite(drawing: Drawing, background: FloatArray) -> FloatArray:
    """Put a person in front of ``background`` (H, W, 3), linear RGB; returns a new picture."""
    out = background.astype(np.float32, copy=True)
    height, width = drawing.covered.shape
    window = out[drawing.y0 : drawing.y0 + height, drawing.x0 : drawing.x0 + width]
    window *= 1 - drawing.covered[..., None]
    window += drawing.colour
    return out

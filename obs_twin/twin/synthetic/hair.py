"""Hair as strands: scalp, brows and lashes, grown on a head, and their shading.

Strands are grown once in the frame of the resting head. Scalp hair then turns rigidly with the head; brows ride on
the skin; lashes on the lids. Shading is Kajiya and Kay's model ("Rendering fur with three dimensional textures", 1989)
with the second, tinted highlight of Marschner et al. (2003), dimmed by the hair between a point and the light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from .head import SKIN, Head
from .light import Rig, sphere_directions
from .noise import noise, noise_at
from .raster import vertex_normals
from .skin import brow_mask, brow_place, landmarks

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


@dataclass
class Hair:
    """Strands in the rest frame.

    Attributes
    ----------
    vertices : (S * points, 3)
    points : vertices to a strand
    tone : (S,) 0..1 variation of colour from strand to strand
    opacity : (S * points,)
    occlusion : (S * points,) share of the surroundings that reaches each vertex through the other strands
    """

    vertices: FloatArray
    points: int
    tone: FloatArray
    opacity: FloatArray
    occlusion: FloatArray


# --- the head as a distance field, which combs and carries the strands


@dataclass(frozen=True)
class HeadField:
    """Signed distance to the skin and the outward direction, on a grid."""

    low: FloatArray
    spacing: float
    distance: FloatArray
    """(X, Y, Z)"""
    outward: FloatArray
    """(X, Y, Z, 3)"""


@njit(cache=True, nogil=True, fastmath=True)
def _fill_field(
    points: FloatArray, normals: FloatArray, low: FloatArray, spacing: float, distance: FloatArray, outward: FloatArray
) -> None:
    nx, ny, nz = distance.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                px = low[0] + i * spacing
                py = low[1] + j * spacing
                pz = low[2] + k * spacing
                best = 1e9
                near = 0
                for n in range(points.shape[0]):
                    dx = px - points[n, 0]
                    dy = py - points[n, 1]
                    dz = pz - points[n, 2]
                    d = dx * dx + dy * dy + dz * dz
                    if d < best:
                        best = d
                        near = n
                distance[i, j, k] = (
                    (px - points[near, 0]) * normals[near, 0]
                    + (py - points[near, 1]) * normals[near, 1]
                    + (pz - points[near, 2]) * normals[near, 2]
                )
                for c in range(3):
                    outward[i, j, k, c] = normals[near, c]


def head_field(head: Head) -> HeadField:
    coarse = head.coarse
    quads = head.coarse_skin
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    normals = vertex_normals(coarse, triangles)
    use = np.unique(quads)
    use = use[(coarse[use, 1] > -3.2) & (np.abs(coarse[use, 0]) < 2.0)]
    # The ears would comb the hair: leave them out.
    use = use[~((np.abs(coarse[use, 0]) > 0.70) & (coarse[use, 1] < 0.1) & (coarse[use, 1] > -0.5))]
    low = np.array([-1.5, -2.9, -2.0], np.float32)
    spacing = 0.075
    shape = (41, 58, 39)
    distance = np.empty(shape, np.float32)
    outward = np.empty((*shape, 3), np.float32)
    _fill_field(coarse[use], normals[use], low, spacing, distance, outward)
    for _ in range(2):  # smooth: nearest points change abruptly
        for axis in range(3):
            outward += (np.roll(outward, 1, axis) + np.roll(outward, -1, axis) - 2 * outward) / 4
            distance += (np.roll(distance, 1, axis) + np.roll(distance, -1, axis) - 2 * distance) / 4
    return HeadField(low, spacing, distance, outward)


@njit(cache=True, nogil=True, fastmath=True)
def _grow(
    roots: FloatArray,
    normals: FloatArray,
    lengths: FloatArray,
    lift: FloatArray,
    comb: FloatArray,
    layer: FloatArray,
    curl: FloatArray,
    points: int,
    gravity: float,
    follow: float,
    hold: float,
    rise: float,
    tuck: float,
    cling: float,
    frizz: float,
    low: FloatArray,
    spacing: float,
    distance: FloatArray,
    outward: FloatArray,
) -> FloatArray:
    """Grow strands step by step: off the scalp, along the comb, down with gravity, outside of ``layer``."""
    count = roots.shape[0]
    out = np.empty((count * points, 3), np.float32)
    direction = np.empty(3, np.float32)
    position = np.empty(3, np.float32)
    for s in range(count):
        step = lengths[s] / (points - 1)
        for c in range(3):
            position[c] = roots[s, c]
            direction[c] = normals[s, c] * lift[s] + comb[s, c] * (1 - lift[s])
        for k in range(points):
            for c in range(3):
                out[s * points + k, c] = position[c]
            t = k / (points - 1)
            held = follow * np.exp(-hold * t)
            gx = comb[s, 0] * held
            gy = comb[s, 1] * held - gravity * min(1.0, 0.35 + 2.0 * t)
            gz = comb[s, 2] * held
            turned_in = tuck * max(t - 0.62, 0.0) / 0.38
            gx -= turned_in * position[0]
            gz -= turned_in * (position[2] + 0.75)
            wave = frizz * (0.3 + t)
            gx += wave * (noise(position[0] * 5, position[1] * 2.4 + 9, position[2] * 5 + curl[s]) - 0.5) * 2
            gz += wave * (noise(position[0] * 5 + 40, position[1] * 2.4, position[2] * 5 + curl[s]) - 0.5) * 2
            gy += 0.5 * wave * (noise(position[0] * 5 + 80, position[1] * 2.4, position[2] * 5 + curl[s]) - 0.5) * 2
            i = int((position[0] - low[0]) / spacing + 0.5)
            j = int((position[1] - low[1]) / spacing + 0.5)
            m = int((position[2] - low[2]) / spacing + 0.5)
            i = min(max(i, 0), distance.shape[0] - 1)
            j = min(max(j, 0), distance.shape[1] - 1)
            m = min(max(m, 0), distance.shape[2] - 1)
            d = distance[i, j, m]
            wanted = layer[s] * min(1.0, t * rise)
            ox = outward[i, j, m, 0]
            oy = outward[i, j, m, 1]
            oz = outward[i, j, m, 2]
            blend = 0.45
            direction[0] += (gx - direction[0]) * blend
            direction[1] += (gy - direction[1]) * blend
            direction[2] += (gz - direction[2]) * blend
            if d < wanted + step:
                # Do not head into the skin; glide along it.
                into = direction[0] * ox + direction[1] * oy + direction[2] * oz
                target = (wanted - d) / max(step, 1e-4)
                target = min(max(target, -1.0), 1.0) * 0.8
                if into < target:
                    direction[0] += (target - into) * ox
                    direction[1] += (target - into) * oy
                    direction[2] += (target - into) * oz
            elif cling > 0.0 and position[1] > -0.25:
                # Hair lies on hair: what stands off further than its layer is drawn back.
                pull = cling * min((d - wanted) / 0.2, 1.0)
                direction[0] -= pull * ox
                direction[1] -= pull * oy
                direction[2] -= pull * oz
            length = np.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2) + 1e-6
            for c in range(3):
                direction[c] /= length
                position[c] += direction[c] * step
    return out


# --- where it grows


def scatter_on_skin(
    head: Head, weight: FloatArray, count: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Choose ``count`` points on the skin with density ``weight`` (V,).

    Returns the triangle (count, 3), the weights of its corners (count, 3), and the normal (count, 3) of each.
    """
    triangles = head.topology.triangles[head.topology.material == SKIN]
    corners = head.rest[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    density = area * weight[triangles].mean(axis=1)
    chosen = rng.choice(len(triangles), size=count, p=density / density.sum())
    r1, r2 = np.sqrt(rng.random(count)), rng.random(count)
    share = np.stack([1 - r1, r1 * (1 - r2), r1 * r2], axis=1).astype(np.float32)
    normals = vertex_normals(head.rest, head.topology.triangles)
    at = triangles[chosen].astype(np.int32)
    normal = (normals[at] * share[..., None]).sum(axis=1)
    return at, share, (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)


_HAIRLINE = {
    "short": (
        (-1.9, -0.75),
        (-1.15, -0.55),
        (-1.0, -0.05),
        (-0.78, 0.12),
        (-0.62, -0.22),
        (-0.48, -0.12),
        (-0.40, 0.22),
        (-0.2, 0.50),
        (-0.05, 0.56),
        (0.3, 0.60),
    ),
    "bob": (
        (-1.9, -0.9),
        (-1.15, -0.75),
        (-1.0, -0.15),
        (-0.8, 0.08),
        (-0.62, 0.0),
        (-0.48, 0.12),
        (-0.36, 0.36),
        (-0.2, 0.50),
        (-0.05, 0.57),
        (0.3, 0.60),
    ),
}


def scalp(head: Head) -> FloatArray:
    """(V,) 0..1: where scalp hair grows."""
    rest = head.rest
    line = np.array(_HAIRLINE[head.person.hair.cut], np.float32)
    at = landmarks(head)
    scale = at.crown_y / 0.96
    depth = rest[:, 2] - (at.ear[2] + 0.72)  # the table is for an ear at z = -0.72
    edge = np.interp(depth, line[:, 0], line[:, 1]) * scale
    ragged = 0.05 * (noise_at(rest, 12.0, 2) - 0.5) * 2
    inside = np.clip((rest[:, 1] - edge + ragged + 0.03) / 0.07, 0, 1)
    away_from_ear = 1 - np.clip(head.masks["ears"] * 3, 0, 1)
    on_head = (rest[:, 1] > -1.0) & (np.abs(rest[:, 0]) < 0.9)
    skin = np.zeros(len(rest), bool)
    skin[head.topology.triangles[head.topology.material == SKIN]] = True
    return np.where(on_head & skin, inside * away_from_ear, 0.0).astype(np.float32)


def grow_scalp_hair(head: Head, field: HeadField, strands: int) -> Hair:
    style = head.person.hair
    rng = np.random.default_rng(head.person.seed)
    where = scalp(head)
    if style.cut == "bob":  # the parting is where the scalp would show
        where = where * (1 + 2.5 * np.exp(-(((head.rest[:, 0] - 0.24) / 0.10) ** 2)) * (head.rest[:, 1] > 0.3))
    triangle, share, normals = scatter_on_skin(head, where, strands, rng)
    roots = (head.rest[triangle] * share[..., None]).sum(axis=1).astype(np.float32)
    x, y, z = roots.T
    tone = np.clip(0.5 + 0.7 * (noise_at(roots, 7.0, 2) - 0.5) + rng.normal(0, 0.16, strands), 0, 1)
    clump = np.floor(noise_at(roots, 9.0, 1) * 6).astype(np.float32)
    if style.cut == "short":
        points = 7
        top = np.clip((y - 0.42) / 0.35, 0, 1) * np.clip(1.15 - np.abs(x) / 0.75, 0, 1)
        lengths = 0.10 + 0.34 * top * (0.75 + 0.45 * rng.random(strands)) + 0.03 * rng.random(strands)
        comb = np.stack([0.30 - 0.45 * x, 0.30 + 0.0 * x, 0.30 - 0.5 * z], axis=1)
        sides = (1 - top)[:, None]
        comb = comb * (1 - sides) + sides * np.stack([0 * x, -0.9 + 0 * x, -0.45 + 0 * x], axis=1)
        comb += 0.25 * np.stack([noise_at(roots + 3 * k, 4.5, 1) - 0.5 for k in range(3)], axis=1) * 2
        comb += rng.normal(0, 0.07, comb.shape)
        lift = np.where(top > 0.3, 0.62, 0.30) + rng.normal(0, 0.05, strands)
        layer = 0.03 + 0.16 * top * rng.random(strands)
        gravity, follow, hold, rise, tuck, cling, frizz = 0.22, 0.9, 0.8, 3.0, 0.0, 0.22, 0.16
    else:
        points = 26
        # The parting lies on her left, and is not quite straight.
        part_x = 0.24 + 0.03 * (noise_at(roots * np.array([0, 0, 1], np.float32), 9.0, 1) - 0.5)
        side = np.where(x > part_x, 1.0, -1.0)
        from_part = np.clip(np.abs(x - part_x) / 0.30, 0, 1) ** 0.7
        front = np.clip((z + 0.55) / 0.6, 0, 1)
        lengths = np.where(y > 0.2, 1.62, 1.30 + 0.3 * y) + 0.30 * (x < part_x) * np.clip(y, 0, 1)
        lengths = lengths * (0.90 + 0.13 * rng.random(strands))
        down = np.clip((0.9 - y) / 0.9, 0, 1)
        # Over the middle of the forehead hair is combed up and back first, or it would fall into the face.
        brim = np.exp(-((x / 0.42) ** 2)) * np.clip((z + 0.35) / 0.3, 0, 1)
        comb = np.stack(
            [side * (0.95 - 0.3 * down), -0.10 - 0.9 * down + 0.30 * brim, -0.30 - 0.45 * front * down - 0.45 * brim],
            axis=1,
        )
        comb += rng.normal(0, 0.04, comb.shape)
        lift = 0.10 + 0.22 * from_part + rng.normal(0, 0.03, strands)
        layer = 0.025 + (0.03 + 0.17 * from_part) * rng.random(strands) ** 0.8
        gravity, follow, hold, rise, tuck, cling, frizz = 0.85, 0.9, 6.0, 2.2, 0.9, 0.6, 0.10
    comb /= np.linalg.norm(comb, axis=1, keepdims=True)
    vertices = _grow(
        roots,
        normals,
        lengths.astype(np.float32),
        np.clip(lift, 0, 1).astype(np.float32),
        comb.astype(np.float32),
        layer.astype(np.float32),
        clump,
        points,
        gravity,
        follow,
        hold,
        rise,
        tuck,
        cling,
        frizz,
        field.low,
        field.spacing,
        field.distance,
        field.outward,
    )
    if style.cut == "bob":
        vertices, kept = _clear_of_the_face(head, vertices, points)
        tone, strands = tone[kept], int(kept.sum())
    along = np.tile(np.linspace(0, 1, points, dtype=np.float32), strands)
    opacity = np.minimum(1.0, (1.02 - along) * 3.5) * np.where(along < 0.12, 0.55, 1.0) * 0.85
    occlusion = _occlusion(vertices, points)
    return Hair(vertices, points, tone.astype(np.float32), opacity.astype(np.float32), occlusion)


def _clear_of_the_face(head: Head, vertices: FloatArray, points: int) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Leave out the strands that fall over the face; returns what is left and which strands those are."""
    strands = vertices.reshape(-1, points, 3)
    x, y, z = np.abs(strands[..., 0]), strands[..., 1], strands[..., 2]
    border = np.interp(y, [-1.2, -0.9, -0.5, 0.0, 0.35, 0.55], [0.3, 0.46, 0.57, 0.61, 0.46, 0.12])
    kept = np.asarray(~((z > -0.35) & (y < 0.55) & (x < border)).any(axis=1), np.bool_)
    return np.ascontiguousarray(strands[kept].reshape(-1, 3)), kept


@njit(cache=True, nogil=True, fastmath=True)
def _march(
    vertices: FloatArray, density: FloatArray, low: FloatArray, spacing: float, directions: FloatArray, out: FloatArray
) -> None:
    nx, ny, nz = density.shape
    for v in range(vertices.shape[0]):
        total = 0.0
        for d in range(directions.shape[0]):
            depth = 0.0
            for n in range(1, 9):
                reach = (n - 0.3) * spacing * 1.2
                i = int((vertices[v, 0] + directions[d, 0] * reach - low[0]) / spacing)
                j = int((vertices[v, 1] + directions[d, 1] * reach - low[1]) / spacing)
                k = int((vertices[v, 2] + directions[d, 2] * reach - low[2]) / spacing)
                if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
                    break
                depth += density[i, j, k]
            total += np.exp(-depth)
        out[v] = total / directions.shape[0]


def _occlusion(vertices: FloatArray, points: int) -> FloatArray:
    spacing = 0.06
    low = vertices.min(axis=0) - spacing
    cells = ((vertices - low) / spacing).astype(np.int64)
    shape = tuple(int(n) for n in cells.max(axis=0) + 2)
    density = np.zeros(shape, np.float32)
    np.add.at(density, (cells[:, 0], cells[:, 1], cells[:, 2]), 1.0)
    filled = density[density > 0]
    density *= 0.42 / float(np.median(filled))
    out = np.empty(len(vertices), np.float32)
    _march(vertices, density, low.astype(np.float32), spacing, sphere_directions(14), out)
    return out / max(float(np.percentile(out, 97)), 1e-3)


# --- brows and lashes


@dataclass
class SkinHair:
    """Short hair rooted in the skin: triangle (S, 3), corner weights (S, 3), each strand's offsets (S, points, 3)."""

    triangle: IntArray
    share: FloatArray
    offsets: FloatArray
    tone: FloatArray

    @property
    def points(self) -> int:
        return int(self.offsets.shape[1])

    def at(self, fine: FloatArray, turn: FloatArray) -> FloatArray:
        """Vertices (S * points, 3) on the posed skin ``fine``; ``turn`` (3, 3) is the head's rotation."""
        roots = (fine[self.triangle] * self.share[..., None]).sum(axis=1)
        return np.asarray((roots[:, None] + self.offsets @ turn.T).reshape(-1, 3), np.float32)


def grow_brows(head: Head) -> SkinHair:
    rng = np.random.default_rng(head.person.seed + 1)
    count = head.person.hair.brow_density * 2
    triangle, share, normals = scatter_on_skin(head, brow_mask(head), count, rng)
    roots = (head.rest[triangle] * share[..., None]).sum(axis=1)
    sign = np.sign(roots[:, 0])
    t, over, _ = brow_place(head, roots)
    # Near the nose hairs stand up; further out they lie along the arc, upper ones pointing down.
    upward = np.interp(t, [0, 0.25, 0.6, 1], [1.5, 0.75, 0.25, -0.35]) - 14 * over
    direction = np.stack([sign * np.interp(t, [0, 0.2, 1], [0.35, 0.9, 1.0]), upward, np.zeros(count)], axis=1)
    direction += rng.normal(0, 0.16, direction.shape)
    direction -= (direction * normals).sum(axis=1, keepdims=True) * normals
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = 0.075 * (0.7 + 0.6 * rng.random(count)) * np.interp(t, [0, 0.3, 1], [0.8, 1.0, 0.75])
    steps = np.linspace(0, 1, 5)[None, :, None]
    bend = direction[:, None] * steps * length[:, None, None] + normals[:, None] * (
        (0.10 * steps + 0.25 * steps * (1 - steps)) * length[:, None, None]
    )
    return SkinHair(
        triangle, share, bend.astype(np.float32), np.clip(rng.normal(0.4, 0.2, count), 0, 1).astype(np.float32)
    )


@dataclass
class Lashes:
    """Lashes carried by the base mesh's lash cards: each strand's root and tip as weighted card vertices."""

    ids: npt.NDArray[np.int64]
    """(S, 4): two root and two tip vertices."""
    share: FloatArray
    """(S,) weight of the second of each pair."""
    sweep: FloatArray
    """(S, 3) extra offset of the tip."""
    upper: npt.NDArray[np.bool_]
    base: FloatArray
    units: dict[str, FloatArray]
    points: int = 6

    def at(self, units: dict[str, float]) -> FloatArray:
        """Vertices (S * points, 3) in the head's frame for the given face units."""
        cards = self.base.copy()
        for name, weight in units.items():
            if abs(weight) > 1e-4:
                cards += np.float32(weight) * self.units[name]
        mix = self.share[:, None]
        root = cards[self.ids[:, 0]] * (1 - mix) + cards[self.ids[:, 1]] * mix
        tip = cards[self.ids[:, 2]] * (1 - mix) + cards[self.ids[:, 3]] * mix + self.sweep
        t = np.linspace(0, 1, self.points, dtype=np.float32)[None, :, None]
        curl = np.where(self.upper, 0.022, -0.006)[:, None, None] * np.array([0, 1, 0], np.float32)
        return np.asarray((root[:, None] * (1 - t) + tip[:, None] * t + curl * (t * t - t)).reshape(-1, 3), np.float32)


def grow_lashes(head: Head) -> Lashes:
    rng = np.random.default_rng(head.person.seed + 2)
    base, units, cards = head.lash_cards()
    ids, share, sweep, upper = [], [], [], []
    for eye, centre in ((0, head.eye_centres[0]), (1, head.eye_centres[1])):
        for card in cards[eye]:
            points = base[card]
            gap = np.linalg.norm(points - centre, axis=1)
            order = np.argsort(points[:, 0])
            cut = 0.5 * (gap.min() + gap.max())
            rows = [[n for n in order if gap[n] < cut], [n for n in order if gap[n] >= cut]]
            is_upper = points[:, 1].mean() > np.mean([base[c][:, 1].mean() for c in cards[eye]])
            density = head.person.eyes.lash_density if is_upper else head.person.eyes.lash_density // 2
            length = head.person.eyes.lash_length_dm * (1.0 if is_upper else 0.5)
            for place in np.sort(rng.random(density)) * 0.98 + 0.01:
                pair = []
                mix = 0.0
                for row in rows:
                    at = place * (len(row) - 1)
                    k = min(int(at), len(row) - 2)
                    mix = at - k
                    pair += [card[row[k]], card[row[k + 1]]]
                root = base[pair[0]] * (1 - mix) + base[pair[1]] * mix
                tip = base[pair[2]] * (1 - mix) + base[pair[3]] * mix
                out = tip - root
                out = out / (np.linalg.norm(out) + 1e-6)
                fan = np.array([(root[0] - centre[0]) * 1.6, 0.35 if is_upper else -0.5, 0.2], np.float32)
                wanted = out + fan + rng.normal(0, 0.12, 3)
                wanted = wanted / np.linalg.norm(wanted) * length * (0.75 + 0.4 * rng.random())
                ids.append(pair)
                share.append(mix)
                sweep.append(root + wanted - tip)
                upper.append(is_upper)
    return Lashes(
        np.asarray(ids, np.int64),
        np.asarray(share, np.float32),
        np.asarray(sweep, np.float32),
        np.asarray(upper, np.bool_),
        base,
        units,
    )


# --- shading


def shade(
    vertices: FloatArray,
    points: int,
    tone: FloatArray,
    colour: tuple[float, float, float],
    highlight: tuple[float, float, float],
    rig: Rig,
    camera: FloatArray,
    key: FloatArray,
    occlusion: FloatArray,
    outward: FloatArray,
) -> FloatArray:
    """Linear RGB (S * points, 3) of each strand vertex.

    ``key`` (S * points,) is the share of the key light that arrives, ``occlusion`` that of the surroundings,
    ``outward`` (S * points, 3) the direction away from the head: hair on the far side of a light stays dark.
    """
    return _shade(
        np.ascontiguousarray(vertices, np.float32),
        points,
        tone,
        np.asarray(colour, np.float32),
        np.asarray(highlight, np.float32),
        rig.directions(),
        rig.colours(),
        np.asarray(rig.sky, np.float32),
        np.asarray(rig.ground, np.float32),
        camera,
        np.ascontiguousarray(key, np.float32),
        np.ascontiguousarray(occlusion, np.float32),
        np.ascontiguousarray(outward, np.float32),
    )


@njit(cache=True, nogil=True, fastmath=True)
def _shade(
    vertices: FloatArray,
    points: int,
    tone: FloatArray,
    colour: FloatArray,
    highlight: FloatArray,
    directions: FloatArray,
    radiance: FloatArray,
    sky: FloatArray,
    ground: FloatArray,
    camera: FloatArray,
    key: FloatArray,
    occlusion: FloatArray,
    outward: FloatArray,
) -> FloatArray:
    count = vertices.shape[0]
    out = np.empty((count, 3), np.float32)
    for i in range(count):
        k = i % points
        before = i - 1 if k > 0 else i
        after = i + 1 if k < points - 1 else i
        tx = vertices[after, 0] - vertices[before, 0]
        ty = vertices[after, 1] - vertices[before, 1]
        tz = vertices[after, 2] - vertices[before, 2]
        length = np.sqrt(tx * tx + ty * ty + tz * tz) + 1e-9
        tx /= length
        ty /= length
        tz /= length
        vx = camera[0] - vertices[i, 0]
        vy = camera[1] - vertices[i, 1]
        vz = camera[2] - vertices[i, 2]
        length = np.sqrt(vx * vx + vy * vy + vz * vz)
        vx /= length
        vy /= length
        vz /= length
        own = tone[i // points]
        shift = (own - 0.5) * 0.35
        body = 0.45 + 1.1 * own
        up = outward[i, 1] * 0.5 + 0.5
        for c in range(3):
            out[i, c] = colour[c] * body * (sky[c] * up + ground[c] * (1 - up)) * occlusion[i] * 1.4
        for n in range(directions.shape[0]):
            lx = directions[n, 0]
            ly = directions[n, 1]
            lz = directions[n, 2]
            facing = (outward[i, 0] * lx + outward[i, 1] * ly + outward[i, 2] * lz + 0.35) / 1.35
            if facing <= 0.0:
                continue
            light = (key[i] if n == 0 else occlusion[i]) * min(facing, 1.0)
            along = tx * lx + ty * ly + tz * lz
            across = np.sqrt(max(1 - along * along, 0.0))
            hx = lx + vx
            hy = ly + vy
            hz = lz + vz
            lean = (tx * hx + ty * hy + tz * hz) / (np.sqrt(hx * hx + hy * hy + hz * hz) + 1e-6)
            a = lean + 0.10 + shift
            b = lean - 0.16 + shift
            first = 0.075 * light * np.exp(-45.0 * a * a)
            second = 0.38 * light * np.exp(-11.0 * b * b)
            diffuse = 0.75 * light * across * body
            for c in range(3):
                out[i, c] += radiance[n, c] * (diffuse * colour[c] + first + second * highlight[c])
    return out

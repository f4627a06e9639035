"""Rooms to stand in: the persona's study and the actor's plain office, built from simple solids and path traced."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt

from . import trace
from .head import gaussian_blur, rotation
from .trace import BALL, BOX, CARPET, FABRIC, LEAF, PAINTING, TUBE, WOOD, Scene

FloatArray = npt.NDArray[np.float32]

FOCAL = 1.92
"""Focal length of a room's camera over the picture's height: that of the clip's camera, so that scales agree."""
CAMERA_Z_DM = 8.5
HORIZON = 0.44
_WALL = 3  # the plaster texture


def room(name: str = "study", width: int = 1920, height: int = 1080, defocus: float = 1.0) -> npt.NDArray[np.uint8]:
    """Paint a room.

    Parameters
    ----------
    name : ``"study"`` (the persona's) or ``"office"`` (the actor's)
    width, height : pixels
    defocus : how far out of focus the room is, 0 sharp, 1 as behind a presenter near the camera

    Returns
    -------
    (height, width, 3) uint8 BGR
    """
    from .render import develop

    return develop(room_linear(name, width, height, defocus), 1.0)


def room_linear(name: str, width: int, height: int, defocus: float = 1.0) -> FloatArray:
    """As `room`, but (height, width, 3) float32 linear RGB."""
    if name not in SCENES:
        raise ValueError(f"unknown room '{name}': there are {', '.join(SCENES)}")
    scene = SCENES[name]()
    packed = scene.pack()
    solids = (packed.kinds, packed.inverse, packed.centre, packed.colour, packed.glow)
    albedo = np.zeros((height, width, 3), np.float32)
    emitted, normal = np.zeros_like(albedo), np.zeros_like(albedo)
    depth = np.zeros((height, width), np.float32)
    small_height, small_width = max(height // 3, 120), max(width // 3, 160)
    light = np.zeros((small_height, small_width, 3), np.float32)
    samples, bounces, bands = 14, 3, 24

    def look(band: int) -> None:
        rows = (height * band // bands, height * (band + 1) // bands)
        trace.primary(
            *solids, packed.texture, packed.nodes, packed.bounds, width, height, FOCAL * height, 0.5, HORIZON,
            CAMERA_Z_DM, *rows, albedo, emitted, normal, depth,
        )  # fmt: skip

    def collect(band: int) -> None:
        rows = (small_height * band // bands, small_height * (band + 1) // bands)
        trace.gather(
            *solids, packed.nodes, packed.bounds, packed.lights, packed.surroundings, small_width, small_height,
            FOCAL * small_height, 0.5, HORIZON, CAMERA_Z_DM, *rows, samples, bounces, 7, light,
        )  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(look, range(bands)))
        list(pool.map(collect, range(bands)))
    small_normal = _pick(normal, small_width, small_height)
    small_depth = _pick(depth, small_width, small_height)
    # Single bright samples, which the smoothing would spread: no pixel outshines its neighbours' median by much.
    middle = np.asarray(cv2.medianBlur(light, 5), np.float32)
    light = np.minimum(light, 1.6 * middle + 0.02)
    for spread in (1, 2, 4, 8):
        light = trace.smooth_light(light, small_normal, small_depth, spread)
    light = _enlarge(light, small_normal, small_depth, normal, depth)
    picture = albedo * light + emitted
    return _out_of_focus(picture, depth, defocus * height)


def _pick(picture: FloatArray, width: int, height: int) -> FloatArray:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def _enlarge(
    light: FloatArray, small_normal: FloatArray, small_depth: FloatArray, normal: FloatArray, depth: FloatArray
) -> FloatArray:
    """Bring the gathered light to full resolution along the edges of the geometry: of the four coarse neighbours, those
    that lie on the same surface count."""
    height, width = depth.shape
    small_height, small_width = small_depth.shape
    y = (np.arange(height) + 0.5) * small_height / height - 0.5
    x = (np.arange(width) + 0.5) * small_width / width - 0.5
    total = np.zeros((height, width), np.float32)
    out = np.zeros((height, width, 3), np.float32)
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    for dy in (0, 1):
        for dx in (0, 1):
            v, u = np.clip(y0 + dy, 0, small_height - 1), np.clip(x0 + dx, 0, small_width - 1)
            weight_y = np.where(dy, y - y0, 1 - (y - y0))[:, None]
            weight_x = np.where(dx, x - x0, 1 - (x - x0))[None]
            agree = np.clip((normal * small_normal[v][:, u]).sum(axis=2), 0, 1) ** 8
            gap = np.exp(-np.abs(small_depth[v][:, u] - depth) / 0.3)
            weight = (weight_y * weight_x * (agree * gap + 1e-4)).astype(np.float32)
            total += weight
            out += weight[..., None] * light[v][:, u]
    return np.asarray(out / total[..., None], np.float32)


def _out_of_focus(picture: FloatArray, depth: FloatArray, strength_px: float) -> FloatArray:
    """Blur by distance behind the plane of the presenter, nearer layers over further ones."""
    if strength_px <= 0:
        return picture
    blur = np.clip(1 - CAMERA_Z_DM / np.maximum(depth, CAMERA_Z_DM), 0, 1)  # of the blur at infinity
    levels = (0.0, 0.3, 0.55, 0.7, 0.8)
    stack = [gaussian_blur(picture, max(level * 0.0042 * strength_px, 0.4)) for level in levels]
    soft_blur = gaussian_blur(blur.astype(np.float32), 0.003 * strength_px)
    place = np.interp(soft_blur, levels, np.arange(len(levels)))
    low = np.clip(place.astype(int), 0, len(levels) - 2)
    mix = (place - low)[..., None].astype(np.float32)
    tower = np.stack(stack)
    rows, columns = np.indices(low.shape)
    return np.asarray(tower[low, rows, columns] * (1 - mix) + tower[low + 1, rows, columns] * mix, np.float32)


# --- what stands in the rooms


def _books(scene: Scene, rng: np.random.Generator, x0: float, x1: float, y: float, z: float, tallest: float) -> None:
    covers = (
        (0.42, 0.12, 0.08), (0.10, 0.17, 0.28), (0.62, 0.55, 0.42), (0.09, 0.20, 0.16), (0.70, 0.66, 0.58),
        (0.50, 0.30, 0.09), (0.16, 0.15, 0.15), (0.30, 0.10, 0.16), (0.20, 0.32, 0.36), (0.66, 0.46, 0.30),
        (0.35, 0.36, 0.30), (0.75, 0.72, 0.66),
    )  # fmt: skip
    x = x0
    while x < x1 - 0.15:
        thick = float(rng.uniform(0.16, 0.42))
        high = float(rng.uniform(0.68, 0.98)) * tallest
        deep = float(rng.uniform(1.4, 1.8))
        if x + thick > x1:
            break
        lean = float(rng.normal(0, 1.0)) if rng.random() < 0.12 else 0.0
        r, g, b = (float(c * rng.uniform(0.8, 1.2)) for c in covers[rng.integers(len(covers))])
        scene.add(
            BOX, (x + thick / 2, y + high / 2, z - 2.2 + deep / 2), (thick / 2 - 0.012, high / 2, deep / 2), (r, g, b),
            turn=rotation(0, 0, lean * 3),
        )  # fmt: skip
        if rng.random() < 0.5:  # a label on the spine
            scene.add(
                BOX,
                (x + thick / 2, y + high * 0.72, z - 2.2 + deep + 0.004),
                (thick * 0.32, high * 0.07, 0.006),
                (0.72, 0.66, 0.5),
            )
        x += thick + float(rng.uniform(0.0, 0.03))
        if rng.random() < 0.05:
            x += float(rng.uniform(0.2, 0.6))


def _plant(
    scene: Scene,
    rng: np.random.Generator,
    foot: tuple[float, float, float],
    height: float,
    leaves: int,
    size: float,
    colour: tuple[float, float, float],
) -> None:
    x, y, z = foot
    for _ in range(leaves):
        rise = float(rng.uniform(0.25, 1.0))
        around = float(rng.uniform(0, 2 * np.pi))
        reach = height * 0.34 * np.sin(np.pi * min(rise * 0.85, 1.0)) * float(rng.uniform(0.5, 1.2))
        at = (x + reach * np.cos(around), y + height * rise, z + 0.8 * reach * np.sin(around))
        turn = rotation(float(np.degrees(around)) + 90, float(rng.uniform(-75, -5)), float(rng.uniform(-40, 40)))
        shade = float(rng.uniform(0.7, 1.35))
        scene.add(
            LEAF, at, (size * float(rng.uniform(0.3, 0.42)), size * float(rng.uniform(0.7, 1.1)), 1.0),
            (colour[0] * shade, colour[1] * shade, colour[2] * shade), turn=turn,
        )  # fmt: skip
        stem = np.array(at) - np.array([x, y, z])
        middle = np.array([x, y, z]) + stem * 0.55
        length = float(np.linalg.norm(stem))
        up = stem / length
        side = np.cross(up, [0.3, 0.1, 1.0])
        side /= np.linalg.norm(side)
        frame = np.stack([side, up, np.cross(side, up)], axis=1).astype(np.float32)
        scene.add(TUBE, tuple(middle), (0.035, length * 0.45, 0.035), (0.10, 0.13, 0.05), turn=frame)


def _pot(
    scene: Scene, at: tuple[float, float, float], radius: float, height: float, colour: tuple[float, float, float]
) -> None:
    x, y, z = at
    scene.add(TUBE, (x, y + height / 2, z), (radius, height / 2, radius), colour)
    scene.add(BALL, (x, y + height * 0.86, z), (radius * 0.97, height * 0.05, radius * 0.97), (0.06, 0.04, 0.03))
    scene.add(BALL, (x, y + height * 0.06, z), (radius, height * 0.12, radius), colour)


def _study() -> Scene:
    rng = np.random.default_rng(5)
    scene = Scene(surroundings=(0.30, 0.29, 0.28))
    floor, ceiling, back, left, right = -12.0, 14.0, -24.0, -13.0, 19.0
    wall = (0.30, 0.34, 0.31)
    light_wall = (0.66, 0.63, 0.57)
    oak = (0.38, 0.235, 0.125)
    scene.box((left - 1, floor, back - 1), (right + 1, ceiling, back), wall, _WALL)
    scene.box((left - 1, floor - 1, back - 1), (right + 1, floor, 20), (0.34, 0.22, 0.13), WOOD)
    scene.box((left - 1, ceiling, back - 1), (right + 1, ceiling + 1, 20), (0.78, 0.76, 0.72))
    scene.box((right, floor, back - 1), (right + 1, ceiling, 20), light_wall, _WALL)
    # The left wall has a tall window with a deep reveal.
    w_low, w_high, w_back, w_front = -5.5, 9.5, -21.5, -9.0
    for low, high in (
        ((left - 1, floor, back), (left, w_low, 20.0)),
        ((left - 1, w_high, back), (left, ceiling, 20.0)),
        ((left - 1, w_low, back), (left, w_high, w_back)),
        ((left - 1, w_low, w_front), (left, w_high, 20.0)),
    ):
        scene.box(low, high, light_wall, _WALL)
    for z in np.linspace(w_back, w_front, 4):
        scene.box((left - 0.7, w_low, z - 0.16), (left - 0.4, w_high, z + 0.16), (0.78, 0.77, 0.74))
    for y in (w_low, 3.2, w_high):
        scene.box((left - 0.7, y - 0.16, w_back), (left - 0.4, y + 0.16, w_front), (0.78, 0.77, 0.74))
    scene.box((left - 0.2, w_low - 0.35, w_back - 0.5), (left + 0.9, w_low, w_front + 0.5), (0.80, 0.78, 0.74))
    scene.light((left - 0.9, w_low, w_back), (0, w_high - w_low, 0), (0, 0, w_front - w_back), (13.0, 12.6, 11.8))
    scene.add(BOX, (left - 1.6, 2, -15), (0.2, 9, 8), (0, 0, 0), glow=(2.6, 2.75, 2.9))
    for k in range(16):  # a curtain in folds beside the window
        z = w_back - 1.9 + 0.17 * k
        scene.add(
            TUBE, (left + 0.55 + 0.17 * np.sin(k * 2.2), 0.5, z), (0.18, 10.5, 0.16), (0.62, 0.57, 0.50), texture=FABRIC
        )
    # Skirting board.
    scene.box((left, floor, back), (right, floor + 0.9, back + 0.15), (0.62, 0.60, 0.56))

    # Book shelves on the right half of the back wall.
    x0, x1, depth = 4.2, 16.5, 2.3
    front = back + depth
    shelf_ys = (-8.6, -5.4, -2.2, 0.9, 4.0, 7.0)
    scene.box((x0 - 0.3, floor, back), (x0, 8.3, front), oak, WOOD)
    scene.box((x1, floor, back), (x1 + 0.3, 8.3, front), oak, WOOD)
    scene.box((x0 + 6.0, floor, back), (x0 + 6.25, 8.3, front), oak, WOOD)
    scene.box((x0, floor, back), (x1, 8.3, back + 0.1), (0.26, 0.165, 0.09), WOOD)
    for y in (*shelf_ys, 8.2):
        scene.box((x0, y - 0.25, back), (x1, y, front), oak, WOOD)
    for row, y in enumerate(shelf_ys):
        for column, (a, b) in enumerate(((x0 + 0.1, x0 + 5.9), (x0 + 6.35, x1 - 0.1))):
            kind = (row * 2 + column) % 5
            if kind == 1:
                _books(scene, rng, a, a + 3.0, y, front - 0.15, 2.5)
                _pot(scene, (b - 1.2, y, front - 1.1), 0.55, 0.95, (0.66, 0.60, 0.52))
                _plant(scene, rng, (b - 1.2, y + 0.7, front - 1.1), 1.9, 26, 0.5, (0.07, 0.13, 0.05))
            elif kind == 3:
                _books(scene, rng, a + 2.2, b, y, front - 0.15, 2.5)
                scene.add(BALL, (a + 1.0, y + 0.75, front - 1.0), (0.62, 0.75, 0.62), (0.16, 0.30, 0.36))
                scene.add(TUBE, (a + 1.0, y + 1.55, front - 1.0), (0.22, 0.25, 0.22), (0.16, 0.30, 0.36))
            elif kind == 4:
                scene.box((a + 0.3, y, front - 1.9), (a + 2.3, y + 1.5, front - 0.4), (0.46, 0.36, 0.24), FABRIC)
                _books(scene, rng, a + 2.9, b - 0.6, y, front - 0.15, 2.4)
            else:
                _books(scene, rng, a, b - float(rng.uniform(0.2, 1.6)), y, front - 0.15, 2.5)

    # A sideboard under a painting, with a lamp.
    scene.box((-9.0, floor + 0.8, back + 0.2), (2.6, -6.4, back + 4.2), (0.44, 0.29, 0.17), WOOD)
    scene.box((-9.2, -6.4, back + 0.2), (2.8, -6.1, back + 4.4), (0.48, 0.32, 0.19), WOOD)
    for k in range(4):
        scene.box(
            (-8.85 + 2.9 * k, floor + 1.2, back + 4.2), (-6.25 + 2.9 * k, -6.75, back + 4.28), (0.42, 0.275, 0.16), WOOD
        )
        scene.add(BALL, (-6.6 + 2.9 * k, -8.8, back + 4.36), (0.1, 0.1, 0.1), (0.62, 0.50, 0.30))
    scene.box((-9.0, -0.7, back), (-3.4, 5.2, back + 0.22), (0.10, 0.085, 0.075))
    scene.box((-8.75, -0.45, back + 0.22), (-3.65, 4.95, back + 0.26), (0.74, 0.72, 0.66))
    scene.add(BOX, (-6.2, 2.25, back + 0.28), (1.85, 2.0, 0.01), (0.5, 0.5, 0.5), texture=PAINTING)
    lamp_x, lamp_z = -4.7, back + 2.4
    scene.add(BALL, (lamp_x, -5.35, lamp_z), (0.72, 0.78, 0.72), (0.62, 0.58, 0.52))
    scene.add(TUBE, (lamp_x, -4.3, lamp_z), (0.07, 0.6, 0.07), (0.5, 0.4, 0.25))
    scene.add(TUBE, (lamp_x, -2.9, lamp_z), (1.15, 0.95, 1.15), (0.8, 0.7, 0.55), glow=(2.2, 1.45, 0.78))
    scene.light((lamp_x - 0.9, -1.9, lamp_z - 0.9), (0, 0, 1.8), (1.8, 0, 0), (26.0, 15.5, 7.5))
    scene.light((lamp_x - 0.9, -3.9, lamp_z + 0.9), (0, 0, -1.8), (1.8, 0, 0), (18.0, 10.5, 5.0))
    for k, (thick, colour) in enumerate(
        ((0.28, (0.13, 0.22, 0.26)), (0.22, (0.66, 0.60, 0.50)), (0.30, (0.40, 0.15, 0.10)))
    ):
        scene.box(
            (-7.9 + 0.1 * k, -6.1 + 0.27 * k, back + 1.4),
            (-6.1 - 0.15 * k, -6.1 + 0.27 * k + thick, back + 3.0),
            colour,
        )
    # A tall plant by the window.
    _pot(scene, (-11.2, floor, back + 3.0), 1.5, 2.9, (0.58, 0.55, 0.50))
    _plant(scene, rng, (-11.2, floor + 2.4, back + 3.0), 12.0, 46, 1.4, (0.055, 0.105, 0.040))
    scene.box((-14, floor, -18), (12, floor + 0.1, 6), (0.42, 0.36, 0.30), CARPET)
    return scene


def _office() -> Scene:
    rng = np.random.default_rng(9)
    scene = Scene(surroundings=(0.40, 0.41, 0.43))
    floor, ceiling, back, left, right = -12.0, 13.0, -17.0, -22.0, 14.0
    wall = (0.60, 0.62, 0.63)
    scene.box((left - 1, floor, back - 1), (right + 1, ceiling, back), wall, _WALL)
    scene.box((left - 1, floor - 1, back - 1), (right + 1, floor, 20), (0.26, 0.27, 0.29), CARPET)
    scene.box((left - 1, ceiling, back - 1), (right + 1, ceiling + 1, 20), (0.80, 0.80, 0.80))
    scene.box((right, floor, back - 1), (right + 1, ceiling, 20), (0.50, 0.56, 0.60), _WALL)
    scene.light((-12, ceiling - 0.05, -9), (10, 0, 0), (0, 0, 6), (8.5, 8.6, 8.8))
    scene.light((2, ceiling - 0.05, -9), (8, 0, 0), (0, 0, 6), (6.0, 6.1, 6.3))
    scene.light((left + 0.1, -4, -14), (0, 14, 0), (0, 0, 16), (5.0, 5.2, 5.6))
    # A window with its blind half closed.
    w_left, w_right, w_low, w_high = -13.2, -4.4, -4.4, 6.4
    scene.box((w_left - 0.4, w_low - 0.4, back), (w_right + 0.4, w_high + 0.4, back + 0.25), (0.74, 0.75, 0.76))
    for edge in (w_left - 0.4, 0.5 * (w_left + w_right) - 0.2, w_right):
        scene.box((edge, w_low - 0.4, back), (edge + 0.4, w_high + 0.4, back + 0.6), (0.74, 0.75, 0.76))
    scene.box((w_left - 0.7, w_low - 0.7, back), (w_right + 0.7, w_low - 0.4, back + 1.6), (0.78, 0.78, 0.77))
    middle, half = 0.5 * (w_left + w_right), 0.5 * (w_right - w_left)
    scene.add(
        BOX,
        (middle, 0.5 * (w_low + w_high), back + 0.3),
        (half, 0.5 * (w_high - w_low), 0.02),
        (0, 0, 0),
        glow=(1.25, 1.38, 1.52),
    )
    for k, y in enumerate(np.arange(w_high, w_low - 0.2, -0.50)):
        tilt = rotation(0, -38.0 - 3.0 * float(rng.random()), 0)
        shade = 0.70 + 0.02 * (k % 2)
        scene.add(
            BOX, (middle, float(y), back + 0.75), (half + 0.15, 0.025, 0.27), (shade, shade, shade * 0.98), turn=tilt
        )
    scene.box((w_left - 0.2, w_high, back + 0.45), (w_right + 0.2, w_high + 0.5, back + 1.05), (0.72, 0.72, 0.71))
    scene.light((w_left, w_low, back + 1.2), (2 * half, 0, 0), (0, w_high - w_low, 0), (0.7, 0.77, 0.85))
    for x, size in ((-12.4, 0.55), (-11.2, 0.4)):
        _pot(scene, (x, w_low - 0.4, back + 1.0), size, 0.8, (0.50, 0.30, 0.22))
        _plant(scene, rng, (x, w_low + 0.2, back + 1.0), 1.5 + size, 26, 0.5, (0.07, 0.13, 0.05))
    # A filing cabinet with folders, a clock, a door frame at the right.
    scene.box((4.6, floor, back), (9.4, -4.6, back + 4.0), (0.38, 0.41, 0.43))
    for k in range(3):
        scene.box((4.8, -7.0 - 2.4 * k, back + 4.0), (9.2, -4.9 - 2.4 * k, back + 4.08), (0.42, 0.45, 0.47))
        scene.box((6.5, -6.1 - 2.4 * k, back + 4.08), (7.5, -5.9 - 2.4 * k, back + 4.2), (0.65, 0.66, 0.67))
    for k in range(7):
        colour = ((0.10, 0.26, 0.42), (0.62, 0.62, 0.60), (0.50, 0.14, 0.10), (0.12, 0.12, 0.13))[int(rng.integers(4))]
        scene.box((4.9 + 0.52 * k, -4.6, back + 0.9), (5.36 + 0.52 * k, -1.7, back + 3.2), colour)
    scene.add(TUBE, (5.2, 3.4, back + 0.2), (1.25, 0.16, 1.25), (0.14, 0.14, 0.15), turn=rotation(0, 90, 0))
    scene.add(BALL, (5.2, 3.4, back + 0.1), (1.2, 1.2, 0.1), (0.82, 0.82, 0.80))
    for angle, length in ((-50, 0.75), (65, 1.0)):
        a = np.radians(angle)
        scene.add(
            BOX, (5.2 + np.sin(a) * length / 2, 3.4 + np.cos(a) * length / 2, back + 0.24), (0.04, length / 2, 0.02),
            (0.08, 0.08, 0.09), turn=rotation(0, 0, angle),
        )  # fmt: skip
    scene.box((11.2, floor, back), (11.6, 8.0, back + 0.35), (0.72, 0.70, 0.66))
    scene.box((11.6, floor, back), (right, 8.0, back + 0.1), (0.48, 0.34, 0.22), WOOD)
    _pot(scene, (8.6, -4.6, back + 2.0), 0.5, 0.9, (0.70, 0.70, 0.68))
    _plant(scene, rng, (8.6, -3.9, back + 2.0), 2.3, 34, 0.55, (0.10, 0.22, 0.08))
    # The back of an office chair, at the left.
    scene.add(BALL, (-7.4, -7.2, -9.5), (2.3, 3.0, 0.5), (0.06, 0.065, 0.07), texture=FABRIC)
    return scene


SCENES = {"study": _study, "office": _office}

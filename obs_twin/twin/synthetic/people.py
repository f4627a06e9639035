"""The two people that come with the project. Neither is, or is modelled on, anybody."""

from __future__ import annotations

from dataclasses import dataclass, field

Colour = tuple[float, float, float]
"""Linear RGB, 0..1."""


@dataclass(frozen=True)
class Skin:
    base: Colour
    blood: Colour
    """What the base is multiplied with where blood shows: cheeks, nose, ears."""
    lips: Colour
    lips_opacity: float
    lips_gloss: float
    shade_around_eyes: float
    freckles: float
    stubble: float
    roughness: float


@dataclass(frozen=True)
class Eyes:
    iris_inner: Colour
    iris_outer: Colour
    lash_length_dm: float
    lash_density: int


@dataclass(frozen=True)
class HairStyle:
    cut: str
    """``"short"`` or ``"bob"``, see `hair`."""
    colour: Colour
    highlight: Colour
    brow_colour: Colour
    brow_thickness: float
    brow_density: int
    brow_height_dm: float
    """Of the brow's inner end over the eye's centre."""
    strands: int


@dataclass(frozen=True)
class Clothes:
    colour: Colour
    neckline: str
    """``"crew"`` (round) or ``"vee"``."""


@dataclass(frozen=True)
class Person:
    name: str
    seed: int
    shape: dict[str, float]
    skin: Skin
    eyes: Eyes
    hair: HairStyle
    clothes: Clothes
    resting_face: dict[str, float] = field(default_factory=dict)
    """Face units of this person's neutral look."""


ADA = Person(
    name="Ada",
    seed=11,
    shape={
        "macrodetails/caucasian-female-young": 0.50,
        "macrodetails/asian-female-young": 0.30,
        "macrodetails/african-female-young": 0.20,
        "macrodetails/universal-female-young-averagemuscle-averageweight": 1.0,
        "head/head-oval": 0.85,
        "head/head-scale-vert-decr": 0.25,
        "forehead/forehead-scale-vert-decr": 0.30,
        "cheek/l-cheek-bones-incr": 0.35,
        "cheek/r-cheek-bones-incr": 0.35,
        "cheek/l-cheek-volume-decr": 0.20,
        "cheek/r-cheek-volume-decr": 0.20,
        "chin/chin-width-decr": 0.45,
        "chin/chin-prominent-incr": 0.15,
        "eyes/l-eye-scale-incr": 0.35,
        "eyes/r-eye-scale-incr": 0.35,
        "eyes/l-eye-height2-incr": 0.05,
        "eyes/r-eye-height2-incr": 0.05,
        "eyes/l-eye-corner2-up": 0.25,
        "eyes/r-eye-corner2-up": 0.25,
        "nose/nose-scale-horiz-decr": 0.25,
        "nose/nose-point-up": 0.25,
        "nose/nose-width3-decr": 0.20,
        "mouth/mouth-lowerlip-volume-incr": 0.05,
        "mouth/mouth-upperlip-volume-incr": 0.10,
        "mouth/mouth-scale-horiz-decr": 0.12,
        "mouth/mouth-cupidsbow-incr": 0.40,
        "mouth/mouth-angles-up": 0.20,
        "neck/neck-scale-horiz-decr": 0.30,
    },
    skin=Skin(
        base=(0.47, 0.285, 0.205),
        blood=(1.06, 0.78, 0.76),
        lips=(0.36, 0.12, 0.11),
        lips_opacity=0.75,
        lips_gloss=0.5,
        shade_around_eyes=0.18,
        freckles=0.25,
        stubble=0.0,
        roughness=0.40,
    ),
    eyes=Eyes((0.20, 0.10, 0.035), (0.075, 0.035, 0.015), 0.060, 230),
    hair=HairStyle("bob", (0.034, 0.015, 0.008), (0.26, 0.13, 0.065), (0.040, 0.020, 0.012), 0.95, 800, 0.142, 30000),
    clothes=Clothes(colour=(0.030, 0.085, 0.090), neckline="vee"),
    resting_face={
        "mouthSmileLeft": 0.14,
        "mouthSmileRight": 0.14,
        "eyeSquintLeft": 0.15,
        "eyeSquintRight": 0.15,
        "cheekSquintLeft": 0.1,
        "cheekSquintRight": 0.1,
    },
)

BRUNO = Person(
    name="Bruno",
    seed=23,
    shape={
        "macrodetails/caucasian-male-young": 0.55,
        "macrodetails/caucasian-male-old": 0.20,
        "macrodetails/african-male-young": 0.15,
        "macrodetails/asian-male-young": 0.10,
        "macrodetails/universal-male-young-averagemuscle-averageweight": 0.8,
        "macrodetails/universal-male-young-maxmuscle-averageweight": 0.2,
        "head/head-square": 0.35,
        "head/head-rectangular": 0.20,
        "head/head-scale-vert-decr": 0.20,
        "chin/chin-width-incr": 0.35,
        "chin/chin-cleft-incr": 0.25,
        "nose/nose-hump-incr": 0.30,
        "nose/nose-scale-depth-incr": 0.15,
        "nose/nose-point-up": 0.15,
        "nose/nose-scale-vert-decr": 0.25,
        "eyes/l-eye-scale-decr": 0.05,
        "eyes/r-eye-scale-decr": 0.05,
        "ears/l-ear-wing-incr": 0.20,
        "ears/r-ear-wing-incr": 0.25,
        "mouth/mouth-scale-horiz-incr": 0.15,
        "mouth/mouth-upperlip-volume-decr": 0.15,
        "forehead/forehead-scale-vert-decr": 0.25,
        "neck/neck-scale-horiz-incr": 0.15,
    },
    skin=Skin(
        base=(0.36, 0.215, 0.150),
        blood=(1.03, 0.78, 0.74),
        lips=(0.37, 0.145, 0.12),
        lips_opacity=0.55,
        lips_gloss=0.2,
        shade_around_eyes=0.22,
        freckles=0.1,
        stubble=0.65,
        roughness=0.42,
    ),
    eyes=Eyes((0.16, 0.20, 0.16), (0.045, 0.085, 0.10), 0.042, 140),
    hair=HairStyle("short", (0.022, 0.014, 0.010), (0.16, 0.11, 0.08), (0.018, 0.012, 0.009), 1.3, 1100, 0.125, 26000),
    clothes=Clothes(colour=(0.085, 0.10, 0.14), neckline="crew"),
    resting_face={
        "eyeWideLeft": 0.7,
        "eyeWideRight": 0.7,
        "mouthSmileLeft": 0.16,
        "browDownLeft": 0.2,
        "browDownRight": 0.2,
        "mouthSmileRight": 0.18,
    },
)

PEOPLE = {person.name: person for person in (ADA, BRUNO)}

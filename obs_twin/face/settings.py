"""What a person can set about the face."""

from __future__ import annotations

from dataclasses import dataclass, field

from obs_twin.face.dfm.settings import DfmSettings


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """All amounts are 0..1.

    Attributes:
        strength: how much of the twin is seen; 1 is all, 0 leaves the actor.
        shape: how much of the target's face shape replaces the actor's.
        light: how much of the actor's light and skin tone is put on the twin; 0 keeps the photo's colours.
        sharpness_match: how much the twin's detail is made as weak or as strong as that of the actor's picture.
        grain: how much of the camera's own noise is put back on the twin.
        feather: width of the soft edge, as a fraction of the face's width.
        eyes: how much of the target's own eyes is seen, looking where the actor looks; 0 keeps the actor's.
        iris_colour: how much of the target's eye colour is given to the actor's irises, where those are seen.
        hair_in_front: how much of the actor's hair on the forehead stays in front of the twin.
        dfm: for a DeepFaceLab model only; shape, feather, eyes, iris colour and hair are for the mesh twin only.
    """

    strength: float = 1.0
    shape: float = 0.8
    light: float = 1.0
    sharpness_match: float = 1.0
    grain: float = 1.0
    feather: float = 0.045
    eyes: float = 1.0
    iris_colour: float = 0.8
    hair_in_front: float = 1.0
    dfm: DfmSettings = field(default_factory=DfmSettings)

"""The two pictures that the engine draws and the host shows on its own decision: the card and the opening slate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from obs_twin.engine.pixels import Codec
from obs_twin.engine.twins import Twin
from obs_twin.link.formats import CARD_GREY
from obs_twin.link.frames import FrameRing
from obs_twin.twin import disclosure, slates

U8 = npt.NDArray[np.uint8]

PRIVATE = "The real picture is kept private."


def card_words(twin: Twin | None, broken: bool) -> tuple[str, str]:
    """(title, text) of the card that fits the present state. Strangers see it: no paths, no names of files.

    Args:
        twin: what the face filter asks for.
        broken: something that every twin needs is missing.
    """
    if broken:
        return "The twin cannot be shown", f"Something is missing on this computer. {PRIVATE}"
    if twin is None or twin.loading:
        return "One moment, please", "The twin is getting ready."
    if twin.problem:
        return twin.title, twin.public
    if twin.face_problem:
        return "The twin cannot be shown", f"Its face could not be loaded. {PRIVATE}"
    return "One moment, please", f"The camera sees no face, or the computer is busy. {PRIVATE}"


class Cards:
    """Keeps a ring's card and slate up to date.

    Args:
        ring: where they lie, behind the slots.
        codec: of what leaves OBS.
        pictures: the ring's slots, card and slate as flat arrays.
    """

    def __init__(self, ring: FrameRing, codec: Codec, pictures: list[U8]) -> None:
        self._ring = ring
        self._codec = codec
        self._pictures = pictures
        self._words: tuple[str, str] | None = None
        self._named: tuple[str, bool] | None = None
        self._card: U8 | None = None

    def show(self, title: str, text: str) -> None:
        """Have this card ready; drawn only when its words change."""
        if (title, text) == self._words:
            return
        self._words = (title, text)
        self._card = slates.card(self._codec.width, self._codec.height, title, [text])
        self._ring.header.card_ready = 0
        self._codec.encode(self._card, self._pictures[self._ring.card_index])
        self._ring.header.card_ready = 1

    def name(self, display_name: str, synthetic: bool) -> None:
        """Have the slate for this twin ready; drawn only when the twin changes."""
        if (display_name, synthetic) == self._named:
            return
        self._named = (display_name, synthetic)
        slate = slates.slate(self._codec.width, self._codec.height, display_name, synthetic=synthetic)
        self._ring.header.slate_ready = 0
        self._codec.encode(slate, self._pictures[self._ring.slate_index])
        self._ring.header.slate_ready = 1
        # Drawing the badge the first time takes longer than a frame has; it is kept from then on.
        disclosure.draw_badge(slate.copy(), display_name, synthetic=synthetic)

    def copy_into(self, bgr: U8) -> None:
        """Overwrite a picture with the card."""
        card = self._card
        bgr[:] = CARD_GREY if card is None else card

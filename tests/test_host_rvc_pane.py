"""The pane's RVC settings: the same names and ranges as the voice's own, and only what a person set is sent."""

from __future__ import annotations

from typing import Any

import pytest

from obs_twin.host import rvc_pane
from obs_twin.voice.rvc.settings import F0_METHODS, LIMITS, RvcSettings


class Obs:
    """The three functions of libobs that reading needs, over a dictionary."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def obs_data_has_user_value(self, settings: int, key: bytes) -> bool:
        return key.decode() in self._values

    def obs_data_get_double(self, settings: int, key: bytes) -> float:
        return float(self._values[key.decode()])

    def text(self, settings: int, key: str) -> str:
        return str(self._values[key])


def test_names_and_ranges_are_those_of_the_voice() -> None:
    for name, _, low, high, _ in rvc_pane.SLIDERS:
        assert LIMITS[name] == (low, high)
    assert {value for _, value in rvc_pane.F0_METHODS} == set(F0_METHODS)


@pytest.mark.parametrize("values", [{}, {"rvc_index_rate": 0.5}, {"rvc_protect": 0.1, "rvc_f0_method": "dio"}])
def test_only_what_was_set_is_sent(values: dict[str, Any]) -> None:
    found = rvc_pane.chosen(Obs(values), 1)  # type: ignore[arg-type]
    assert {f"rvc_{name}": value for name, value in found.items()} == values
    RvcSettings().changed(found)

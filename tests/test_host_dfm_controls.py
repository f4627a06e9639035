"""The filter's controls for DeepFaceLab models, which OBS's side spells out a second time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from obs_twin.face.dfm import settings as face_settings
from obs_twin.face.dfm.settings import DfmSettings
from obs_twin.host import dfm_controls
from obs_twin.host.filters import DEFAULTS, FaceFilter


def test_both_sides_mean_the_same() -> None:
    assert {dfm_controls.PREFIX + key: value for key, value in asdict(DfmSettings()).items()} == dfm_controls.DEFAULTS
    limits = {key: (low, high) for key, _name, low, high, _step, _default in dfm_controls.SLIDERS}
    assert limits == face_settings._LIMITS
    choices = {key: tuple(value for _shown, value in options) for key, _name, options, _ in dfm_controls.CHOICES}
    assert choices == {key: tuple(values) for key, values in face_settings._CHOICES.items()}


def test_what_is_saved_reaches_the_model_unchanged() -> None:
    values: dict[str, Any] = dict(dfm_controls.DEFAULTS)
    assert DfmSettings.from_values(values) == DfmSettings()
    values["dfm_face_mask_erode"] = -12.0
    values["dfm_color_transfer"] = "mkl"
    changed = DfmSettings.from_values(values)
    assert (changed.face_mask_erode, changed.color_transfer) == (-12.0, "mkl")


def test_every_control_is_a_setting_of_the_filter_and_stands_in_the_pane() -> None:
    keys = dict(FaceFilter.keys)
    for key, default in dfm_controls.DEFAULTS.items():
        assert keys[key] is type(default)
        assert DEFAULTS["face"][key] == default
    shown: list[str] = []

    class Pane:
        def slider(self, key: str, *_: Any) -> None:
            shown.append(key)

        def check(self, key: str, *_: Any) -> None:
            shown.append(key)

        def choice(self, key: str, *_: Any) -> None:
            shown.append(key)

    dfm_controls.fill(Pane())  # type: ignore[arg-type]
    assert sorted(shown) == sorted(dfm_controls.DEFAULTS)

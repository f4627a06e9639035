"""The three filter types as OBS shows them: names, settings, property panes.

The ids and the settings' keys are saved in people's scene collections and must never change meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from obs_twin.host import dfm_controls, libobs, rvc_pane
from obs_twin.host.delay import DEFAULT_DELAY_MS, MAX_DELAY_MS, MIN_DELAY_MS
from obs_twin.host.libobs import SOURCE_ASYNC, SOURCE_AUDIO, SOURCE_VIDEO, LibObs
from obs_twin.host.video import CARD, HOLD, PIXELATE

if TYPE_CHECKING:
    from obs_twin.host.host import Host
    from obs_twin.host.sound import SoundStream
    from obs_twin.host.video import VideoStream

BUILT_IN_TWIN = "ada"
"""Name of the synthetic persona's pack, the default: nobody's likeness is needed to try things."""

SAY_LINES = 4
"""Lines that the twin says when a key is pressed."""

HAIR_COLOURS = ("black", "dark brown", "brown", "light brown", "blond", "red", "grey", "white")
"""As the engine knows them (`face.hair.COLOURS`)."""

SYNC_BEFORE = b"sync_offset_before_ns"


class Pane:
    """A property pane under construction."""

    def __init__(self, obs: LibObs) -> None:
        self.obs = obs
        self.handle: int = obs.obs_properties_create()

    def info(self, key: str, text: str, level: int = libobs.TEXT_INFO_NORMAL) -> None:
        """A paragraph of text."""
        prop = self.obs.obs_properties_add_text(self.handle, key.encode(), text.encode(), libobs.TEXT_INFO)
        self.obs.obs_property_text_set_info_type(prop, level)
        self.obs.obs_property_text_set_info_word_wrap(prop, True)

    def text(self, key: str, label: str) -> None:
        """A line to type into."""
        self.obs.obs_properties_add_text(self.handle, key.encode(), label.encode(), libobs.TEXT_DEFAULT)

    def check(self, key: str, label: str, help_text: str = "") -> int:
        """A tick box."""
        prop = self.obs.obs_properties_add_bool(self.handle, key.encode(), label.encode())
        if help_text:
            self.obs.obs_property_set_long_description(prop, help_text.encode())
        return int(prop)

    def slider(self, key: str, label: str, low: float, high: float, step: float) -> None:
        """A slider with decimals."""
        self.obs.obs_properties_add_float_slider(self.handle, key.encode(), label.encode(), low, high, step)

    def choice(self, key: str, label: str, options: list[tuple[str, str]], help_text: str = "") -> None:
        """A list of (shown, value)."""
        prop = self.obs.obs_properties_add_list(
            self.handle, key.encode(), label.encode(), libobs.COMBO_LIST, libobs.COMBO_FORMAT_STRING
        )
        for shown, value in options:
            self.obs.obs_property_list_add_string(prop, shown.encode(), value.encode())
        if help_text:
            self.obs.obs_property_set_long_description(prop, help_text.encode())

    def picture(self, key: str, label: str) -> None:
        """A picture file to choose."""
        self.obs.obs_properties_add_path(
            self.handle, key.encode(), label.encode(), libobs.PATH_FILE, b"Pictures (*.png *.jpg *.jpeg *.webp)", None
        )

    def group(self, key: str, title: str) -> Pane:
        """A frame with a title, to be filled."""
        inner = Pane(self.obs)
        self.obs.obs_properties_add_group(self.handle, key.encode(), title.encode(), libobs.GROUP_NORMAL, inner.handle)
        return inner

    def delay(self) -> None:
        """The one delay, the same slider in each pane."""
        prop = self.obs.obs_properties_add_int_slider(
            self.handle, b"delay_ms", b"Delay of picture and voice", MIN_DELAY_MS, MAX_DELAY_MS, 50
        )
        self.obs.obs_property_int_set_suffix(prop, b" ms")
        self.obs.obs_property_set_long_description(
            prop,
            b"Everything that leaves OBS is this much late: the voice needs to hear what comes next, and the picture "
            b"waits for it. One delay for all Twin filters; changing it here changes it everywhere.",
        )


class TwinFilter:
    """What the three filters share: an OBS filter source and its settings."""

    kind = ""
    keys: tuple[tuple[str, type], ...] = ()

    def __init__(self, host: Host, settings: int, source: int) -> None:
        self.host = host
        self.source = source
        self.parent = 0
        self.values: dict[str, Any] = {}
        self._read(settings)
        host.add_filter(self)

    def _read(self, settings: int) -> None:
        obs = self.host.obs
        for key, value_type in self.keys:
            name = key.encode()
            if value_type is str:
                self.values[key] = obs.text(settings, key)
            elif value_type is bool:
                self.values[key] = bool(obs.obs_data_get_bool(settings, name))
            elif value_type is float:
                self.values[key] = float(obs.obs_data_get_double(settings, name))
        delay_ms = int(obs.obs_data_get_int(settings, b"delay_ms"))
        explicit = bool(obs.obs_data_has_user_value(settings, b"delay_ms"))
        if explicit and delay_ms != self.values.get("delay_ms"):
            self.host.choose_delay(delay_ms)
        self.values["delay_ms"] = delay_ms

    def update(self, settings: int) -> None:
        """OBS: the user (or a remote control) changed settings."""
        self._read(settings)
        self.host.settings_changed(self)

    def destroy(self) -> None:
        """OBS: this filter is gone."""
        self.host.drop_filter(self)

    def removed(self, parent: int) -> None:
        """OBS: taken off its source (it may live on for undo)."""
        self.host.detach(self)

    def show_delay(self, delay_ms: int) -> None:
        """Write the common delay into this filter's own settings, so that its pane and its file agree."""
        obs = self.host.obs
        self.values["delay_ms"] = delay_ms
        settings = obs.obs_source_get_settings(self.source)
        if settings:
            obs.obs_data_set_int(settings, b"delay_ms", delay_ms)
            obs.obs_data_release(settings)

    def video(self, frame: int) -> int:
        """Audio filters see no video."""
        return frame

    def audio(self, audio: int) -> int:
        """Video filters see no audio."""
        return audio

    def video_failed(self, frame: int) -> int | None:
        """After an error: keep the last good frame on screen, give this one back to OBS unseen."""
        self.host.obs.obs_source_release_frame(self.parent, frame)
        return None

    def audio_failed(self, audio: int) -> int | None:
        """After an error: silence."""
        return None

    def properties(self) -> int:
        """The pane."""
        pane = Pane(self.host.obs)
        text, level = self.host.filter_state(self)
        pane.info("state", text, level)
        self.fill(pane)
        return pane.handle

    def fill(self, pane: Pane) -> None:
        """Add this filter's own settings."""

    def twin_choice(self, pane: Pane) -> None:
        """The list of twin packs on this machine."""
        pane.choice("twin", "Twin", self.host.twin_options(str(self.values.get("twin", ""))))


class VideoFilter(TwinFilter):
    """A filter on an asynchronous video source (camera, capture card, media)."""

    stream: VideoStream | None = None

    def video(self, frame: int) -> int:
        stream = self.stream
        if stream is None:
            parent = self.host.obs.obs_filter_get_parent(self.source)
            if not parent:
                return self.video_failed(frame) or 0
            self.parent = int(parent)
            stream = self.stream = self.host.attach_video(self, self.parent)
        return stream.cross(self.kind, frame)


class FaceFilter(VideoFilter):
    """Twin Face."""

    kind = "face"
    keys = (
        ("twin", str),
        ("failure_policy", str),
        ("badge", bool),
        ("slate", bool),
        ("disclosure_off_reason", str),
        ("likeness", float),
        ("colour_match", float),
        ("actor_choice", str),
        ("remember_actor", bool),
        ("hair_tint", str),
        ("hair_tint_strength", float),
        *dfm_controls.KEYS,
    )

    def fill(self, pane: Pane) -> None:
        self.twin_choice(pane)
        pane.delay()
        if self.host.face_kind(str(self.values.get("twin", ""))) == "dfm":
            dfm_controls.fill(pane.group("dfm", "DeepFaceLab model"))
        else:
            pane.slider("likeness", "Likeness", 0.0, 1.0, 0.05)
            pane.slider("colour_match", "Match the room's light", 0.0, 1.0, 0.05)
        pane.choice(
            "failure_policy",
            "When the twin cannot be shown",
            [("Show a card", CARD), ("Hold the last twin picture (2 s)", HOLD), ("Pixelate everything", PIXELATE)],
            "Viewers never see the real face by accident. This is what they see instead.",
        )
        pane.choice(
            "actor_choice",
            "Whose face becomes the twin",
            [
                ("The largest face", "largest"),
                ("The face nearest to the middle", "centre"),
                ("Only mine (see 'This is me')", "enrolled"),
            ],
            "Other people's faces are never changed, and viewers see them. With 'Only mine', nobody else can become "
            "the twin: when you leave the picture, viewers get what you chose above.",
        )
        pane.check(
            "remember_actor",
            "This is me: remember my face on this computer",
            "Tick it while only you are in the picture, and look into the camera for two seconds. What is kept is a "
            "list of numbers that tells your face from others: biometric data. It stays in one file on this computer, "
            "is sent nowhere, and is deleted when you untick this.",
        )
        pane.choice(
            "hair_tint",
            "Colour of your hair",
            [("As it is", "off"), ("As in the twin's photo", "photo")]
            + [(name.capitalize(), name) for name in HAIR_COLOURS],
            "Works where your hair can be told from skin, clothes and room: not for a bald head or a hat, and hair "
            "that falls far below the chin is coloured only in part. It costs some time for each frame.",
        )
        pane.slider("hair_tint_strength", "Hair colour: how much", 0.0, 1.0, 0.05)
        pane.check("badge", "Badge: say on the picture that this is a twin")
        pane.check("slate", "Opening notice for 5 seconds")
        pane.text("disclosure_off_reason", "Reason, if badge or notice is off")


class BackgroundFilter(VideoFilter):
    """Twin Background."""

    kind = "background"
    keys = (("mode", str), ("twin", str), ("picture", str), ("blur_strength", float), ("failure_policy", str))

    def fill(self, pane: Pane) -> None:
        pane.choice(
            "mode",
            "Background",
            [
                ("A picture (the twin's room)", "replace"),
                ("Blur", "blur"),
                ("Transparent (what lies behind in the scene)", "transparent"),
            ],
        )
        self.twin_choice(pane)
        pane.picture("picture", "Another picture (instead of the twin's room)")
        pane.slider("blur_strength", "Blur", 0.05, 1.0, 0.05)
        pane.delay()


class VoiceFilter(TwinFilter):
    """Twin Voice."""

    kind = "voice"
    keys = (
        ("twin", str),
        ("converter", str),
        ("pitch_semitones", float),
        ("spoken_notice", bool),
        ("notice_minutes", float),
        ("disclosure_off_reason", str),
        *((f"say_line_{number}", str) for number in range(1, SAY_LINES + 1)),
    )
    stream: SoundStream | None = None

    def _read(self, settings: int) -> None:
        super()._read(settings)
        self.values["rvc"] = rvc_pane.chosen(self.host.obs, settings)

    def audio(self, audio: int) -> int:
        stream = self.stream
        if stream is None:
            parent = self.host.obs.obs_filter_get_parent(self.source)
            if not parent:
                return 0
            self.parent = int(parent)
            stream = self.stream = self.host.attach_sound(self, self.parent)
        return stream.cross(audio)

    def removed(self, parent: int) -> None:
        obs = self.host.obs
        settings = obs.obs_source_get_settings(self.source)
        if settings:
            if obs.obs_data_has_user_value(settings, SYNC_BEFORE):
                obs.obs_source_set_sync_offset(parent, obs.obs_data_get_int(settings, SYNC_BEFORE))
            obs.obs_data_release(settings)
        super().removed(parent)

    def remember_sync_offset(self, parent: int) -> None:
        """Keep the sync offset that the user had, to give it back when the filter is taken off."""
        obs = self.host.obs
        settings = obs.obs_source_get_settings(self.source)
        if settings:
            if not obs.obs_data_has_user_value(settings, SYNC_BEFORE):
                obs.obs_data_set_int(settings, SYNC_BEFORE, obs.obs_source_get_sync_offset(parent))
            obs.obs_data_release(settings)

    def fill(self, pane: Pane) -> None:
        self.twin_choice(pane)
        pane.delay()
        prices = self.host.voice_delays(self)
        if prices:
            pane.info("delay_prices", "The longer the delay, the better the voice:\n" + "\n".join(prices))
        pane.choice(
            "converter",
            "Voice",
            [("The twin's own", "own"), ("Light: the target's pitch and colour only", "light")],
            "The light voice needs no network and half the processor, and sounds less like the target.",
        )
        pane.slider("pitch_semitones", "Pitch (semitones)", -12.0, 12.0, 0.5)
        rvc = self.host.engine_state(self).get("rvc")
        if rvc:
            rvc_pane.fill(pane.group("rvc", "RVC voice"), self.source, rvc)
        pane.check("spoken_notice", "Spoken notice when virtual camera, stream or recording starts")
        pane.slider("notice_minutes", "Say it again every (minutes)", 5.0, 60.0, 5.0)
        pane.text("disclosure_off_reason", "Reason, if the notice is off")
        lines = pane.group("say_lines", "Lines that the twin says when you press a key (see Settings > Hotkeys)")
        for number in range(1, SAY_LINES + 1):
            lines.text(f"say_line_{number}", f"Line {number}")


class _Type:
    """A filter type: id, name, flags, defaults."""

    def __init__(self, host: Host, type_id: str, name: str, flags: int, cls: type[TwinFilter]) -> None:
        self.host = host
        self.id = type_id
        self.name = name
        self.output_flags = flags
        self._cls = cls

    def defaults(self, settings: int) -> None:
        obs = self.host.obs
        for key, value in DEFAULTS[self._cls.kind].items():
            name = key.encode()
            if isinstance(value, bool):
                obs.obs_data_set_default_bool(settings, name, value)
            elif isinstance(value, float):
                obs.obs_data_set_default_double(settings, name, value)
            elif isinstance(value, str):
                obs.obs_data_set_default_string(settings, name, value.encode())
        obs.obs_data_set_default_int(settings, b"delay_ms", DEFAULT_DELAY_MS)

    def create(self, settings: int, source: int) -> TwinFilter:
        return self._cls(self.host, settings, source)


DEFAULTS: dict[str, dict[str, bool | float | str]] = {
    "face": {
        "twin": BUILT_IN_TWIN,
        "failure_policy": CARD,
        "badge": True,
        "slate": True,
        "disclosure_off_reason": "",
        "likeness": 1.0,
        "colour_match": 1.0,
        "actor_choice": "largest",
        "remember_actor": False,
        "hair_tint": "off",
        "hair_tint_strength": 0.8,
        **dfm_controls.DEFAULTS,
    },
    "background": {
        "mode": "replace",
        "twin": BUILT_IN_TWIN,
        "picture": "",
        "blur_strength": 0.5,
        "failure_policy": CARD,
    },
    "voice": {
        "twin": BUILT_IN_TWIN,
        "converter": "own",
        "pitch_semitones": 0.0,
        "spoken_notice": True,
        "notice_minutes": 10.0,
        "disclosure_off_reason": "",
        **{f"say_line_{number}": "" for number in range(1, SAY_LINES + 1)},
    },
}


def filter_types(host: Host) -> list[_Type]:
    """The three types, to be registered."""
    video = SOURCE_VIDEO | SOURCE_ASYNC
    return [
        _Type(host, "obs_twin_face", "Twin Face", video, FaceFilter),
        _Type(host, "obs_twin_voice", "Twin Voice", SOURCE_AUDIO, VoiceFilter),
        _Type(host, "obs_twin_background", "Twin Background", video, BackgroundFilter),
    ]

"""The rig against OBS alone: what it measures must be what OBS is known to do without a twin."""

import time
from pathlib import Path

import pytest

from tests.rig import measure
from tests.rig.bench import Bench
from tests.rig.camera import PictureTap
from tests.rig.clip import make_counter_clip
from tests.rig.scene import SceneCollection, media

pytestmark = pytest.mark.obs


def test_obs_without_a_twin(tmp_path: Path) -> None:
    clip = make_counter_clip(tmp_path / "clip.mov")
    with Bench(SceneCollection((media("Actor", clip.path),))) as bench:
        bench.wait_frames(15)
        with PictureTap(bench.camera, measure.read_counter) as tap:
            time.sleep(12)
        sound = bench.cable.sound()
        ending = bench.obs.close()

    picture = measure.picture_series(tap.times_ns, tap.seen, clip)
    voice = measure.voice_series(sound, clip)
    step = measure.step(picture, voice)
    print(step, f"cable jitter {sound.jitter_ms:.2f} ms", ending.profile["tick_sources"])

    # OBS's monitoring is some frames quicker than its virtual camera; by how much differs from start to start.
    assert 20 < step.median_ms < 140, step
    assert step.spread_ms < 50, step
    assert step.frames > 250, step
    assert step.voice_windows > 10, step

    # Nothing stands between the actor and the meeting, and the detectors must say so.
    assert len(measure.raw_voice(sound, clip)) > 40
    assert len(measure.raw_frames(picture, picture.median_phase_s(), delay_s=1.0)) == len(picture)
    assert not len(measure.raw_frames(picture, picture.median_phase_s() + 1.0, delay_s=1.0))

    assert ending.exit_status == 0, ending.log
    assert ending.memory_leaks == 0, ending.log
    assert {"tick_sources", "render_video", "obs_graphics_thread"} <= ending.profile.keys()
    assert ending.profile["tick_sources"].median_ms < 2

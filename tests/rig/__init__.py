"""The rig: a real OBS, seen and heard as a meeting app would see and hear it.

    display.py   an X server of its own, photographs of windows, clicks and keys
    sound.py     a PulseAudio daemon of its own with the virtual cable, and the tap that records the cable
    camera.py    the virtual camera's device (fake_v4l2.c) and the tap that reads its frames
    scene.py     scene collections, built from sources and filters
    obs.py       OBS with a throw-away configuration; obs-websocket; clean close; log and profiler figures
    clip.py      clips whose every picture and syllable has a known time
    measure.py   delay, step between picture and voice, raw leaks, from what the taps got
    bench.py     all of these together

Everything is private to one `Bench`: display, sound daemon, camera, configuration, ports. Several run side by side.
"""

"""OBS and the voice come first, then the picture."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, threading
from obs_twin.engine.priority import lower_process, lower_thread, raise_voice

def now():
    me = threading.get_native_id()
    return os.getpriority(os.PRIO_PROCESS, me), os.sched_getscheduler(me)

def picture():
    lower_thread()
    found["picture"] = now()
    helper = threading.Thread(target=lambda: found.update(helper=now()))
    helper.start()
    helper.join()

def voice():
    raise_voice()
    found["voice"] = now()

found = {"before": now()}
lower_process()
for work in (picture, voice):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert found["voice"] == found["before"], found
assert found["picture"] == found["helper"] == (max(5, found["before"][0]), os.SCHED_BATCH), found
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_pictures_stand_back_and_the_voice_does_not() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)

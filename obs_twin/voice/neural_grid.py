"""The grid of the neural voice, counted from the first sample of the stream.

    block of the plan  |<-------- chunk -------->|<- right context ->|
    frame, 25 ms       |     |     |     |     | ...   adapter: what is said (40 a second)
    step, 12.5 ms      |  |  |  |  |  |  |  |  | ...   decoder: pitch, energy, spectrum (80 a second)

Sound is heard at 16 kHz and made at 24 kHz; both divide the grid without a remainder.
"""

from __future__ import annotations

HEAR_RATE_HZ = 16_000
MAKE_RATE_HZ = 24_000
STEPS_PER_FRAME = 2
FRAME_S = 0.025
STEP_S = FRAME_S / STEPS_PER_FRAME
HEAR_FRAME = 400  # samples at 16 kHz
HEAR_STEP = HEAR_FRAME // STEPS_PER_FRAME
MAKE_STEP = 300  # samples at 24 kHz
MAKE_FRAME = MAKE_STEP * STEPS_PER_FRAME

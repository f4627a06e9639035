"""How the voice adapter is trained, and Whisper's encoder taught to hear a stream: from text, and from recordings.

    text -> phonemes -> latents, F0, energy -> decoder -> speech in a made-up voice       (speech.py, kokoro.py)
         -> room, microphone, codec, noise -> shards of sound and what is said in it       (augment.py, shards.py)
    recording and its text -> which frame holds which sound -> shards of the same kind     (recordings.py)
    rows of sound -> Whisper's encoder, as a stream of blocks, with what it learns         (batches.py, hearing.py)
         -> adapter -> the very latents, energy and voicing that were spoken     (views.py, network.py, course.py)

The generated speech is made by the networks whose latents are the target, so every frame of it is labelled exactly, and
one sentence can be spoken by as many voices as one likes. Real people speak otherwise: their recordings are labelled by
the adapter itself, as soon as it has learnt enough to find a known sentence in them. One command does all of it:

    python -m obs_twin.voice.training.adapter --out models --work FOLDER --recordings SPEECH

Needs the extra `training` (PyTorch). What the trained network takes and gives (the contract that
the converter relies on), for `F` frames of 25 ms, a block of a stream and what is heard after it:

========== =============== ==========================================================================
input      shape           meaning
========== =============== ==========================================================================
features   (1, F, 1024)    what `obs_twin.voice.listening` hears, at 40 Hz
past_k     (1, P, 256)     what layer k was given of the P frames before the block; at first zeros
========== =============== ==========================================================================
output
latent     (1, F, 128)     what the decoder speaks; each frame is repeated twice (the decoder has 80 Hz)
energy     (1, F, 2)       the decoder's log energy, 80 Hz
voiced     (1, F, 2)       logit: the frame has a pitch, 80 Hz
speech     (1, F)          logit: the frame is speech, and no pause, breath, noise or typing
given_k    (1, F, 256)     what layer k was given; of frames that are not heard again, its next past
========== =============== ==========================================================================

Frame k is centred at (k + 0.5) * 25 ms of the block. The network looks 8 frames (0.2 s) ahead and is trained
on blocks with little after them too, so it also answers for the last frames, only less surely.
"""

"""Makes the training data: shards of twenty minutes (Kokoro: five), each from its own seed. So any of them can be made
again, in any order, by any number of processes, while the training already runs on those that exist.

    python -m obs_twin.voice.training.dataset --work FOLDER --shards 0:60            # hibari: 10 s of CPU each
    python -m obs_twin.voice.training.dataset --work FOLDER --shards 0:12 --kokoro
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from obs_twin.voice.training.kokoro import Kokoro
from obs_twin.voice.training.shards import ShardWriter
from obs_twin.voice.training.sources import fetch_all, kokoro_model, kokoro_styles, prose_files
from obs_twin.voice.training.speech import F32, Hibari, Narrator, SpeechError
from obs_twin.voice.training.texts import Writer, is_held_out

HIBARI_SHARD_S, KOKORO_SHARD_S = 1200.0, 300.0  # Kokoro takes 3 minutes of CPU for five of speech
SILENCE_EVERY = 14
LONG_ENOUGH, MORE_SHARE = 70, 0.6
"""Characters of a sentence; to most shorter ones another is added, in the same breath."""
HELD_OUT_SHARE = 0.06
"""Of Kokoro's sentences, spoken by held-out voices."""


def silence_latent(hibari: Hibari) -> F32:
    """(128,) the latent of the pause before a sentence, averaged over a few."""
    texts = ("Good morning.", "The weather is fine today.", "What did she say about it?", "No, thank you.")
    return np.asarray(np.mean([hibari.tokens(hibari.ids(text))[0][0, :, 0] for text in texts], axis=0), np.float32)


def make_shard(path: Path, seed: tuple[int, ...], narrator: Narrator, writer: Writer, kokoro: Kokoro | None) -> None:
    """Speak, spoil and cut sentences into windows until the shard is full; write it to `path`."""
    rng = np.random.default_rng(seed)
    shard = ShardWriter(silence_latent(narrator.hibari), rng)
    count = 0
    while shard.seconds < (HIBARI_SHARD_S if kokoro is None else KOKORO_SHARD_S):
        sentence = writer.sentence(rng)
        held_out = is_held_out(sentence)
        if len(sentence) < LONG_ENOUGH and rng.random() < MORE_SHARE:
            more = writer.sentence(rng)
            held_out |= is_held_out(more)
            sentence = f"{sentence} {more}"
        try:
            if kokoro is None:
                shard.add(narrator.speak(sentence, rng), held_out)
            else:
                strange = bool(rng.random() < HELD_OUT_SHARE)
                shard.add(kokoro.speak(sentence, rng, strange), held_out or strange)
        except SpeechError:
            continue
        count += 1
        if count % SILENCE_EVERY == 0:
            shard.add_silence(held_out=False)
    shard.save(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say where things lie and what to read aloud."""
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made on the way")
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="further prose to read aloud")
    parser.add_argument("--seed", type=int, default=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    add_arguments(parser)
    parser.add_argument("--shards", default="0:36", help="first:last+1")
    parser.add_argument("--kokoro", action="store_true", help="shards of Kokoro's voices, not of hibari's")
    arguments = parser.parse_args()
    first, last = (int(part) for part in arguments.shards.split(":"))
    make_shards(arguments, range(first, last), arguments.kokoro)


def make_shards(arguments: argparse.Namespace, indices: range, with_kokoro: bool) -> None:
    """Make those of the shards that do not exist yet, after fetching what they are made from.

    Raises:
        ModelError: something cannot be fetched.
    """
    work: Path = arguments.work
    networks, data = work / "networks", work / "data"
    paths = {index: data / f"{'kokoro' if with_kokoro else 'hibari'}-{index:03d}.npz" for index in indices}
    missing = {index: path for index, path in paths.items() if not path.is_file()}
    if not missing:
        return
    for folder in (networks, data):
        folder.mkdir(parents=True, exist_ok=True)
    fetch_all()
    narrator = Narrator(networks)
    kokoro = None
    if with_kokoro:
        kokoro = Kokoro(kokoro_model(networks), kokoro_styles(), narrator.hibari, networks)
    writer = Writer([*prose_files(), *arguments.text])
    for index, path in missing.items():
        if path.is_file():  # made by another process meanwhile
            continue
        began = time.process_time()
        make_shard(path, (arguments.seed, int(with_kokoro), index), narrator, writer, kokoro)
        print(f"{path.name}: {time.process_time() - began:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()

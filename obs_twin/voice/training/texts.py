"""Sentences to speak: many, of every style, from sources that any machine has or can get.

* templates of everyday talk, numbers, dates and names, written for this purpose;
* sentences out of the docstrings of the standard library and of installed packages (PSF, BSD);
* runs of random words out of the lexicon of hibari-tts (Apache-2.0), for rare sounds in every neighbourhood;
* prose: WordNet's glosses and examples (`data.noun`, ...: WordNet licence, free for any use), the American Standard
  Version of the Bible (1901, public domain), and any further text.

Whether a sentence is held out for evaluation follows from its own checksum, so no split can leak.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import inspect
import json
import pkgutil
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HELD_OUT_ONE_IN = 40
WORDS_MIN, WORDS_MAX = 3, 24

_SENTENCE_END = re.compile(r"(?<=[.!?;:])\s+")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9 ,'\-]+[.!?;:]?")
_GLOSS_EXAMPLE = re.compile(r'"([^"]{12,140})"')

_SLOTS = {
    "who": "I|you|we|they|she|he|my brother|our neighbour|the teacher|that guy|everybody|nobody|your mother|the whole "
    "team|a young woman|the old captain|my boss|the doctor|George|Victoria|Jessica|Matthew|Doctor Singh|Ms Okafor|"
    "Charlotte|Joshua|Hiroshi|Guillermo|Fatima|Xavier|Wolfgang|Thelma|Ruth|Jean-Paul|Zoë|Yusuf|the youth worker",
    "verb": "think|know|hope|guess|believe|heard|noticed|remember|figured|wish|thought|said|decided|doubt|imagine",
    "adj": "good|bad|huge|tiny|yellow|purple|awful|gorgeous|weird|lovely|smooth|rough|quiet|noisy|expensive|cheap|"
    "delicious|fresh|ancient|brand new|useful|boring|curious|genuine|vague|juicy|thick|thin|rural|mature|azure|"
    "strange|healthy|sixth|worthwhile|thorough|fuzzy|sharp|gentle|wooden|usual",
    "noun": "house|garage|kitchen|computer|microphone|camera|picture|meeting|project|budget|schedule|language|mountain|"
    "river|weather|thunder|measure|treasure|machine|garden|window|bridge|church|judge|orange juice|chocolate|"
    "breakfast|vegetable|birthday|bicycle|journey|village|engine|orchestra|question|answer|youth|truth|clothes|voice|"
    "noise|toy|boy|cloud|mouth|town|shoe|book|wolf|wood|sugar|cushion|password|browser|slide|headset|beige sweater|"
    "path|breath|thumb|width|strength|explosion|vision|television|jungle|whisper|squirrel|giraffe|zoo",
    "act": "go to the store|finish the report|call you back|turn off the lights|share my screen|send the file|take a "
    "break|walk the dog|catch the early train|fix the broken chair|wash the dishes|borrow your jacket|change the "
    "channel|check the numbers again|visit the museum|write a short message|watch the game|throw it away|breathe "
    "slowly|choose another colour|enjoy the view|join the video call|move this over there|mute your microphone|push "
    "the release|book a flight to Chicago|measure the width of the bath|think it through|show you the next slide",
    "time": "today|tomorrow morning|last Thursday|in the afternoon|right now|next week|at half past three|before lunch|"
    "after the show|every single day|usually|in about twenty minutes|on the fifth of January|a while ago|at {n}:{m}|"
    "in {year}|on the {n}th|for {n} months",
}
_TEMPLATE_LINES = """
Hello everyone, can you hear me {time}?
{who} {verb} the {noun} was really {adj}.
Do you want to {act} {time}?
I would love to {act}, but the {noun} is too {adj}.
Well, {who} {verb} we should {act} {time}.
Oh yeah, that {adj} {noun} over there is mine.
Why did {who} leave the {noun} near the {noun}?
Let me {act} and then we can talk about the {adj} {noun}.
It's a {adj}, {adj} {noun}, isn't it?
No, I don't think {who} will {act} {time}.
There are {n} {adj} things in the {noun}.
Could you please {act}? The {noun} looks {adj}.
Thanks so much, {who} {verb} it was {adj}.
If the {noun} gets {adj}, just {act}.
We've got {n} minutes left, so let's {act}.
What a {adj} {noun}! Where did {who} find it?
Honestly, the {noun} and the {noun} are both {adj}.
My {noun} is {adj}, yours is {adj}, and theirs is {adj}.
It costs {n} dollars and {m} cents.
The number is {n}, {m}, {n}, {n}.
About {n} percent of the {noun} was {adj} in {year}.
Okay.
Yes, exactly.
No, no, not that one.
Um, {who} {verb} so.
Right. So, {act}.
Sorry, what did you say about the {noun}?
Good morning, and welcome to the {noun}.
Next slide, please.
{who} should've {verb} the {noun} through {time}.
They're with us through thick and thin, {who} {verb}.
She'd rather {act} than {act}.
Mm-hm, that's {adj}.
I'll {act}, you'll {act}, and {who} can {act}.
On the one hand it's {adj}; on the other hand, it's {adj}.
"""
_FUNCTION_WORD_TEXT = """
the a of and to in with from was is but for by his her this that when under over they you their through would which
as at than had it we she he not be are or an if so what there can all were my one has been who will more no
"""
_PACKAGE_NAMES = """
argparse ast asyncio calendar collections concurrent csv ctypes decimal difflib doctest email fractions functools
heapq http imaplib inspect ipaddress itertools json logging mailbox math multiprocessing numbers optparse os pathlib
pdb pickle plistlib random shutil smtplib socket sqlite3 ssl statistics string subprocess tarfile tempfile textwrap
threading timeit tkinter tokenize traceback turtle typing unittest urllib uuid warnings wave weakref xml zipfile
numpy scipy onnx onnxruntime soundfile
"""
_TEMPLATES = _TEMPLATE_LINES.strip().splitlines()
_FUNCTION_WORDS = _FUNCTION_WORD_TEXT.split()
_PACKAGES = _PACKAGE_NAMES.split()


def _sentences(text: str) -> list[str]:
    """Speakable sentences of a text: plain words, of a length that one breath carries."""
    found = []
    for part in _SENTENCE_END.split(re.sub(r"\s+", " ", text)):
        part = part.strip().strip("\"'()")
        if (
            _PLAIN.fullmatch(part)
            and WORDS_MIN <= len(part.split()) <= WORDS_MAX
            and not re.search(r"[a-z][A-Z]|[A-Z]{5}", part)
        ):
            found.append(part.rstrip(";:.") + ("" if part[-1] in "?!" else "."))
    return found


def docstring_sentences() -> list[str]:
    """Sentences of the docstrings of installed packages; what is not installed is passed over."""
    import pydoc_data.topics

    texts = list(pydoc_data.topics.topics.values())
    for name in _PACKAGES:
        try:
            package = importlib.import_module(name)
        except ImportError:
            continue
        modules = [package]
        for info in pkgutil.iter_modules(getattr(package, "__path__", [])):
            full_name = f"{name}.{info.name}"
            if not info.name.startswith(("_", "test", "conftest")):
                with contextlib.suppress(Exception):
                    modules.append(importlib.import_module(full_name))
        for module in modules:
            for member in [module, *vars(module).values()]:
                texts.append(_doc(member))
                if inspect.isclass(member):
                    texts.extend(_doc(method) for method in vars(member).values())
    return sorted({sentence for text in texts for sentence in _sentences(text)})


def _doc(member: object) -> str:
    doc = getattr(member, "__doc__", None)
    return doc if isinstance(doc, str) else ""


def prose_sentences(path: Path) -> list[str]:
    """Sentences of a text file; of a WordNet data file its glosses and the examples in quotation marks.

    Raises:
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".py":  # a package that holds its text in one long literal
        text = re.sub(r"[\[\]]", "", text.split('"""')[1])
    if not path.name.startswith("data."):
        return sorted(set(_sentences(text)))
    found = set()
    for line in text.splitlines():
        gloss = line.partition(" | ")[2]
        for example in _GLOSS_EXAMPLE.findall(gloss):
            found.update(_sentences(example[0].upper() + example[1:] + "."))
        meaning = gloss.split(";")[0].split('"')[0].strip()
        if meaning:
            found.update(_sentences(meaning[0].upper() + meaning[1:] + "."))
    return sorted(found)


def lexicon_words() -> list[str]:
    """Every plain word of hibari's American lexicon (some 80 thousand, names included)."""
    from hibari.tts import ASSETS

    with gzip.open(Path(ASSETS) / "lexicon_us_gold.json.gz", "rt", encoding="utf-8") as file:
        return sorted(word for word in json.load(file) if re.fullmatch(r"[A-Za-z][a-z]{2,12}", word))


def is_held_out(sentence: str) -> bool:
    """Whether a sentence belongs to the evaluation set; depends on nothing but its letters."""
    return zlib.crc32(sentence.lower().encode()) % HELD_OUT_ONE_IN == 0


class Writer:
    """Draws sentences: `Writer(prose_files).sentence(rng)`; the same seed gives the same sentences."""

    def __init__(self, prose_files: Sequence[Path] = ()) -> None:
        self._prose = [found for found in (prose_sentences(path) for path in prose_files) if found]
        self._docs = docstring_sentences()
        self._words = lexicon_words()

    def sentence(self, rng: np.random.Generator) -> str:
        """One sentence, any style."""
        kind = rng.random()
        if kind < 0.2:
            return self._from_template(rng)
        if kind < 0.42:
            return self._random_words(rng)
        if kind < 0.55 or not self._prose:
            return self._docs[rng.integers(len(self._docs))]
        sizes = np.sqrt([len(sentences) for sentences in self._prose])
        prose = self._prose[rng.choice(len(sizes), p=sizes / sizes.sum())]
        return prose[rng.integers(len(prose))]

    def _from_template(self, rng: np.random.Generator) -> str:
        def fill(match: re.Match[str]) -> str:
            if match[1] in ("n", "m"):
                return str(rng.integers(2, 121 if match[1] == "n" else 60))
            if match[1] == "year":
                return str(rng.integers(1890, 2031))
            choices = _SLOTS[match[1]].split("|")
            return re.sub(r"\{(\w+)\}", fill, choices[rng.integers(len(choices))])

        text = re.sub(r"\{(\w+)\}", fill, _TEMPLATES[rng.integers(len(_TEMPLATES))])
        return text[0].upper() + text[1:]

    def _random_words(self, rng: np.random.Generator) -> str:
        words = []
        for _ in range(rng.integers(3, 9)):
            if rng.random() < 0.5:
                words.append(_FUNCTION_WORDS[rng.integers(len(_FUNCTION_WORDS))])
            word = self._words[rng.integers(len(self._words))]
            words.append(word + ("," if rng.random() < 0.08 else ""))
        text = " ".join(words).rstrip(",")
        return text[0].upper() + text[1:] + "..?!"[rng.integers(4)]

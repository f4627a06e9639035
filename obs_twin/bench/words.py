"""Word error rate, with the text normalised as Whisper's authors do it (Radford et al. 2022, appendix C)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from obs_twin.bench.extra import require


@lru_cache(maxsize=1)
def _normaliser() -> Any:
    return require("whisper_normalizer.english").EnglishTextNormalizer()


def normalise(text: str) -> list[str]:
    """The words of an English text: lower case, no punctuation, one spelling, contractions and numbers written out."""
    words: list[str] = _normaliser()(text).split()
    return words


def word_errors(reference: str, heard: str) -> tuple[int, int]:
    """(substitutions + insertions + deletions, words of the reference), after normalising both."""
    return edit_distance(normalise(reference), normalise(heard)), len(normalise(reference))


def word_error_rate(reference: str, heard: str) -> float:
    """Errors per word of the reference; 0 if both are empty, 1 if only the reference is."""
    errors, words = word_errors(reference, heard)
    return errors / words if words else float(errors > 0)


def edit_distance(a: list[str], b: list[str]) -> int:
    """Levenshtein distance of two lists of words."""
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]

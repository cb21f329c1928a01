"""Which training rows are too like a held-out document."""

import re
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from training.demo.examples import Example

_WORD = re.compile(r"\w+|[^\w\s]")
_SHINGLE = 8
_SHARE = 0.5
# One in four shingles stands for all, by its hash.
_SAMPLED = 4


class HeldOut:
    """Held-out documents, and what is like them.

    A row is like a held-out one with the same summary and the same last part of its name, with the same words, or with
    half of its runs of eight words in common with it.

    >>> held_out = HeldOut([Example("def f(a):\\n  return a", "Give it back.", "A.f")])
    >>> held_out.holds(Example("def f(a): return a", "Something else."))
    True
    >>> held_out.holds(Example("def f(a, b): ...", "Give it back.", "B.f"))
    True
    >>> held_out.holds(Example("def g(a, b): ...", "Give it back.", "B.g"))
    False
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        self._named: set[tuple[str, str]] = set()
        self._words: set[int] = set()
        self._documents: dict[int, set[int]] = {}
        for number, example in enumerate(examples):
            self._named.add(_named(example))
            words = _WORD.findall(example.document)
            self._words.add(_hash(" ".join(words)))
            for shingle in _shingles(words):
                self._documents.setdefault(shingle, set()).add(number)

    def holds(self, example: Example) -> bool:
        """Whether a row is like a held-out one."""
        if example.name and _named(example) in self._named:
            return True
        words = _WORD.findall(example.document)
        if _hash(" ".join(words)) in self._words:
            return True
        shingles = _shingles(words)
        shared: Counter[int] = Counter()
        for shingle in shingles:
            shared.update(self._documents.get(shingle, ()))
        return bool(shared) and max(shared.values()) >= _SHARE * len(shingles)


def _named(example: Example) -> tuple[str, str]:
    return example.name.rsplit(".", 1)[-1], " ".join(_WORD.findall(example.summary.lower()))


def _shingles(words: list[str]) -> set[int]:
    hashes = (_hash(" ".join(words[start : start + _SHINGLE])) for start in range(len(words) - _SHINGLE + 1))
    return {value for value in hashes if value % _SAMPLED == 0}


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")

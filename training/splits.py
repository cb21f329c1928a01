"""Parts of a corpus that share no module: split, counted and written."""

import hashlib
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from export.client.strict_json import dumped
from tfmodels.utils.files import written_whole
from training.examples import Example


@dataclass(frozen=True)
class Split:
    """Examples in three parts that share no module."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


@dataclass(frozen=True)
class PartSummary:
    """Count and document lengths (in characters) of one part. `longest` and `median` are 0 for an empty part."""

    name: str
    examples: int
    modules: int
    characters: int
    median: int
    longest: int


@dataclass(frozen=True)
class LengthBin:
    """The number of documents with a length in characters of `low <= length < high`."""

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class CorpusSummary:
    """The counts of each part and of all parts together, and the histogram of lengths."""

    parts: tuple[PartSummary, ...]
    total: PartSummary
    histogram: tuple[LengthBin, ...]


def split_by_module(examples: Iterable[Example], validation: float = 0.05, test: float = 0.05) -> Split:
    """Split by a hash of the module's name, so that no module is in two parts and the parts never change.

    An example without a module is placed by its document. A part can be empty when there are few modules.

    Args:
        examples: the examples; their order is kept within each part.
        validation: the share of modules for validation, from 0 to 1.
        test: the share of modules for testing, from 0 to 1.

    Raises:
        ValueError: a share that is not between 0 and 1, or shares that leave nothing to train on.

    >>> split = split_by_module([Example("def f(): pass", "Do nothing at all.", "f", "m")])
    >>> len(split.train) + len(split.validation) + len(split.test)
    1
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} must be at least 0 and below 1. Received: {name}={share}")
    if validation + test >= 1:
        raise ValueError(
            f"validation + test must be below 1, so that something is left to train on. "
            f"Received: validation={validation}, test={test}"
        )
    split = Split([], [], [])
    for example in examples:
        position = _position(example.module or example.document)
        if position < test:
            split.test.append(example)
        elif position < test + validation:
            split.validation.append(example)
        else:
            split.train.append(example)
    return split


def write_jsonl(examples: Iterable[Example], path: str | os.PathLike) -> None:
    """Write one JSON object a line with the fields of `Example`; the file takes its name only when it is whole.

    Raises:
        OSError: a folder that does not exist or cannot be written.
    """
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as stream:
        for example in examples:
            stream.write(dumped(asdict(example)) + "\n")


def corpus_summary(split: Split) -> CorpusSummary:
    """Count examples, modules and characters per part, and document lengths over bins that double in width.

    >>> corpus_summary(Split([Example("x" * 100, "Some text.")], [], [])).histogram
    (LengthBin(low=64, high=128, count=1),)
    """
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    everything = [example for part in parts.values() for example in part]
    lengths = [len(example.document) for example in everything]
    return CorpusSummary(
        parts=tuple(_part_summary(name, part) for name, part in parts.items()),
        total=_part_summary("total", everything),
        histogram=_histogram(lengths),
    )


def _position(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _part_summary(name: str, examples: Sequence[Example]) -> PartSummary:
    lengths = [len(example.document) for example in examples]
    return PartSummary(
        name=name,
        examples=len(examples),
        modules=len({example.module for example in examples}),
        characters=sum(lengths),
        median=int(statistics.median(lengths)) if lengths else 0,
        longest=max(lengths, default=0),
    )


def _histogram(lengths: Sequence[int]) -> tuple[LengthBin, ...]:
    if not lengths:
        return ()
    counts: dict[int, int] = {}
    for length in lengths:
        exponent = max(length.bit_length() - 1, 0)
        counts[exponent] = counts.get(exponent, 0) + 1
    exponents = range(min(counts), max(counts) + 1)
    # The bin of exponent 0 also takes documents of length 0.
    return tuple(LengthBin(2**e if e else 0, 2 ** (e + 1), counts.get(e, 0)) for e in exponents)

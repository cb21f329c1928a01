"""The record of training data: a document and its summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, slots=True)
class Example:
    """A document with its reference summary.

    Attributes:
        document: the text that the model reads.
        summary: the text that the model learns to write.
        name: the document's name in its source, `"JSONEncoder.default"` or `"train.jsonl:12"`.
        module: the group that must stay in one part of a split, `"json.encoder"`; may be empty.

    Example:

    >>> Example(document="def area(r):\\n    return pi * r * r", summary="Return the area of a disc.").name
    ''
    """

    document: str
    summary: str
    name: str = ""
    module: str = ""


Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items at even distances: of ordered examples, some of every package.

    >>> spread("abcdef", 3)
    ['a', 'c', 'e']
    """
    step = max(1.0, len(items) / count)
    return [items[int(index * step)] for index in range(min(count, len(items)))]

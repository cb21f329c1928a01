"""The one record that the data side hands around: a document and the summary to be learnt from it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A document with its reference summary.

    Attributes:
        document: The text that the model reads.
        summary: The text that the model learns to write.
        name: What the document is called where it comes from, `"JSONEncoder.default"` or `"train.jsonl:12"`.
        module: The group that must stay on one side of a train/test split, `"json.encoder"`; empty when there is none.

    Example:

    >>> Example(document="def area(r):\\n    return pi * r * r", summary="Return the area of a disc.").name
    ''
    """

    document: str
    summary: str
    name: str = ""
    module: str = ""

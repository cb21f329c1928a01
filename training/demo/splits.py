"""Parts of a corpus that share no module."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from export.client.strict_json import dumped
from tfmodels.utils.files import written_whole
from training.data.rows import position
from training.demo.examples import Example


@dataclass(frozen=True)
class Split:
    """Examples in three parts that share no module."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


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
        place = position(example.module or example.document)
        if place < test:
            split.test.append(example)
        elif place < test + validation:
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

"""What a task is: the fields that it reads, the columns of integers that it keeps, and the batches that it makes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class EncodedColumn:
    """One column of some rows: the integers of each row, and how many there were before they were cut.

    >>> EncodedColumn([np.array([1, 2])], np.array([5])).true_sizes.tolist()
    [5]
    """

    values: Sequence[np.ndarray]
    true_sizes: np.ndarray


class Columns(Protocol):
    """What a task reads of a store to make a batch."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    def __len__(self) -> int: ...

    def values(self, column: str, row: int) -> np.ndarray: ...


class Task(Protocol):
    """A kind of training data. A task is small and can be pickled: the processes that tokenize get it as it is.

    Attributes:
        fields: the fields of a row, each with a text; the first one places a row that has no group.
        columns: the columns of integers that `encode` makes.
        length_column: the column whose sizes say which batches a row fits in.
        label_column: the column whose sizes are the numbers of labels of a row, by which losses are weighted.
    """

    @property
    def fields(self) -> tuple[str, ...]: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def length_column(self) -> str: ...

    @property
    def label_column(self) -> str: ...

    def settings(self) -> dict[str, Any]:
        """All that the integers of a row depend on beside the tokenizer: other settings are another store."""
        ...

    def dtypes(self, tokenizer: Any) -> dict[str, str]:
        """The type of each column, an integer's."""
        ...

    def facts(self, tokenizer: Any) -> dict[str, Any]:
        """What `batch` needs of the tokenizer, as values of JSON."""
        ...

    def encode(self, rows: Sequence[tuple[str, ...]], tokenizer: Any) -> dict[str, EncodedColumn]:
        """The columns of rows, each row the texts of `fields`."""
        ...

    def batch(
        self, store: Columns, rows: Sequence[int] | np.ndarray, length: int, fill_to: int | None = None
    ) -> dict[str, np.ndarray]:
        """The padded arrays of some rows of a store."""
        ...

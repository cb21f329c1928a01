"""The face that every checkpoint file format shows: named tensors, read one at a time."""

import difflib
import io
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import numpy as np


class TensorReader(ABC):
    """The tensors of an open checkpoint. Use it as a context manager, or call `close`.

    Opening reads names and shapes only; `read` brings in one tensor's data, so that a checkpoint larger than memory can
    be loaded piece by piece.
    """

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all tensors, sorted."""

    @abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading its data.

        Raises:
            KeyError: If there is no tensor of that name.
        """

    @abstractmethod
    def dtype(self, name: str) -> np.dtype:
        """The stored type of a tensor, without reading its data. bfloat16 is the type of `ml_dtypes`.

        Raises:
            KeyError: If there is no tensor of that name.
            ValueError: If NumPy and `ml_dtypes` have no such type.
        """

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """A tensor's data in its stored type, in memory of its own.

        Raises:
            KeyError: If there is no tensor of that name.
            ValueError: If the file does not hold the data that it claims.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the files. Reading is over then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def fill_from(file: io.BufferedReader, offset: int, flat: np.ndarray) -> None:
    """Fills an array of one dimension with a file's bytes from `offset` on.

    Raises:
        ValueError: If the file ends before.
    """
    file.seek(offset)
    received = file.readinto(flat.view(np.uint8).data)
    if received != flat.nbytes:
        raise ValueError(f"{file.name} must hold {flat.nbytes} bytes from byte {offset} on. Received: {received}")


def missing_tensor(name: str, names: list[str], source: object) -> KeyError:
    """The error for a name that a checkpoint lacks, with the names that come close."""
    close = difflib.get_close_matches(name, names, n=3)
    hint = f" Close to it are {close}." if close else ""
    return KeyError(f"name must be one of the {len(names)} tensors of {source}. Received: name={name!r}.{hint}")

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
            KeyError: no tensor of that name.
        """

    @abstractmethod
    def dtype(self, name: str) -> np.dtype:
        """The stored type of a tensor, without reading its data. bfloat16 is the type of `ml_dtypes`.

        Raises:
            KeyError: no tensor of that name.
            ValueError: a type that NumPy and `ml_dtypes` lack.
        """

    @abstractmethod
    def read(self, name: str) -> np.ndarray:
        """A tensor's data in its stored type, in memory of its own.

        Raises:
            KeyError: no tensor of that name.
            ValueError: data that the file claims and lacks.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the files; nothing can be read afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def fill_from(file: io.BufferedReader, offset: int, flat: np.ndarray) -> None:
    """Fill an array of one dimension with a file's bytes from `offset` on.

    Raises:
        ValueError: a file that ends before.
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

"""Tokens on disk: ragged columns of integers in `.npy` files, read through the page cache."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.utils.files import read_json_object

MANIFEST = "columns.json"


class TokenStore:
    """The rows of one part: for each column the integers of every row, their sizes, and where the row is from.

    A store is a folder; it is pickled as such, and memory-mapped where it is used.

    Args:
        folder: the part's folder in a store.
        files: the names of the files that rows are from, in the order of their indices; by default those of the
            moment when the store was built.

    Raises:
        ValueError: a folder that holds no store.
    """

    def __init__(self, folder: str | os.PathLike[str], files: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        manifest = read_json_object(self.folder.parent / MANIFEST)
        self._counts: dict[str, Any] = manifest["parts"].get(self.folder.name)
        if self._counts is None:
            raise ValueError(f"folder must be a part of a store, {list(manifest['parts'])}. Received: {self.folder}")
        self._manifest = manifest
        self._files = tuple(manifest["files"] if files is None else files)
        self._arrays: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder, self._files)

    def __len__(self) -> int:
        return int(self._counts["rows"])

    def __repr__(self) -> str:
        return f"TokenStore({str(self.folder)!r}, rows={len(self)}, columns={list(self.columns)})"

    @property
    def key(self) -> str:
        """The key of the store, see `store_key`."""
        return str(self._manifest["key"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the task keeps of the tokenizer to make batches."""
        return self._manifest["facts"]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._manifest["columns"])

    @property
    def holds_texts(self) -> bool:
        """Whether `texts` gives the rows' texts, as in held-out parts."""
        return bool(self._counts["holds_texts"])

    def sizes(self, column: str) -> np.ndarray:
        """int64 (rows,): how many integers each row has."""
        return np.diff(self._array(f"{column}_offsets", column))

    def true_sizes(self, column: str) -> np.ndarray:
        """int32 (rows,): how many each row would have if it had not been cut."""
        return self._array(f"{column}_true_sizes", column)

    def values(self, column: str, row: int) -> np.ndarray:
        """The integers of one row, uint16 or uint32 (size,)."""
        offsets = self._array(f"{column}_offsets", column)
        return self._array(column, column)[offsets[self._checked(row)] : offsets[row + 1]]

    def place(self, row: int) -> str:
        """The file and the line of a row, `"train.jsonl:12"`."""
        row = self._checked(row)
        return f"{self._files[int(self._array('file')[row])]}:{int(self._array('line')[row])}"

    def texts(self, row: int) -> tuple[str, ...]:
        """The texts of a row of a held-out part, in the order of the task's fields.

        Raises:
            ValueError: the part for training, whose texts are not kept.
        """
        if not self.holds_texts:
            raise ValueError(f"texts are kept of held-out parts alone. Received: a row of {self.folder.name!r}")
        row = self._checked(row)
        texts = []
        for field in self._manifest["fields"]:
            offsets = self._array(f"text_{field}_offsets")
            texts.append(self._array(f"text_{field}")[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8"))
        return tuple(texts)

    def _checked(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise IndexError(f"row must be from 0 to {len(self) - 1}. Received: row={row}")
        return row

    def _array(self, name: str, column: str | None = None) -> np.ndarray:
        if column is not None and column not in self._manifest["columns"]:
            raise ValueError(f"column must be one of {list(self.columns)}. Received: column={column!r}")
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]


def part_arrays(columns: Mapping[str, str], fields: Sequence[str], holds_texts: bool) -> Iterator[tuple[str, str]]:
    """The name and the type of each flat array of a part; a name with `_offsets` begins with 0.

    >>> [name for name, _ in part_arrays({"source": "uint16"}, ["document"], False)]
    ['source', 'source_offsets', 'source_true_sizes', 'file', 'line']
    """
    for column, dtype in columns.items():
        yield from ((column, dtype), (f"{column}_offsets", "int64"), (f"{column}_true_sizes", "int32"))
    yield from (("file", "int32"), ("line", "int64"))
    for field in fields if holds_texts else ():
        yield from ((f"text_{field}", "uint8"), (f"text_{field}_offsets", "int64"))


def problem_of(folder: Path, key: str) -> str:
    """Why a folder is not the whole store of a key; empty if it is."""
    try:
        manifest = read_json_object(folder / MANIFEST)
        if manifest["key"] != key:
            return f"{MANIFEST} is of another store"
        for name, size in manifest["sizes"].items():
            found = (folder / name).stat().st_size
            if found != size:
                return f"{name} must have {size} bytes and has {found}"
        for part, counts in manifest["parts"].items():
            names = part_arrays(manifest["columns"], manifest["fields"], counts["holds_texts"])
            problem = _array_problem(folder / part, dict(names), counts["rows"])
            if problem:
                return problem
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _array_problem(folder: Path, names: Mapping[str, str], rows: int) -> str:
    for name, dtype in names.items():
        array = np.load(folder / f"{name}.npy", mmap_mode="r")
        if array.dtype != dtype or array.ndim != 1:
            return f"{folder.name}/{name}.npy must hold {dtype}"
        if name.endswith("_offsets"):
            flat = np.load(folder / f"{name.removesuffix('_offsets')}.npy", mmap_mode="r")
            if len(array) != rows + 1 or array[0] != 0 or array[-1] != len(flat):
                return f"{folder.name}/{name}.npy must lead to {len(flat)} values of {rows} rows"
    return ""


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Write `columns.json` into a folder that takes its name later, and see to it that it is on the disk."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(values, indent=2, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())

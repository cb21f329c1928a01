"""Shards of a store that is being built, and how they become its arrays; nothing is ever in memory as a whole."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tfmodels.utils.files import PARTIAL, read_json_object, sync_folder
from training.data.columns import part_arrays
from training.data.rows import PARTS, Row
from training.data.workers import FlatColumn

SHARD_ROWS = 4096
"""Rows after which a shard is whole. A killed build loses less than this."""
SHARD_CHARACTERS = 2**28
"""A shard of long texts is whole earlier, after so many characters."""

_SHARD = "shard.json"
_BLOCK = 1 << 20


class ShardWriter:
    """Appends rows to files in `folder/.partial-NUMBER`, which take the name NUMBER when the shard is whole.

    Args:
        folder: the folder of shards.
        number: the number of the first shard to write.
        columns: by name, the type of each column.
        fields: the names of the texts.
        held_out: the parts whose texts are kept.
    """

    def __init__(
        self, folder: Path, number: int, columns: Mapping[str, str], fields: Sequence[str], held_out: Sequence[str]
    ) -> None:
        self._folder, self._number = folder, number
        self._columns, self._fields, self._held_out = columns, fields, held_out
        self._files: dict[str, BinaryIO] = {}
        self._rows = self._characters = 0
        self._counts = dict.fromkeys(PARTS, 0)
        self.bytes_written = 0

    @property
    def _partial(self) -> Path:
        return self._folder / f"{PARTIAL}{self._number:06d}"

    def add(self, rows: Sequence[tuple[Row, str]], columns: Mapping[str, FlatColumn]) -> bool:
        """Append rows with their parts and columns; whether that made a shard whole."""
        parts = np.array([PARTS.index(part) for _, part in rows])
        for index, part in enumerate(PARTS):
            chosen = np.flatnonzero(parts == index)
            if len(chosen):
                self._add_part(part, [rows[int(place)][0] for place in chosen], chosen, columns)
                self._counts[part] += len(chosen)
        self._rows += len(rows)
        self._characters += sum(len(text) for row, _ in rows for text in row.texts)
        if self._rows >= SHARD_ROWS or self._characters >= SHARD_CHARACTERS:
            self.finish()
            return True
        return False

    def room(self) -> int:
        """The number of rows until the shard is whole."""
        return max(1, SHARD_ROWS - self._rows)

    def finish(self) -> None:
        """Make the begun shard whole, on the disk and under its name."""
        if not self._rows:
            return
        sizes = {}
        for name, stream in self._files.items():
            stream.flush()
            os.fsync(stream.fileno())
            sizes[name] = stream.tell()
            stream.close()
        self._files = {}
        manifest = {"rows": self._rows, "parts": self._counts, "sizes": sizes}
        with (self._partial / _SHARD).open("w", encoding="utf-8") as file:
            file.write(json.dumps(manifest))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._partial, self._folder / f"{self._number:06d}")
        sync_folder(self._folder)
        self._number += 1
        self._rows = self._characters = 0
        self._counts = dict.fromkeys(PARTS, 0)

    def close(self) -> None:
        """Leave a begun shard as it is; the next build removes it."""
        for stream in self._files.values():
            stream.close()
        self._files = {}

    def _add_part(self, part: str, rows: Sequence[Row], chosen: np.ndarray, columns: Mapping[str, FlatColumn]) -> None:
        for column, dtype in self._columns.items():
            flat, sizes, true_sizes = columns[column]
            ends = np.cumsum(sizes)
            pieces = [flat[ends[place] - sizes[place] : ends[place]] for place in chosen]
            self._write(part, column, np.concatenate(pieces).astype(dtype, casting="safe", copy=False))
            self._write(part, f"{column}_offsets", sizes[chosen].astype("int64"))
            self._write(part, f"{column}_true_sizes", true_sizes[chosen].astype("int32"))
        self._write(part, "file", np.array([row.file for row in rows], "int32"))
        self._write(part, "line", np.array([row.line for row in rows], "int64"))
        if part in self._held_out:
            for index, field in enumerate(self._fields):
                texts = [row.texts[index].encode("utf-8") for row in rows]
                self._write(part, f"text_{field}", np.frombuffer(b"".join(texts), "uint8"))
                self._write(part, f"text_{field}_offsets", np.array(list(map(len, texts)), "int64"))

    def _write(self, part: str, name: str, values: np.ndarray) -> None:
        """Append to an array; in shards, `_offsets` hold sizes, since no row knows what stands before its shard."""
        file = f"{part}.{name}"
        if file not in self._files:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._files[file] = (self._partial / file).open("wb")
        self._files[file].write(np.ascontiguousarray(values).data)
        self.bytes_written += values.nbytes


def whole_shards(folder: Path) -> list[dict[str, Any]]:
    """The manifests of the shards from the first on that are whole; all else in the folder is removed."""
    shards: list[dict[str, Any]] = []
    entries = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    while (name := f"{len(shards):06d}") in entries:
        manifest = _whole(folder / name)
        if manifest is None:
            break
        shards.append(manifest)
        entries.discard(name)
    for name in entries:
        entry = folder / name
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    return shards


def _whole(shard: Path) -> dict[str, Any] | None:
    try:
        manifest = read_json_object(shard / _SHARD)
        is_whole = all((shard / name).stat().st_size == size for name, size in manifest["sizes"].items())
        return manifest if is_whole and sum(manifest["parts"].values()) == manifest["rows"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def join_shards(
    folder: Path,
    shards: Sequence[Mapping[str, Any]],
    target: Path,
    columns: Mapping[str, str],
    fields: Sequence[str],
    held_out: Sequence[str],
    poll: Callable[[], None],
) -> dict[str, int]:
    """Write the arrays of all parts from whole shards, and return the size of each file by its name."""
    sizes = {}
    for part in PARTS:
        (target / part).mkdir(parents=True)
        for name, dtype in part_arrays(columns, fields, part in held_out):
            pieces = [folder / f"{number:06d}" / f"{part}.{name}" for number in range(len(shards))]
            path = target / part / f"{name}.npy"
            _join(path, [piece for piece in pieces if piece.exists()], dtype, name.endswith("_offsets"), poll)
            sizes[f"{part}/{name}.npy"] = path.stat().st_size
        sync_folder(target / part)
    return sizes


def _join(path: Path, pieces: Sequence[Path], dtype: str, are_sizes: bool, poll: Callable[[], None]) -> None:
    count = sum(piece.stat().st_size for piece in pieces) // np.dtype(dtype).itemsize + are_sizes
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (count,)}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        total = np.zeros(1, "int64")
        if are_sizes:
            stream.write(total.data)
        for block in _blocks(pieces, dtype):
            if are_sizes:
                block = np.cumsum(block) + total
                total = block[-1:]
            stream.write(block.data)
            poll()
        stream.flush()
        os.fsync(stream.fileno())


def _blocks(pieces: Sequence[Path], dtype: str) -> Iterator[np.ndarray]:
    for piece in pieces:
        with piece.open("rb") as stream:
            while len(block := np.fromfile(stream, dtype, _BLOCK)):
                yield block

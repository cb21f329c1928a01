"""From a model's weights to safetensors files that transformers loads, in one file or in shards with an index."""

import math
import os
import re
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tfmodels.checkpoints.formats.safetensors_file import write_safetensors
from tfmodels.checkpoints.mapping import WeightEntry, WeightRule, weight_entries
from tfmodels.utils.files import write_json, written_whole

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_SHARD_NAME = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_TYPES = {
    "float32": np.dtype("float32"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype("float16"),
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(I?)B", re.IGNORECASE)


def save_weights(
    root: Any,
    rules: Iterable[WeightRule],
    folder: str | os.PathLike,
    max_shard_size: int | str = 5 * 10**9,
    dtype: str | None = None,
) -> None:
    """Write a model's tensors as `model.safetensors`, or as shards with `model.safetensors.index.json`.

    Memory holds one shard at a time. Files take their names when all of them are whole; then earlier safetensors
    weights that are no longer part of the folder's checkpoint are removed.

    Args:
        root: the object at which the rules' paths start.
        rules: the family's table.
        folder: an existing folder.
        max_shard_size: largest size of a file in bytes, or as text such as "5GB" or "200MiB". A tensor is never split:
            one that is larger has a shard of its own.
        dtype: "float32", "bfloat16" or "float16"; None: each weight's own type.

    Raises:
        ValueError: a wrong size or type, or a weight beyond the type's range.
        OSError: a folder that cannot be written.

    >>> import keras, tempfile
    >>> from tfmodels.checkpoints.mapping import DENSE
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="score")])
    >>> folder = Path(tempfile.mkdtemp())
    >>> save_weights(model, [WeightRule("score", "layers.0", DENSE)], folder, dtype="bfloat16")
    >>> [path.name for path in folder.iterdir()]
    ['model.safetensors']
    """
    limit = _size_in_bytes(max_shard_size)
    if dtype is not None and dtype not in _TYPES:
        raise ValueError(f"dtype must be one of {', '.join(_TYPES)}, or None. Received: dtype={dtype!r}")
    folder, stored = Path(folder), None if dtype is None else _TYPES[dtype]
    shards = _planned(weight_entries(root, rules), limit, stored)
    index = _index(shards, stored)
    kept = {SINGLE_FILE} if index is None else {*index["weight_map"].values(), INDEX_FILE}
    with ExitStack() as renamed_at_the_end:
        for name, shard in _named(shards).items():
            partial = renamed_at_the_end.enter_context(written_whole(folder / name))
            write_safetensors(partial, {entry.name: _value(entry, stored) for entry in shard})
        # From here to the new index, an old one would lead to shards of two checkpoints.
        (folder / INDEX_FILE).unlink(missing_ok=True)
    if index is not None:
        write_json(folder / INDEX_FILE, index)
    for path in sorted(folder.iterdir()):
        if (path.name == SINGLE_FILE or _SHARD_NAME.fullmatch(path.name)) and path.name not in kept:
            path.unlink()


def _size_in_bytes(size: int | str) -> int:
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        if match is not None:
            number, unit, binary = match.groups()
            bytes_ = float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit.upper()) + 1)
            size = math.floor(bytes_) if bytes_ >= 1 else size
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ValueError(
            f'max_shard_size must be a positive number of bytes or text such as "5GB" or "200MiB". '
            f"Received: max_shard_size={size!r}"
        )
    return size


def _bytes(entry: WeightEntry, stored: np.dtype | None) -> int:
    return math.prod(entry.shape) * (stored or entry.dtype).itemsize


def _planned(entries: list[WeightEntry], limit: int, stored: np.dtype | None) -> list[list[WeightEntry]]:
    """The entries in order, cut into shards wherever the next one would pass the limit."""
    shards: list[list[WeightEntry]] = [[]]
    size = 0
    for entry in entries:
        size += _bytes(entry, stored)
        if size > limit and shards[-1]:
            shards.append([])
            size = _bytes(entry, stored)
        shards[-1].append(entry)
    return shards


def _named(shards: list[list[WeightEntry]]) -> dict[str, list[WeightEntry]]:
    if len(shards) == 1:
        return {SINGLE_FILE: shards[0]}
    return {f"model-{i:05d}-of-{len(shards):05d}.safetensors": shard for i, shard in enumerate(shards, start=1)}


def _index(shards: list[list[WeightEntry]], stored: np.dtype | None) -> dict[str, Any] | None:
    if len(shards) == 1:
        return None
    entries = [entry for shard in shards for entry in shard]
    metadata = {
        "total_parameters": sum(math.prod(entry.shape) for entry in entries),
        "total_size": sum(_bytes(entry, stored) for entry in entries),
    }
    return {
        "metadata": metadata,
        "weight_map": {entry.name: name for name, shard in _named(shards).items() for entry in shard},
    }


def _value(entry: WeightEntry, stored: np.dtype | None) -> np.ndarray:
    value = entry.tensor()
    if stored is None or value.dtype == stored:
        return value
    with np.errstate(over="ignore"):
        cast = value.astype(stored)
    if np.isinf(cast).sum() > np.isinf(value).sum():
        raise ValueError(
            f"dtype must hold every weight. Received: dtype={stored}, which is too narrow for {entry.name}"
        )
    return cast

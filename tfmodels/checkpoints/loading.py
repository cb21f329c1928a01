"""From a checkpoint to a model's weights: every tensor accounted for before the first one is assigned."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.checkpoints.assignment import assign
from tfmodels.checkpoints.folder import FLAX_FILES, open_weights, weights_path
from tfmodels.checkpoints.formats.reader import TensorReader
from tfmodels.checkpoints.mapping import WeightEntry, WeightRule, weight_entries

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_MOST_LISTED = 10


def load_checkpoint(
    root: Any,
    rows: Iterable[WeightRule],
    folder: str | os.PathLike,
    source: str,
    ignored: Iterable[str] = (),
    left_out: Iterable[str] = (),
    optional: Iterable[str] = (),
    fetch: Callable[[str], object] | None = None,
) -> None:
    """Assign a folder's tensors to a model, one at a time; nothing is assigned unless all names, shapes and types fit.

    Some PyTorch files of LongT5 lack the head that the Flax file beside them has: what is missing in the chosen file is
    read from there.

    Args:
        root: the object that the rows' paths start from.
        rows: the family's table.
        folder: holds the weights, in any of the formats that `open_checkpoint` knows.
        source: what the errors call the checkpoint.
        ignored: names of tensors that may be there and are not read.
        left_out: beginnings of names: tensors of the family that this class of model has no part for.
        optional: beginnings of names: weights of ours that may be missing, and then keep their values.
        fetch: called with a pattern of file names that could be of use and are not in the folder, which it may bring.

    Raises:
        FileNotFoundError: a folder without weights.
        ValueError: a broken file; a tensor that is missing, unknown, of another shape or not of floats; copies of one
            weight that differ; or NaN or infinity in a tensor. In this last case some weights are assigned already.

    >>> import keras, tempfile
    >>> from tfmodels.checkpoints.mapping import DENSE
    >>> from tfmodels.checkpoints.formats.safetensors_file import write_safetensors
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="score")])
    >>> tensors = {"score.weight": np.ones((1, 2), "float16"), "score.bias": np.zeros(1, "float16")}
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_safetensors(folder / "model.safetensors", tensors)
    >>> load_checkpoint(model, [WeightRule("score", "layers.0", DENSE)], folder, source="example")
    >>> np.asarray(model.layers[0].kernel).tolist()
    [[1.0], [1.0]]
    """
    rows, optional = list(rows), tuple(optional)
    path = weights_path(folder)
    with ExitStack() as stack:
        reader = stack.enter_context(open_weights(path))
        missing = {
            name
            for slot in _missing(weight_entries(root, rows), reader, optional)
            for name in (slot.name, *slot.copies)
        }
        if missing and path.name not in FLAX_FILES:
            beside = _flax_beside(path.parent, fetch)
            if beside is not None:
                reader = _Supplemented(reader, stack.enter_context(open_weights(beside)), missing)
        load_weights(root, rows, reader, source, ignored, left_out, optional)


def load_weights(
    root: Any,
    rows: Iterable[WeightRule],
    reader: TensorReader,
    source: str,
    ignored: Iterable[str] = (),
    left_out: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> None:
    """Assign the tensors of an open checkpoint to a model; arguments and errors as in `load_checkpoint`."""
    available = set(reader.names())
    wanted = weight_entries(root, rows)
    missing = _missing(wanted, reader, tuple(optional))
    # A file may keep one weight under the name of a copy only.
    wanted = [slot.under_a_name_of(available) for slot in wanted if {slot.name, *slot.copies} & available]
    known = {name for slot in wanted for name in (slot.name, *slot.copies)} | set(ignored)
    beginnings = tuple(left_out)
    unknown = [name for name in available - known if not name.startswith(beginnings)]
    _check_names([slot.name for slot in missing], unknown, source)
    for slot in wanted:
        _check_tensor(slot, reader, source)
    for slot in wanted:
        tensor = _read(slot, reader, source)
        for copy in slot.copies:
            if copy in available and not np.array_equal(reader.read(copy), tensor):
                raise ValueError(
                    f"{source} must hold {slot.name} and {copy} as equal tensors: they are one weight. "
                    "Received: they differ"
                )
        assign(slot.weight, tensor.T if slot.transpose else tensor, partial(_cast, slot=slot, source=source))


def check_landmarks(
    reader: TensorReader,
    landmarks: Mapping[str, tuple[int, ...]] | Mapping[tuple[str, ...], tuple[int, ...]],
    source: str,
) -> None:
    """Compare the tensors that fix a model's sizes with the config, before the model takes memory for them.

    Args:
        reader: an open checkpoint.
        landmarks: the shape that the config says, by the tensor's name or by the names that it may go under.
        source: what the errors call the checkpoint.

    Raises:
        ValueError: a tensor that is missing or of another shape.

    >>> import tempfile
    >>> from tfmodels.checkpoints import open_checkpoint, write_safetensors
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_safetensors(folder / "model.safetensors", {"shared.weight": np.zeros((7, 4), "float32")})
    >>> with open_checkpoint(folder) as reader:
    ...     check_landmarks(reader, {("shared.weight", "led.shared.weight"): (7, 4)}, source="example")
    """
    available = set(reader.names())
    for key, expected in landmarks.items():
        names = (key,) if isinstance(key, str) else key
        name = next((name for name in names if name in available), None)
        found = "no such tensor" if name is None else f"shape {reader.shape(name)}"
        if name is None or reader.shape(name) != tuple(expected):
            raise ValueError(
                f"{source} must hold {name or ' or '.join(names)} with shape {tuple(expected)}, as the config says. "
                f"Received: {found}"
            )


class _Supplemented(TensorReader):
    """An open checkpoint, and those of its missing tensors that another one has; closes neither."""

    def __init__(self, reader: TensorReader, other: TensorReader, missing: set[str]) -> None:
        self._readers = dict.fromkeys(set(other.names()) & missing, other) | dict.fromkeys(reader.names(), reader)

    def names(self) -> list[str]:
        return sorted(self._readers)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._readers[name].shape(name)

    def dtype(self, name: str) -> np.dtype:
        return self._readers[name].dtype(name)

    def read(self, name: str) -> np.ndarray:
        return self._readers[name].read(name)

    def close(self) -> None:
        pass


def _missing(wanted: Iterable[WeightEntry], reader: TensorReader, optional: tuple[str, ...]) -> list[WeightEntry]:
    available = set(reader.names())
    return [slot for slot in wanted if not available & {slot.name, *slot.copies} and not slot.name.startswith(optional)]


def _flax_beside(folder: Path, fetch: Callable[[str], object] | None) -> Path | None:
    def found() -> Path | None:
        return next((folder / name for name in FLAX_FILES if (folder / name).is_file()), None)

    # An index may be there without its shards, which are then fetched.
    if fetch is not None and not (folder / FLAX_FILES[0]).is_file():
        fetch("flax_model*.msgpack")
    return found()


def _check_names(missing: Sequence[str], unknown: Sequence[str], source: str) -> None:
    if not missing and not unknown:
        return
    message = f"{source} must hold exactly the tensors of the model."
    if missing:
        message += f" Missing: {_listed(missing)}."
    if unknown:
        message += f" Unknown: {_listed(unknown)}."
    if list(missing) == ["lm_head.weight"]:
        message += (
            " The file holds no head although its config says that it is not tied: generated text would be noise."
        )
    elif missing:
        message += " Likely cause: the config's number of layers or kind of attention is another checkpoint's."
    if unknown:
        message += " ignore_tensors=[...] passes over tensors by name."
    raise ValueError(message)


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(f"{name:.200}" for name in sorted(names)[:_MOST_LISTED])
    return listed + (f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else "")


def _check_tensor(slot: WeightEntry, reader: TensorReader, source: str) -> None:
    found = tuple(reader.shape(slot.name))
    if found != slot.shape:
        raise ValueError(
            f"{source} must hold {slot.name} with shape {slot.shape}, as the config says. Received: shape {found}"
        )
    stored = reader.dtype(slot.name).name
    if stored not in _FLOATS:
        raise ValueError(f"{source} must hold {slot.name} as one of {', '.join(_FLOATS)}. Received: {stored}")
    if not hasattr(slot.weight, "assign") or slot.dtype.name not in _FLOATS:
        raise ValueError(
            f"root must be loaded before its layers get LoRA or are quantized. "
            f"Received: a weight of type {slot.dtype} for {slot.name}"
        )


def _read(slot: WeightEntry, reader: TensorReader, source: str) -> np.ndarray:
    """The tensor, checked for NaN and infinity."""
    tensor = reader.read(slot.name)
    if not _all_finite(tensor):
        raise ValueError(f"{source} must hold finite numbers. Received: NaN or infinity in {slot.name}")
    return tensor


def _cast(tensor: np.ndarray, slot: WeightEntry, source: str) -> np.ndarray:
    if tensor.dtype == slot.dtype:
        return tensor
    with np.errstate(over="ignore"):
        value = tensor.astype(slot.dtype)
    if not _all_finite(value):
        raise ValueError(
            f"{source} must hold numbers in the range of {slot.dtype}, the model's type. "
            f"Received: {slot.name} with numbers beyond it"
        )
    return value


def _all_finite(tensor: np.ndarray) -> bool:
    if tensor.size == 0:
        return True
    # NaN and infinity pass into the extremes, which need no array of truth values of the tensor's size.
    with np.errstate(invalid="ignore"):
        return all(math.isfinite(float(extreme)) for extreme in (tensor.min(), tensor.max()))

"""From a checkpoint to a model's weights: every tensor accounted for before the first one is assigned."""

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfmodels.checkpoints.folder import FLAX_FILES, open_weights, weights_path
from tfmodels.checkpoints.formats.reader import TensorReader
from tfmodels.checkpoints.mapping import WeightEntry, WeightRule, weight_entries

_FLOATS = ("bfloat16", "float16", "float32", "float64")
_MOST_LISTED = 10
# Bytes that are assigned at once; below, a second copy does not matter.
_PIECE = 2**22


def load_checkpoint(
    root: Any,
    rules: Iterable[WeightRule],
    folder: str | os.PathLike,
    source: str,
    ignored: Iterable[str] = (),
    left_out: Iterable[str] = (),
    optional: Iterable[str] = (),
    fetch: Callable[[str], object] | None = None,
) -> None:
    """Assign a folder's tensors to a model, one at a time; nothing is assigned unless all names, shapes and types fit.

    Some published PyTorch files lack a head that the Flax file beside them holds: tensors missing in the chosen file
    are read from there.

    Args:
        root: the object at which the rules' paths start.
        rules: the family's table.
        folder: holds the weights, in any of the formats that `open_checkpoint` knows.
        source: the checkpoint's name in error messages.
        ignored: names of tensors that a file may hold and that are not read.
        left_out: prefixes of tensors that belong to other classes of the family; they are not read.
        optional: prefixes of tensors that a file may omit; the weights then keep their values.
        fetch: called with a pattern of useful file names that the folder lacks; it may bring such files.

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
    rules, optional = list(rules), tuple(optional)
    path = weights_path(folder)
    with ExitStack() as stack:
        reader = stack.enter_context(open_weights(path))
        missing = {
            name
            for entry in _missing(weight_entries(root, rules), reader, optional)
            for name in (entry.name, *entry.copies)
        }
        if missing and path.name not in FLAX_FILES:
            flax_path = _flax_beside(path.parent, fetch)
            if flax_path is not None:
                reader = _Supplemented(reader, stack.enter_context(open_weights(flax_path)), missing)
        load_weights(root, rules, reader, source, ignored, left_out, optional)


def load_weights(
    root: Any,
    rules: Iterable[WeightRule],
    reader: TensorReader,
    source: str,
    ignored: Iterable[str] = (),
    left_out: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> None:
    """Assign the tensors of an open checkpoint to a model; arguments and errors as in `load_checkpoint`."""
    available = set(reader.names())
    entries = weight_entries(root, rules)
    missing = _missing(entries, reader, tuple(optional))
    # A file may keep one weight under the name of a copy only.
    entries = [entry.renamed(available) for entry in entries if {entry.name, *entry.copies} & available]
    known = {name for entry in entries for name in (entry.name, *entry.copies)} | set(ignored)
    unread_prefixes = tuple(left_out)
    unknown = [name for name in available - known if not name.startswith(unread_prefixes)]
    _check_names([entry.name for entry in missing], unknown, source)
    for entry in entries:
        _check_tensor(entry, reader, source)
    for entry in entries:
        tensor = _read(entry, reader, source)
        for copy in entry.copies:
            if copy in available and not np.array_equal(reader.read(copy), tensor):
                raise ValueError(
                    f"{source} must hold {entry.name} and {copy} as equal tensors: they are one weight. "
                    "Received: they differ"
                )
        assign(entry.weight, tensor.T if entry.transpose else tensor, partial(_cast, entry=entry, source=source))


def assign(weight: Any, value: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> None:
    """Assign `convert(value)` to a weight; where it can be updated in place, a large value goes piece by piece.

    A whole assignment holds the old value, the new one and the array that it comes from: the embeddings of a base
    model, a quarter of its weights, three times.

    Args:
        weight: a Keras variable, or anything else with `assign`.
        value: array of the weight's shape.
        convert: gives the array for the weight, of a part of `value` along its first axis as well as of the whole.

    >>> import keras
    >>> weight = keras.Variable([0.0, 0.0])
    >>> assign(weight, np.ones(2, "float16"), lambda piece: piece.astype("float32"))
    >>> np.asarray(weight)
    array([1., 1.], dtype=float32)
    """
    variable: Any = getattr(weight, "value", None)
    # TensorFlow's own variable: those of its distribution strategies lack the update, and so do other backends'.
    if value.nbytes <= _PIECE or type(variable).__name__ != "ResourceVariable":
        weight.assign(convert(value))
        return
    rows = max(1, _PIECE // value[:1].nbytes)
    for start in range(0, len(value), rows):
        piece = convert(value[start : start + rows])
        # Not a slice's `assign`, which reads the slice first and thereby makes TensorFlow copy the whole variable.
        variable.scatter_nd_update(np.arange(start, start + len(piece))[:, None], piece)


def check_landmarks(
    reader: TensorReader,
    landmarks: Mapping[str, tuple[int, ...]] | Mapping[tuple[str, ...], tuple[int, ...]],
    source: str,
) -> None:
    """Compare the tensors that fix a model's sizes with the config, before the model takes memory for them.

    Args:
        reader: an open checkpoint.
        landmarks: the shape that the config says, by the tensor's name or by its possible names.
        source: the checkpoint's name in error messages.

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
        received = "no such tensor" if name is None else f"shape {reader.shape(name)}"
        if name is None or reader.shape(name) != tuple(expected):
            raise ValueError(
                f"{source} must hold {name or ' or '.join(names)} with shape {tuple(expected)}, as the config says. "
                f"Received: {received}"
            )


class _Supplemented(TensorReader):
    """An open checkpoint with its missing tensors from another one; closing it closes neither."""

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


def _missing(entries: Iterable[WeightEntry], reader: TensorReader, optional: tuple[str, ...]) -> list[WeightEntry]:
    available = set(reader.names())
    absent = [entry for entry in entries if not available & {entry.name, *entry.copies}]
    return [entry for entry in absent if not entry.name.startswith(optional)]


def _flax_beside(folder: Path, fetch: Callable[[str], object] | None) -> Path | None:
    # An index may be there without its shards, which are then fetched.
    if fetch is not None and not (folder / FLAX_FILES[0]).is_file():
        fetch("flax_model*.msgpack")
    return next((folder / name for name in FLAX_FILES if (folder / name).is_file()), None)


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


def _check_tensor(entry: WeightEntry, reader: TensorReader, source: str) -> None:
    shape = tuple(reader.shape(entry.name))
    if shape != entry.shape:
        raise ValueError(
            f"{source} must hold {entry.name} with shape {entry.shape}, as the config says. Received: shape {shape}"
        )
    stored = reader.dtype(entry.name).name
    if stored not in _FLOATS:
        raise ValueError(f"{source} must hold {entry.name} as one of {', '.join(_FLOATS)}. Received: {stored}")
    if not hasattr(entry.weight, "assign") or entry.dtype.name not in _FLOATS:
        raise ValueError(
            f"root must be loaded before its layers get LoRA or are quantized. "
            f"Received: a weight of type {entry.dtype} for {entry.name}"
        )


def _read(entry: WeightEntry, reader: TensorReader, source: str) -> np.ndarray:
    """The tensor, checked for NaN and infinity."""
    tensor = reader.read(entry.name)
    if not _all_finite(tensor):
        raise ValueError(f"{source} must hold finite numbers. Received: NaN or infinity in {entry.name}")
    return tensor


def _cast(tensor: np.ndarray, entry: WeightEntry, source: str) -> np.ndarray:
    if tensor.dtype == entry.dtype:
        return tensor
    with np.errstate(over="ignore"):
        value = tensor.astype(entry.dtype)
    if not _all_finite(value):
        raise ValueError(
            f"{source} must hold numbers in the range of {entry.dtype}, the model's type. "
            f"Received: {entry.name} with numbers beyond it"
        )
    return value


def _all_finite(tensor: np.ndarray) -> bool:
    if tensor.size == 0:
        return True
    # NaN and infinity pass into the extremes, which need no array of truth values of the tensor's size.
    with np.errstate(invalid="ignore"):
        return all(math.isfinite(float(extreme)) for extreme in (tensor.min(), tensor.max()))

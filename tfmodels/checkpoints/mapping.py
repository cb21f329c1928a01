"""One table from transformers' names to our layers, read in both directions.

A family lists `WeightRule`s; each joins a module of transformers with a layer of ours, and its kind says which tensors
they share and which of them are transposed. This module knows neither family nor backend: layers are found by attribute
path, and a weight is anything with `shape`, `dtype`, `assign` and a conversion to NumPy.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class TensorRule:
    """One tensor of a module: the reference's suffix (with its dot), our attribute, and whether it is transposed."""

    reference_suffix: str
    attribute: str
    transpose: bool = False


DENSE = (TensorRule(".weight", "kernel", transpose=True), TensorRule(".bias", "bias"))
EMBEDDING = (TensorRule(".weight", "embeddings"),)
LAYER_NORM = (TensorRule(".weight", "gamma"), TensorRule(".bias", "beta"))
RMS_NORM = (TensorRule(".weight", "scale"),)
WEIGHT = (TensorRule("", ""),)  # the path of `ours` ends at the weight itself


@dataclass(frozen=True)
class WeightRule:
    """A module of the reference and the layer of ours that holds the same weights.

    reference, ours: dotted paths; a `{n}` in both, and in copies, runs over the list that precedes it in `ours`.
    kind: the tensors that they share. copies: further reference names of the same module, which files may repeat.
    """

    reference: str
    ours: str
    kind: tuple[TensorRule, ...]
    copies: tuple[str, ...] = ()


def also_under(prefix: str, rows: Iterable[WeightRule]) -> list[WeightRule]:
    """The rows, each also known by its reference name with `prefix`, or without where the name has it.

    >>> also_under("led.", [WeightRule("shared", "shared", EMBEDDING)])[0].copies
    ('led.shared',)
    """
    return [dataclasses.replace(row, copies=(*row.copies, *_other_names(prefix, row))) for row in rows]


def _other_names(prefix: str, row: WeightRule) -> list[str]:
    names = (row.reference, *row.copies)
    return [name.removeprefix(prefix) if name.startswith(prefix) else prefix + name for name in names]


@dataclass(frozen=True)
class WeightEntry:
    """One tensor: its reference name, where our weight is, whether it is transposed, and the names of optional copies.

    The weight is looked up when it is asked for: the merged kernel of a layer with LoRA is computed each time.
    """

    name: str
    layer: Any
    attribute: str
    transpose: bool
    copies: tuple[str, ...]

    @property
    def weight(self) -> Any:
        """Our weight, or a value in its place: something with `shape`, `dtype` and a conversion to NumPy."""
        return getattr(self.layer, self.attribute) if self.attribute else self.layer

    def under_a_name_of(self, available: set[str]) -> "WeightEntry":
        """The slot itself, or with the name of its first copy that is available when its own name is not."""
        names = (self.name, *self.copies)
        name = next((name for name in names if name in available), self.name)
        return dataclasses.replace(self, name=name, copies=tuple(other for other in names if other != name))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the reference's tensor."""
        shape = tuple(self.weight.shape)
        return shape[::-1] if self.transpose else shape

    @property
    def dtype(self) -> np.dtype:
        """Our weight's type."""
        return numpy_type(self.weight.dtype)

    def tensor(self) -> np.ndarray:
        """The weight in the reference's layout; transposed ones as a view."""
        value = np.asarray(self.weight)
        return value.T if self.transpose else value


def numpy_type(dtype: Any) -> np.dtype:
    """The NumPy type of a backend's, such as "bfloat16" or tf.float32.

    >>> numpy_type("bfloat16")
    dtype(bfloat16)
    """
    name = getattr(dtype, "name", dtype)
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def weight_entries(model: Any, rows: Iterable[WeightRule]) -> list[WeightEntry]:
    """Every tensor that the table names, with the place of our weight for it."""
    found = []
    for row in rows:
        for index in _indices(model, row.ours):
            layer = _resolve(model, row.ours.format(n=index))
            for part in row.kind:
                if part.attribute and getattr(layer, part.attribute, None) is None:  # a projection without a bias
                    continue
                copies = tuple(f"{copy.format(n=index)}{part.reference_suffix}" for copy in row.copies)
                name = row.reference.format(n=index) + part.reference_suffix
                found.append(WeightEntry(name, layer, part.attribute, part.transpose, copies))
    return found


def reference_tensors(model: Any, rows: Iterable[WeightRule]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of `model` under the reference's names and in its layout, without copies."""
    for slot in weight_entries(model, rows):
        yield slot.name, np.asarray(slot.tensor(), order="C")


def _indices(model: Any, path: str) -> Sequence[int | None]:
    prefix, found, _ = path.partition(".{n}")
    return range(len(_resolve(model, prefix))) if found else [None]


def _resolve(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    return model

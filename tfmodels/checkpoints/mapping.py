"""One table from transformers' names to our layers, read in both directions.

A family lists `WeightRule`s; each joins a module of transformers with a layer of ours, and its kind says which tensors
they share and which of them are transposed. This module knows neither family nor backend: layers are found by attribute
path, and a weight is anything with `shape`, `dtype`, `assign` and a conversion to NumPy.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class TensorRule:
    """One tensor of a module: its suffix in transformers (with the dot), our attribute, and whether to transpose it."""

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
    """A module of transformers and our layer with the same weights.

    Attributes:
        reference, ours: dotted paths; a `{n}` in both, and in copies, runs over the list that precedes it in `ours`.
        kind: the tensors that they share.
        copies: further names of the same module in transformers, under which files may repeat its tensors.
    """

    reference: str
    ours: str
    kind: tuple[TensorRule, ...]
    copies: tuple[str, ...] = ()


Names = tuple[str, ...]


@dataclass(frozen=True)
class WeightMap:
    """Everything that loading and saving must know of the tensors of one class of model.

    Attributes:
        rules: one for each module.
        required_shapes: tensors by which a file is checked against its config before the model is made: the names that
            each may go under, and its shape.
        token_embedding_names: names of the table of token embeddings.
        min_parameters: numbers that a file of this config holds at least.
        head_prefixes: prefixes of the head's tensors, which `new_head=True` starts anew.
        unused_prefixes: prefixes of tensors that belong to other classes of the family; ignored when loading.
        optional_prefixes: prefixes of tensors that a file may omit; they then keep their initial value.
        ignored_names: tensors of older versions, which transformers ignores, too.
    """

    rules: Sequence[WeightRule]
    required_shapes: Mapping[Names, tuple[int, ...]]
    token_embedding_names: Names
    min_parameters: int
    head_prefixes: Names = ()
    unused_prefixes: Names = ()
    optional_prefixes: Names = ()
    ignored_names: Names = ()

    def without_head(self) -> "WeightMap":
        """The map of the body alone: the head's tensors are ignored when loading, whatever head the file holds."""
        if not self.head_prefixes:
            return self
        body = [rule for rule in self.rules if not f"{rule.reference}.".startswith(self.head_prefixes)]
        return dataclasses.replace(self, rules=body, unused_prefixes=(*self.unused_prefixes, *self.head_prefixes))


def also_under(prefix: str, rules: Iterable[WeightRule]) -> list[WeightRule]:
    """Return the rules, each with a copy under its name with `prefix`, or without `prefix` if the name has it.

    >>> also_under("led.", [WeightRule("shared", "shared", EMBEDDING)])[0].copies
    ('led.shared',)
    """
    return [dataclasses.replace(rule, copies=(*rule.copies, *_other_names(prefix, rule))) for rule in rules]


def _other_names(prefix: str, rule: WeightRule) -> list[str]:
    names = (rule.reference, *rule.copies)
    return [name.removeprefix(prefix) if name.startswith(prefix) else prefix + name for name in names]


@dataclass(frozen=True)
class WeightEntry:
    """One tensor: its name in transformers, the place of our weight, whether it is transposed, and names of copies.

    The weight is looked up on each access: a layer with LoRA computes its merged kernel each time.
    """

    name: str
    layer: Any
    attribute: str
    transpose: bool
    copies: tuple[str, ...]

    @property
    def weight(self) -> Any:
        """Our weight, or a value in its place with `shape`, `dtype` and a conversion to NumPy."""
        return getattr(self.layer, self.attribute) if self.attribute else self.layer

    def renamed(self, available: set[str]) -> "WeightEntry":
        """The entry under its own name if that is available, else under the name of its first available copy."""
        names = (self.name, *self.copies)
        name = next((name for name in names if name in available), self.name)
        return dataclasses.replace(self, name=name, copies=tuple(other for other in names if other != name))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of transformers' tensor."""
        shape = tuple(self.weight.shape)
        return shape[::-1] if self.transpose else shape

    @property
    def dtype(self) -> np.dtype:
        """The type of our weight."""
        return numpy_type(self.weight.dtype)

    def tensor(self) -> np.ndarray:
        """The weight in transformers' layout; transposed as a view."""
        value = np.asarray(self.weight)
        return value.T if self.transpose else value


def numpy_type(dtype: Any) -> np.dtype:
    """The NumPy type for a backend's type, such as "bfloat16" or tf.float32.

    >>> numpy_type("bfloat16")
    dtype(bfloat16)
    """
    name = getattr(dtype, "name", dtype)
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def weight_entries(model: Any, rules: Iterable[WeightRule]) -> list[WeightEntry]:
    """Every tensor that the rules name, with the place of our weight for it."""
    entries = []
    for rule in rules:
        for index in _indices(model, rule.ours):
            layer = _resolve(model, rule.ours.format(n=index))
            for tensor in rule.kind:
                if tensor.attribute and getattr(layer, tensor.attribute, None) is None:  # a projection without a bias
                    continue
                copies = tuple(f"{copy.format(n=index)}{tensor.reference_suffix}" for copy in rule.copies)
                name = rule.reference.format(n=index) + tensor.reference_suffix
                entries.append(WeightEntry(name, layer, tensor.attribute, tensor.transpose, copies))
    return entries


def reference_tensors(model: Any, rules: Iterable[WeightRule]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of `model` under transformers' names and in its layout, without copies."""
    for entry in weight_entries(model, rules):
        yield entry.name, np.asarray(entry.tensor(), order="C")


def _indices(model: Any, path: str) -> Sequence[int | None]:
    prefix, placeholder, _ = path.partition(".{n}")
    return range(len(_resolve(model, prefix))) if placeholder else [None]


def _resolve(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    return model

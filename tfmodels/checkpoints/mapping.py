"""One table from reference names to our layers, read in both directions.

A family lists `Row`s; each joins a module of the reference with a layer of ours, and its kind says which tensors they
share and which of them are transposed. This module knows neither family nor backend: layers are found by attribute
path, and a weight is anything with `shape`, `assign` and a conversion to NumPy.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmodels.checkpoints.reader import TensorReader


@dataclass(frozen=True)
class Part:
    """One tensor of a module: the reference's suffix (with its dot), our attribute, and whether it is transposed."""

    reference_suffix: str
    attribute: str
    transpose: bool = False


DENSE = (Part(".weight", "kernel", transpose=True), Part(".bias", "bias"))
EMBEDDING = (Part(".weight", "embeddings"),)
LAYER_NORM = (Part(".weight", "gamma"), Part(".bias", "beta"))
RMS_NORM = (Part(".weight", "scale"),)
WEIGHT = (Part("", ""),)  # the path of `ours` ends at the weight itself


@dataclass(frozen=True)
class Row:
    """A module of the reference and the layer of ours that holds the same weights.

    reference, ours: dotted paths; a `{n}` in both runs over the list that precedes it in `ours`.
    kind: the tensors that they share. copies: further reference names of the same module, which files may repeat.
    """

    reference: str
    ours: str
    kind: tuple[Part, ...]
    copies: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slot:
    """One tensor: its reference name, our weight, whether it is transposed, and the names of optional copies."""

    name: str
    weight: Any
    transpose: bool
    copies: tuple[str, ...]

    def under_a_name_of(self, available: set[str]) -> "Slot":
        """The slot itself, or with the name of its first copy that is available when its own name is not."""
        names = (self.name, *self.copies)
        name = next((name for name in names if name in available), self.name)
        return dataclasses.replace(self, name=name, copies=tuple(other for other in names if other != name))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the reference's tensor."""
        shape = tuple(self.weight.shape)
        return shape[::-1] if self.transpose else shape


def slots(model: Any, rows: Iterable[Row]) -> list[Slot]:
    """Every tensor that the table names, with our weight for it."""
    found = []
    for row in rows:
        for index in _indices(model, row.ours):
            layer = _resolve(model, row.ours.format(n=index))
            for part in row.kind:
                weight = getattr(layer, part.attribute, None) if part.attribute else layer
                if weight is None:  # a projection without a bias
                    continue
                copies = tuple(f"{copy}{part.reference_suffix}" for copy in row.copies)
                name = row.reference.format(n=index) + part.reference_suffix
                found.append(Slot(name, weight, part.transpose, copies))
    return found


def load_weights(
    model: Any, rows: Iterable[Row], reader: TensorReader, source: str, ignored: Iterable[str] = ()
) -> None:
    """Assign every tensor of `reader` to `model`, one at a time; nothing is assigned unless all names and shapes fit.

    Args:
        model: the object that the rows' paths start from.
        rows: the family's table.
        reader: an open checkpoint.
        source: what the errors call the checkpoint.
        ignored: names of tensors that may be there and are not read.

    Raises:
        ValueError: a tensor is missing, unknown, of another shape, or a copy that differs from its original.
    """
    available = set(reader.names())
    # A file may keep one weight under the name of a copy only.
    wanted = [slot.under_a_name_of(available) for slot in slots(model, rows)]
    _check_names(wanted, available - set(ignored), source)
    for slot in wanted:
        found = tuple(reader.shape(slot.name))
        if found != slot.shape:
            raise ValueError(
                f"{source} must hold {slot.name} with shape {slot.shape}, as the config says. Received: shape {found}"
            )
    for slot in wanted:
        tensor = reader.read(slot.name)
        for copy in slot.copies:
            if copy in available and not np.array_equal(reader.read(copy), tensor):
                raise ValueError(
                    f"{source} must hold {slot.name} and {copy} as equal tensors: they are one weight. "
                    "Received: they differ"
                )
        slot.weight.assign(tensor.T if slot.transpose else tensor)


def reference_tensors(model: Any, rows: Iterable[Row]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of `model` under the reference's names and in its layout, without copies."""
    for slot in slots(model, rows):
        value = np.asarray(slot.weight)
        yield slot.name, np.ascontiguousarray(value.T if slot.transpose else value)


def _check_names(wanted: Sequence[Slot], names: Iterable[str], source: str) -> None:
    available = set(names)
    known = {slot.name for slot in wanted} | {copy for slot in wanted for copy in slot.copies}
    missing = sorted(slot.name for slot in wanted if slot.name not in available)
    unknown = sorted(available - known)
    if not missing and not unknown:
        return
    message = f"{source} must hold exactly the tensors of the model."
    if missing:
        message += f" Missing: {', '.join(missing)}."
    if unknown:
        message += f" Unknown: {', '.join(unknown)}."
    if missing == ["lm_head.weight"]:
        message += (
            " The file holds no head although its config says that it is not tied: generated text would be noise."
        )
    elif missing:
        message += " Likely cause: the config's number of layers or kind of attention is another checkpoint's."
    raise ValueError(message)


def _indices(model: Any, path: str) -> Sequence[int | None]:
    prefix, found, _ = path.partition(".{n}")
    return range(len(_resolve(model, prefix))) if found else [None]


def _resolve(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    return model

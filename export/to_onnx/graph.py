"""One ONNX graph: a function, its inputs and outputs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from export.programs import Tensors

Axes = tuple[str | int, ...]


class Graph(NamedTuple):
    """One graph, in one file of optimum's layout.

    Attributes:
        file: its file.
        function: from int32 and float32 inputs by name to float32 outputs by name.
        inputs, outputs: the axes of each, a name for any size. Ids and masks are int64, as those of transformers.
        example: from a source length and a seed to inputs.
    """

    file: str
    function: Callable[[Mapping[str, Any]], Tensors]
    inputs: dict[str, Axes]
    outputs: dict[str, Axes]
    example: Callable[..., dict[str, np.ndarray]]


def is_float(name: str) -> bool:
    """Whether an input holds numbers, not ids or a mask.

    >>> is_float("input_ids"), is_float("encoder_hidden_states")
    (False, True)
    """
    return not name.endswith(("_ids", "_mask"))


class MergedGraphs(NamedTuple):
    """Two graphs in one file, of which an input chooses one.

    Attributes:
        file: the file.
        first, later: the decoder without a past, and with one.
    """

    file: str
    first: Graph
    later: Graph

    @property
    def inputs(self) -> dict[str, Axes]:
        """The inputs of both, but for the one that chooses.

        A caller without a past gives an empty one, whose heads and their size may be others: optimum divides the
        model's size by the encoder's heads.
        """
        free = {1: "past_heads", 3: "past_head_size"}
        past = {
            name: tuple(free.get(place, size) for place, size in enumerate(axes))
            for name, axes in self.later.inputs.items()
            if name not in self.first.inputs
        }
        return {**self.first.inputs, **past}

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

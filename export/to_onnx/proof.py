"""What ONNX Runtime answers beside the model, length by length."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.to_onnx.graph import Graph, is_float

TOLERANCE = 1e-4
"""The largest difference between a model's numbers and its graph's."""


def session(path: Path | str) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def largest_difference(graph: Graph, running: Any, inputs: Mapping[str, np.ndarray]) -> float:
    """The largest difference between the outputs of a graph's function and of a session of it.

    Args:
        graph: the graph.
        running: a session of it.
        inputs: int64 and float32 arrays by name.
    """
    answers = dict(zip(graph.outputs, running.run(list(graph.outputs), dict(inputs)), strict=True))
    expected = graph.function(
        {name: tf.constant(value, tf.float32 if is_float(name) else tf.int32) for name, value in inputs.items()}
    )
    differences = [np.abs(answers[name] - expected[name].numpy()) for name in graph.outputs]
    # NaN is a difference as well.
    return max(float(np.where(np.isfinite(x), x, np.inf).max()) for x in differences)


def differences(graph: Graph, running: Any, lengths: Iterable[int]) -> dict[int, float]:
    """The largest difference at each length, for two documents: a padded one and a whole one.

    Args:
        graph: the graph.
        running: a session of it.
        lengths: in tokens.

    Raises:
        ValueError: a difference above `TOLERANCE`.
    """
    found = {length: largest_difference(graph, running, graph.example(length, length)) for length in lengths}
    worst = max(found, key=lambda length: found[length])
    if found[worst] > TOLERANCE:
        rule = f"{graph.file} must differ from the model by at most {TOLERANCE}"
        raise ValueError(f"{rule}. Received: {found[worst]} at {worst} tokens")
    return found

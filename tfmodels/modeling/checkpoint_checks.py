"""What a checkpoint is asked before a model of its size is made."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

# The types of weights that models compute in.
_DTYPES = ("float64", "float32", "bfloat16", "float16")


def check_size(reader: Any, min_parameters: int, source: str) -> None:
    """Raise `ValueError` where a config asks for more numbers than the file holds."""
    held = sum(math.prod(reader.shape(name)) for name in reader.names())
    if min_parameters > held:
        raise ValueError(
            f"{source} must hold the weights of its config's layers, at least {min_parameters} numbers as the config "
            f"says. Received: {held} numbers"
        )


def with_vocabulary_of(reader: Any, config: Any, token_embedding_names: Sequence[str], source: str) -> Any:
    """The config with as many tokens as the file's table has; a warning where it said otherwise."""
    shapes = [reader.shape(name) for name in token_embedding_names if name in reader.names()]
    if not shapes or len(shapes[0]) != 2 or shapes[0][0] == config.vocab_size:
        return config
    tokens = shapes[0][0]
    warnings.warn(
        f"{source} holds embeddings of {tokens} tokens and its config says vocab_size={config.vocab_size}: "
        f"the model gets {tokens}",
        stacklevel=3,
    )
    return config.replace(vocab_size=tokens)


def stored_dtype(reader: Any) -> str | None:
    """The type of the largest tensor, where it is one that models compute in."""
    largest = max(reader.names(), key=lambda name: np.prod(reader.shape(name)))
    name = str(reader.dtype(largest))
    return name if name in _DTYPES else None

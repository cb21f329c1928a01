"""Checks of a checkpoint before a model of its size is created."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from tfmodels.modeling.config import ModelConfig

Config = TypeVar("Config", bound=ModelConfig)

# The dtypes that models compute in.
_DTYPES = ("float64", "float32", "bfloat16", "float16")


def check_size(reader: Any, min_parameters: int, source: str) -> None:
    """Raise `ValueError` for a config whose matrices hold more numbers than the file."""
    held = sum(math.prod(reader.shape(name)) for name in reader.names())
    if min_parameters > held:
        raise ValueError(
            f"{source} must hold the weights of its config's layers, at least {min_parameters} numbers as the config "
            f"says. Received: {held} numbers"
        )


def with_vocabulary_of(reader: Any, config: Config, token_embedding_names: Sequence[str], source: str) -> Config:
    """The config with the number of tokens of the file's table; warn if the two differ."""
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
    """The dtype of the largest tensor, None if models cannot compute in it."""
    largest = max(reader.names(), key=lambda name: np.prod(reader.shape(name)))
    name = str(reader.dtype(largest))
    return name if name in _DTYPES else None

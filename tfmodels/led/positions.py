"""Other numbers of LED's learnt positions."""

from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.layers.resizing import check_plain
from tfmodels.utils.checks import check_positive
from tfmodels.utils.plain_values import plain

POSITION_FIELDS = ("max_encoder_position_embeddings", "max_decoder_position_embeddings")


def repeated_rows(table: np.ndarray, rows: int) -> np.ndarray:
    """The rows of a table over and over, as many as are wanted (Beltagy et al. 2020, section 5).

    >>> repeated_rows(np.array([[1], [2]]), 5).ravel().tolist()
    [1, 2, 1, 2, 1]
    """
    return table[np.arange(rows) % len(table)]


def resize_positions(model: Any, tables: dict[str, keras.layers.Embedding], positions: dict[str, int]) -> Any:
    """Repeat or cut the learnt positions of some tables; returns the config that says so.

    Args:
        model: whose config they are sizes of.
        tables: by the field of the config.
        positions: new numbers, likewise.

    Raises:
        ValueError: another field, a number that is not positive, or sizes that do not go together.
    """
    unknown = sorted(set(positions) - set(tables))
    if unknown:
        raise ValueError(f"positions must be among {sorted(tables)}. Received: {unknown}")
    positions = {name: plain(count, name) for name, count in positions.items()}
    for name, count in positions.items():
        check_positive(name, count)
        check_plain(tables[name], "resize_position_embeddings")
    config = model.config.replace(**positions)
    for name, count in positions.items():
        layer = tables[name]
        replace_weight(layer, "embeddings", repeated_rows(np.asarray(layer.embeddings), count))
        layer.input_dim = count
    return config

"""Resizing of LED's learned positions."""

from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.layers.resizing import check_plain
from tfmodels.utils.checks import check_positive
from tfmodels.utils.plain_values import plain

POSITION_FIELDS = ("max_encoder_position_embeddings", "max_decoder_position_embeddings")


def repeated_rows(table: np.ndarray, rows: int) -> np.ndarray:
    """Repeat the rows of a table up to `rows` rows, or cut it there (Beltagy et al. 2020, section 5).

    >>> repeated_rows(np.array([[1], [2]]), 5).ravel().tolist()
    [1, 2, 1, 2, 1]
    """
    return table[np.arange(rows) % len(table)]


def resize_positions(model: Any, tables: dict[str, keras.layers.Embedding], positions: dict[str, int]) -> Any:
    """Repeat or cut the learned positions of some tables.

    Args:
        model: the model whose config holds the sizes.
        tables: {config field: table}.
        positions: {config field: new number of positions}.

    Returns:
        The config with the new numbers.

    Raises:
        ValueError: an unknown field, a number below 1, or contradictory sizes.
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


def resize_model_positions(model: Any, positions: dict[str, int]) -> None:
    """Repeat or cut the positions of a model's encoder and decoder."""
    tables = (model.encoder.embed_positions, model.decoder.embed_positions)
    model.set_config(resize_positions(model, dict(zip(POSITION_FIELDS, tables, strict=True)), positions))

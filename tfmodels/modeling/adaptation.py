"""Changes of a built model: token embeddings, LoRA, quantization.

Compiled functions are stale after any of these changes, which drop them.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight, sublayers
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.training_state import adapt
from tfmodels.utils.checks import check_positive
from tfmodels.utils.plain_values import plain

LORA_TARGETS = ("query", "value", "q", "v", "q_proj", "v_proj")


def set_input_embeddings(model: Any, embeddings: Any) -> None:
    """See `PretrainedModel.set_input_embeddings`."""
    table = np.asarray(getattr(embeddings, "embeddings", embeddings))
    if table.ndim != 2 or table.shape[1] != model.config.d_model:
        raise ValueError(
            f"embeddings must have shape (tokens, d_model={model.config.d_model}). Received: shape {table.shape}"
        )
    layer = model.get_input_embeddings()
    for part in (layer, model.get_output_embeddings()):  # check both before changing either
        check_plain(part, "set_input_embeddings")
    replace_weight(layer, "embeddings", table.astype(layer.variable_dtype))
    layer.input_dim = len(table)
    model.resize_head(len(table))
    model.set_config(model.config.replace(vocab_size=len(table)))
    model.forget_compiled()


def resize_token_embeddings(
    model: Any, new_num_tokens: int | None, pad_to_multiple_of: int | None
) -> keras.layers.Layer:
    """See `PretrainedModel.resize_token_embeddings`."""
    rows = plain(model.config.vocab_size if new_num_tokens is None else new_num_tokens, "new_num_tokens")
    multiple = plain(1 if pad_to_multiple_of is None else pad_to_multiple_of, "pad_to_multiple_of")
    check_positive("new_num_tokens", rows)
    check_positive("pad_to_multiple_of", multiple)
    layer = model.get_input_embeddings()
    check_plain(layer, "resize_token_embeddings")
    model.set_input_embeddings(resized_rows(np.asarray(layer.embeddings), -(-rows // multiple) * multiple))
    return layer


def resized_rows(table: np.ndarray, rows: int) -> np.ndarray:
    """The first `rows` rows of a table; new rows are drawn around the mean of the old ones.

    >>> resized_rows(np.ones((3, 2), "float32"), 4).shape
    (4, 2)
    """
    added = rows - len(table)
    if added <= 0:
        return table[:rows]
    whole: np.ndarray = table.astype("float32")
    generator = np.random.default_rng(len(table))
    noise = generator.normal(0, 1, (added, *table.shape[1:])).astype("float32")
    return np.concatenate([table, (whole.mean(axis=0) + 0.01 * whole.std(axis=0) * noise).astype(table.dtype)])


def enable_lora(model: Any, rank: int, targets: Sequence[str]) -> None:
    """See `PretrainedModel.enable_lora`."""
    projections = [layer for layer in sublayers(model) if layer.name in targets and hasattr(layer, "enable_lora")]
    if not projections:
        raise ValueError(f"targets must name projections of the model. Received: targets={tuple(targets)}")
    for variable in model.trainable_variables:
        variable.trainable = False
    for layer in projections:
        adapt(layer, rank)
    model.forget_compiled()


def is_large(layer: Any) -> bool:
    """Whether `quantize` changes a layer: projections and tables, except position biases."""
    is_matrix = isinstance(layer, (keras.layers.Dense, keras.layers.Embedding))
    return is_matrix and "relative_attention_bias" not in layer.path


def num_parameters(model: Any, only_trainable: bool, exclude_embeddings: bool) -> int:
    """See `PretrainedModel.num_parameters`."""
    skipped: set[int] = set()
    if exclude_embeddings:
        tables = [layer for layer in sublayers(model) if isinstance(layer, keras.layers.Embedding)]
        skipped = {id(weight) for layer in tables for weight in layer.weights}
    weights = model.trainable_weights if only_trainable else model.weights
    counted = [weight for weight in weights if id(weight) not in skipped and not _is_buffer(weight)]
    return sum(int(np.prod(weight.shape)) for weight in counted)


def _is_buffer(weight: Any) -> bool:
    return "seed_generator" in weight.path or weight.name == "final_logits_bias"

"""What exports compute with a model: the outputs for ids and masks, in float32."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

Tensors = dict[str, tf.Tensor]


def hidden_states(model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """The encoder's "last_hidden_state" float32 (B, L, E).

    Args:
        model: a model.
        inputs: the inputs of its encoder, int32 (B, L).
    """
    return {"last_hidden_state": tf.cast(model.encode(**inputs)["last_hidden_state"], tf.float32)}


def class_logits(model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """The "logits" float32 (B, C) of a classifier, for inputs as of `hidden_states`."""
    # A server may pad with a row's own tokens: an end token among them must not count.
    ids = tf.where(inputs["attention_mask"] != 0, inputs["input_ids"], model.config.pad_token_id)
    return {"logits": tf.cast(model({**inputs, "input_ids": ids})["logits"], tf.float32)}


def span_logits(model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """The "start_logits" and "end_logits" float32 (B, L) of a model that answers, for inputs as of `hidden_states`."""
    outputs = model(dict(inputs))
    return {name: tf.cast(outputs[name], tf.float32) for name in ("start_logits", "end_logits")}

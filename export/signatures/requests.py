"""Requests of ids: checked with messages that name the input, and padded to the shape of a program."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf


def check_ids(inputs: Mapping[str, tf.Tensor], longest: int, config: Any) -> dict[str, tf.Tensor]:
    """Return ids and masks (B, L), behind checks of a client's mistakes.

    Args:
        inputs: `input_ids`, `attention_mask` and possibly `global_attention_mask`.
        longest: the most tokens of a row.
        config: the model's config.
    """
    inputs = {name: _of_rank(name, value) for name, value in inputs.items()}
    ids = inputs["input_ids"]
    with tf.control_dependencies(list(inputs.values())):
        shape = tf.shape(ids)
        checks = [
            _check(shape[1] <= longest, f"input_ids must have at most {longest} tokens per row", shape),
            _check(shape[1] > 0, "input_ids must have at least one token per row", shape),
            _check(
                tf.reduce_all((ids >= 0) & (ids < config.vocab_size)),
                f"input_ids must be from 0 to {config.vocab_size - 1}",
                ids,
            ),
        ]
        for name, value in inputs.items():
            same = tf.reduce_all(tf.equal(tf.shape(value), shape))
            checks.append(_check(same, f"{name} must have the shape of input_ids", tf.shape(value)))
        marks = inputs.get("global_attention_mask")
        if marks is not None:
            most = config.max_global_tokens
            fits = tf.reduce_all(tf.math.count_nonzero(marks, axis=1, dtype=tf.int32) <= most)
            checks.append(_check(fits, f"global_attention_mask must mark at most {most} tokens per row", marks))
    with tf.control_dependencies(checks):
        return {name: tf.identity(value) for name, value in inputs.items()}


def check_rows(rows: tf.Tensor, most: int) -> tf.Operation:
    """Check that a request has no more documents than the largest batch size."""
    return _check(rows <= most, f"a request must have at most {most} documents", rows)


def check_range(name: str, values: tf.Tensor, rows: tf.Tensor, most: int) -> tf.Tensor:
    """Return the numbers (B,), behind a check that each document has one, from 1 to `most`."""
    in_range = tf.reduce_all((values >= 1) & (values <= most))
    checks = [
        _check(tf.equal(tf.size(values), rows), f"{name} must hold one number for each text", tf.shape(values)),
        _check(in_range, f"{name} must be from 1 to {most}", values),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(values)


def check_texts(name: str, texts: tf.Tensor) -> tf.Tensor:
    """Return the texts (B,), behind a check of their rank."""
    return _of_rank(name, texts)


def padded_columns(inputs: Mapping[str, tf.Tensor], length: int) -> dict[str, tf.Tensor]:
    """Inputs (B, L) -> (B, length), for L <= length; the mask is 0 on the padding."""
    padded = {}
    for name, value in inputs.items():
        # Branches that are not taken are built too: they must not see a negative width.
        missing = tf.maximum(length - tf.shape(value)[1], 0)
        padded[name] = tf.ensure_shape(tf.pad(value, [[0, 0], [0, missing]])[:, :length], (None, length))
    return padded


def padded_rows(inputs: Mapping[str, tf.Tensor], rows: int | None) -> dict[str, tf.Tensor]:
    """Inputs (B, ...) -> (rows, ...) with zeros, for B <= rows; for None at least one row."""
    padded = {}
    for name, value in inputs.items():
        missing = tf.maximum((rows or 1) - tf.shape(value)[0], 0)
        padded[name] = tf.pad(value, [[0, missing], *[[0, 0]] * (len(value.shape) - 1)])[:rows]
        padded[name].set_shape((rows, *value.shape[1:]))
    return padded


def first_that_holds(counts: tf.Tensor, sizes: Sequence[int]) -> tf.Tensor:
    """Index of the smallest of ascending sizes that holds each count, or of the largest; int32 in the counts' shape."""
    return tf.reduce_sum(tf.cast(counts[..., tf.newaxis] > tf.constant(sizes[:-1], tf.int32), tf.int32), axis=-1)


def _of_rank(name: str, value: tf.Tensor) -> tf.Tensor:
    """Return the value, behind a check for the rank of its signature, whose message names the input."""
    # Servers do not compare a request with the signature's ranks, while TensorFlow's optimizer trusts them: it would
    # remove a check as always true, unless the value's shape is forgotten first.
    received = tf.raw_ops.PlaceholderWithDefault(input=value, shape=tf.TensorShape(None), name=f"{name}_received")
    return tf.ensure_shape(received, value.shape)


def _check(condition: tf.Tensor, message: str, received: tf.Tensor) -> tf.Operation:
    # Not `tf.debugging.Assert`: that is a branch, and ops that wait for it may run all the same.
    return tf.raw_ops.Assert(condition=condition, data=[f"{message}. Received:", received], summarize=8)

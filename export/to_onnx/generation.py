"""The decoder as graphs in optimum's layout: the first tokens, one more token with what is known of them, and both."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from export.programs import Tensors
from export.to_onnx.graph import Axes, Graph, MergedGraphs

_TARGET, _SOURCE, _PAST = "decoder_sequence_length", "encoder_sequence_length", "past_decoder_sequence_length"
PARTS_OF_MERGED = ("decode", "decode_with_past")
_FILES = {
    "decode": "decoder_model.onnx",
    "decode_with_past": "decoder_with_past_model.onnx",
    "decode_merged": "decoder_model_merged.onnx",
}
# Of each layer, in the order of transformers' caches.
_PARTS = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")
# Tokens of an example; few, so that any model has positions for one more.
_TOKENS = 5


def decoder_graphs(model: Any) -> dict[str, Graph | MergedGraphs]:
    """ "decode", "decode_with_past" and both as "decode_merged", of a model with a language model's head."""
    config, layers = model.config, len(model.decoder.blocks)
    heads, size = model.decoder.init_cache(1, 1)[0][0].shape[1:3]
    mask: dict[str, Axes] = {"encoder_attention_mask": ("batch", _SOURCE)}
    logits: Axes = ("batch", _TARGET, config.vocab_size)

    def caches(prefix: str, parts: tuple[str, ...], tokens: str) -> dict[str, Axes]:
        lengths = {part: tokens if part.startswith("decoder") else _SOURCE for part in parts}
        return {
            f"{prefix}.{layer}.{part}": ("batch", heads, length, size)
            for layer in range(layers)
            for part, length in lengths.items()
        }

    first = Graph(
        _FILES["decode"],
        partial(_decode, model),
        {**mask, "input_ids": ("batch", _TARGET), "encoder_hidden_states": ("batch", _SOURCE, config.d_model)},
        {"logits": logits, **caches("present", _PARTS, _TARGET)},
        partial(_first_example, model),
    )
    later = Graph(
        _FILES["decode_with_past"],
        partial(_decode_with_past, model),
        {**mask, "input_ids": ("batch", 1), **caches("past_key_values", _PARTS, _PAST)},
        {"logits": ("batch", 1, config.vocab_size), **caches("present", _PARTS[:2], f"{_PAST} + 1")},
        partial(_later_example, model),
    )
    merged = MergedGraphs(_FILES["decode_merged"], first, later)
    return {"decode": first, "decode_with_past": later, "decode_merged": merged}


def _decode(model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """The logits of target tokens, and what the next one needs of them and of the document."""
    states = {"last_hidden_state": inputs["encoder_hidden_states"]}
    outputs = model.decode(inputs["input_ids"], states, inputs["encoder_attention_mask"], use_cache=True)
    return {"logits": outputs["logits"], **dict(_named(outputs["past_key_values"], _PARTS))}


def _decode_with_past(model: Any, inputs: Mapping[str, tf.Tensor]) -> Tensors:
    """The logits of one more token, and the keys and values of all tokens."""
    layers = range(len(model.decoder.blocks))
    past = tuple(tuple(inputs[f"past_key_values.{layer}.{part}"] for part in _PARTS) for layer in layers)
    mask = inputs["encoder_attention_mask"]
    outputs = model.decode(inputs["input_ids"], encoder_attention_mask=mask, past_key_values=past)
    return {"logits": outputs["logits"], **dict(_named(outputs["past_key_values"], _PARTS[:2]))}


def _named(cache: Any, parts: tuple[str, ...]) -> Iterator[tuple[str, tf.Tensor]]:
    for layer, tensors in enumerate(cache):
        for part, tensor in zip(parts, tensors, strict=False):
            yield f"present.{layer}.{part}", tensor


def _first_example(model: Any, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Five tokens for two documents, one of them padded, of random states."""
    generator = np.random.default_rng(seed)
    lengths = np.array([length, max(1, length * 2 // 3)])
    return {
        "encoder_attention_mask": (np.arange(length)[None] < lengths[:, None]).astype("int64"),
        "input_ids": generator.integers(0, model.config.vocab_size, (2, _TOKENS)),
        "encoder_hidden_states": generator.standard_normal((2, length, model.config.d_model), "float32"),
    }


def _later_example(model: Any, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """One token behind those of `_first_example`."""
    before = _first_example(model, length, seed)
    outputs = _decode(model, {name: tf.constant(value) for name, value in before.items()})
    return {
        "encoder_attention_mask": before["encoder_attention_mask"],
        "input_ids": before["input_ids"][:, -1:],
        **{name.replace("present", "past_key_values"): x.numpy() for name, x in outputs.items() if name != "logits"},
    }

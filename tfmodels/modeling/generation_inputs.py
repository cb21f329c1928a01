"""The inputs of generation as tensors, checked as early as their values are known."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_ids, check_mask, concrete_value
from tfmodels.generation import GenerationConfig
from tfmodels.modeling.inputs import as_encoder_outputs, unpack_inputs
from tfmodels.utils.checks import check_shape

HEAD_MASKS = ("head_mask", "decoder_head_mask", "cross_attn_head_mask")
"""Of the encoder, of the decoder's self-attention and of its cross-attention: (layers, H) or (H,)."""


def as_tensors(names: Sequence[str], sources: Mapping[str, Any]) -> dict[str, Any]:
    """The encoder's inputs that are given: ids and masks as int32, the rest in their own type, tensors as they are.

    Args:
        names: the inputs that the model has, in the order of a list.
        sources: what the call was given, the first perhaps a dict or a list of all.

    Raises:
        ValueError: an input that the model does not have, or ids that are no (batch, length) array of numbers.

    >>> list(as_tensors(("input_ids", "attention_mask"), {"input_ids": {"input_ids": [[5, 6]]}}))
    ['input_ids']
    """
    # The reference's order of a list ends with encoder_outputs; embeddings come by name.
    inputs = unpack_inputs(
        names, **{name: value for name, value in sources.items() if name in names or value is not None}
    )
    given = {name: value for name, value in inputs.items() if value is not None}
    return {name: _as_tensor(name, value) for name, value in given.items()}


def _as_tensor(name: str, value: Any) -> Any:
    if name == "encoder_outputs":
        return {"last_hidden_state": ops.convert_to_tensor(as_encoder_outputs(value)["last_hidden_state"])}
    if name in HEAD_MASKS:
        return ops.convert_to_tensor(value, "float32")
    if name == "inputs_embeds":
        value = ops.convert_to_tensor(value)
        check_shape(name, value, (None, None, None), "documents, tokens, d_model")
        return value
    if ops.is_tensor(value):
        return value
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be a (batch, length) array of numbers. Received: shape {array.shape}")
    return ops.convert_to_tensor(array, "int32")


def check_sources(given: Mapping[str, Any], vocab_size: int) -> None:
    """Raise `ValueError` where ids or masks are out of range or not of the documents' shape, or nothing is given."""
    if "encoder_outputs" in given:
        shape = tuple(given["encoder_outputs"]["last_hidden_state"].shape)[:2]
    else:
        named = [name for name in ("inputs_embeds", "input_ids") if name in given]
        if not named:
            raise ValueError("input_ids, inputs_embeds or encoder_outputs must be given. Received: none")
        shape = tuple(given[named[0]].shape)[:2]
    for name in ("input_ids", "attention_mask", "global_attention_mask"):
        if name in given:
            check_shape(name, given[name], shape, "documents, tokens")
    # Here, because inside the compiled function they have no values yet.
    if "input_ids" in given:
        check_ids("input_ids", given["input_ids"], vocab_size)
    if "attention_mask" in given:
        check_mask("attention_mask", given["attention_mask"])


def one_document(given: Mapping[str, Any], prompt: Tensor, start: int) -> dict[str, Any]:
    """Inputs without any document, with one of padding: what the programs can run."""

    def one(x: Tensor) -> Tensor:
        return ops.ones((1, *x.shape[1:]), dtype=x.dtype)

    shared = (*HEAD_MASKS, "seed", *(["allowed"] if "allowed" in given and len(given["allowed"].shape) < 3 else []))
    found = {name: x if name in shared else keras.tree.map_structure(one, x) for name, x in given.items()}
    if "encoder_outputs" in given:
        documents = given["encoder_outputs"]["last_hidden_state"]
    else:
        documents = given["inputs_embeds"] if "inputs_embeds" in given else given["input_ids"]
    found["attention_mask"] = ops.zeros((1, documents.shape[1]), "int32")
    found["prompt"] = ops.full((1, prompt.shape[1]), start, dtype="int32")
    return found


def without_documents(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a search returned for `one_document`, without it."""
    steps_first = ("scores",)
    return {
        name: value[:, :0] if name in steps_first else keras.tree.map_structure(lambda x: x[:0], value)
        for name, value in found.items()
    }


def prompt_of(prompt: Any, documents: int | Tensor, settings: GenerationConfig, config: Any) -> Tensor:
    """What every sequence begins with: int32 (B, P).

    Args:
        prompt: `decoder_input_ids`; None: the start token.
        documents: B.
        settings: with special ids.
        config: the model's.

    Raises:
        ValueError: a prompt that does not begin with the start token, has ids outside the vocabulary, another number of
            rows, or leaves no room for a new token.
    """
    start = settings.decoder_start_token_id
    if prompt is None:
        settings.check_lengths(1)
        return ops.full((documents, 1), start, dtype="int32")
    prompt = prompt if ops.is_tensor(prompt) else ops.convert_to_tensor(np.asarray(prompt), "int32")
    rows = documents if isinstance(documents, int) else None
    check_shape("decoder_input_ids", prompt, (rows, None), "documents, tokens")
    length = prompt.shape[1]
    if length is None:
        raise ValueError("decoder_input_ids must have a static length. Received: shape (any, None)")
    if not length or length >= settings.total_length(length):
        raise ValueError(
            f"decoder_input_ids must have from 1 to {settings.total_length(length) - 1} tokens, as "
            f"{settings.name_of_length} says. Received: {length}{settings.origin(settings.name_of_length)}"
        )
    settings.check_lengths(length)
    values = concrete_value(prompt)
    if values is not None and values.size:
        if (values[:, 0] != start).any():
            raise ValueError(
                f"decoder_input_ids must begin with decoder_start_token_id={start}. Received: {values[:, 0].tolist()}"
                f"{settings.origin('decoder_start_token_id')}"
            )
        if values.min() < 0 or values.max() >= config.vocab_size:
            raise ValueError(
                f"decoder_input_ids must be below the vocabulary's {config.vocab_size} tokens and not negative. "
                f"Received: {values.min()} to {values.max()}"
            )
    return ops.cast(prompt, "int32")


def token_mask(allowed: Any, documents: int | Tensor, vocab_size: int) -> Tensor:
    """`prefix_allowed` as a bool tensor (V,), (n, V) or (B, n, V).

    Raises:
        ValueError: another shape, or a place at which nothing is allowed.
    """
    allowed = allowed if ops.is_tensor(allowed) else ops.convert_to_tensor(np.asarray(allowed) != 0)
    rows = documents if isinstance(documents, int) else None
    shape = {1: (vocab_size,), 2: (None, vocab_size)}.get(len(allowed.shape), (rows, None, vocab_size))
    check_shape("prefix_allowed", allowed, shape, "documents, places, tokens of the vocabulary")
    values = concrete_value(allowed)
    if values is not None and not (values != 0).any(axis=-1).all():
        raise ValueError("prefix_allowed must allow a token at every place. Received: a place without one")
    return ops.cast(allowed, "bool")


def token_limits(limits: Any, documents: int | Tensor) -> Tensor:
    """`new_token_limits` as int32 (B,).

    Raises:
        ValueError: another shape, or a limit below 1.
    """
    limits = limits if ops.is_tensor(limits) else ops.convert_to_tensor(np.asarray(limits), "int32")
    check_shape("new_token_limits", limits, (documents if isinstance(documents, int) else None,), "documents")
    values = concrete_value(limits)
    if values is not None and values.size and values.min() < 1:
        raise ValueError(f"new_token_limits must be at least 1. Received: {values.tolist()}")
    return ops.cast(limits, "int32")

"""The inputs of generation as tensors, checked as early as their values are known.

Further shape letters: P prompt tokens, Q sequences of a document, J new positions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_ids, check_mask, concrete_value
from tfmodels.generation.config import GenerationConfig
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.inputs import EncoderInputs, as_encoder_outputs, unpack_inputs
from tfmodels.utils.checks import check_shape

HEAD_MASKS = ("head_mask", "decoder_head_mask", "cross_attn_head_mask")
"""The masks of the encoder's heads, of the decoder's self-attention and of its cross-attention: (layers, H) or (H,)."""
SOURCE_OPTIONS = ("encoder_outputs", "inputs_embeds", *HEAD_MASKS)
"""Inputs for documents besides the family's inputs of the encoder."""


class GenerationInputs(NamedTuple):
    """The inputs of one generation or scoring, None for missing inputs.

    The first five: see `EncoderInputs`; ids beside embeddings or states are for processors that read the document.
    encoder_outputs: (B, S, E). decoder_head_mask, cross_attn_head_mask: (layers, H) or (H,). prompt: int32 (B, P).
    allowed: bool, see `token_mask`. limits: int32 (B,). seed: two uint32. candidates: int32 (B * Q, T).
    """

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    global_attention_mask: Tensor | None = None
    head_mask: Tensor | None = None
    inputs_embeds: Tensor | None = None
    encoder_outputs: Tensor | None = None
    decoder_head_mask: Tensor | None = None
    cross_attn_head_mask: Tensor | None = None
    prompt: Any = None
    allowed: Tensor | None = None
    limits: Tensor | None = None
    seed: Tensor | None = None
    candidates: Any = None

    @property
    def encoder(self) -> EncoderInputs:
        """The encoder's inputs."""
        ids = self.input_ids if self.inputs_embeds is None else None
        return EncoderInputs(ids, self.attention_mask, self.global_attention_mask, self.head_mask, self.inputs_embeds)

    def without_sources(self) -> "GenerationInputs":
        """The inputs that a search reads after the documents are encoded."""
        return self._replace(global_attention_mask=None, head_mask=None, inputs_embeds=None, encoder_outputs=None)


def read_sources(names: Sequence[str], sources: Mapping[str, Any]) -> GenerationInputs:
    """The documents as tensors: arrays of ids and masks as int32, further inputs in their own dtype, tensors unchanged.

    Args:
        names: the model's inputs, in the order of a list.
        sources: arguments of the call; the first may be a dict or a list of all inputs.

    Raises:
        ValueError: an unknown input, or ids that are no (batch, length) array of numbers.

    >>> read_sources(("input_ids", "attention_mask"), {"input_ids": {"input_ids": [[5, 6]]}}).input_ids.shape[1]
    2
    """
    # In transformers a list ends with encoder_outputs; embeddings are a keyword.
    inputs = unpack_inputs(
        names, **{name: value for name, value in sources.items() if name in names or value is not None}
    )
    return GenerationInputs(**{name: _as_tensor(name, value) for name, value in inputs.items() if value is not None})


def _as_tensor(name: str, value: Any) -> Any:
    if name == "encoder_outputs":
        return ops.convert_to_tensor(as_encoder_outputs(value)["last_hidden_state"])
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


def _documents(inputs: GenerationInputs) -> Tensor:
    """The tensor (B, S, ...) whose shape is the number and the length of the documents."""
    for tensor in (inputs.encoder_outputs, inputs.inputs_embeds, inputs.input_ids):
        if tensor is not None:
            return tensor
    raise ValueError("input_ids, inputs_embeds or encoder_outputs must be given. Received: none")


def document_count(inputs: GenerationInputs) -> int | Tensor:
    """B."""
    return ops.shape(_documents(inputs))[0]


def check_sources(inputs: GenerationInputs, vocab_size: int) -> None:
    """Raise `ValueError` for ids or masks out of range or of the wrong shape, or without any document."""
    shape = tuple(_documents(inputs).shape)[:2]
    for name in ("input_ids", "attention_mask", "global_attention_mask"):
        if getattr(inputs, name) is not None:
            check_shape(name, getattr(inputs, name), shape, "documents, tokens")
    # Here, because inside the compiled function the values are unknown.
    if inputs.input_ids is not None:
        check_ids("input_ids", inputs.input_ids, vocab_size)
    if inputs.attention_mask is not None:
        check_mask("attention_mask", inputs.attention_mask)


def one_document(inputs: GenerationInputs, start: int) -> GenerationInputs:
    """Inputs of one document of padding, in place of none: the programs need at least one."""

    def one(x: Tensor) -> Tensor:
        return ops.ones((1, *x.shape[1:]), dtype=x.dtype)

    shared = [*HEAD_MASKS, "seed"]
    if inputs.allowed is not None and len(inputs.allowed.shape) < 3:
        shared.append("allowed")
    by_document = {name: x for name, x in inputs._asdict().items() if x is not None and name not in shared}
    padded = inputs._replace(**{name: one(x) for name, x in by_document.items()})
    length = _documents(inputs).shape[1]
    return padded._replace(
        attention_mask=ops.zeros((1, length), "int32"),
        prompt=ops.full((1, inputs.prompt.shape[1]), start, dtype="int32"),
    )


def without_documents(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results of a search over `one_document`, cut to no document."""
    steps_first = ("scores",)
    return {
        name: value[:, :0] if name in steps_first else keras.tree.map_structure(lambda x: x[:0], value)
        for name, value in results.items()
    }


def prompt_of(prompt: Any, documents: int | Tensor, settings: GenerationConfig, config: ModelConfig) -> Tensor:
    """The first tokens of every sequence: int32 (B, P).

    Args:
        prompt: `decoder_input_ids`; None: the start token.
        documents: B.
        settings: settings with special ids.
        config: the model's config.

    Raises:
        ValueError: a prompt without the start token, with ids outside the vocabulary, with the wrong number of rows, or
            without room for a new token.
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
    """`prefix_allowed` as a bool tensor (V,), (J, V) or (B, J, V).

    Raises:
        ValueError: a mask of the wrong shape, or a position without any allowed token.
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
        ValueError: limits of the wrong shape, or a limit below 1.
    """
    limits = limits if ops.is_tensor(limits) else ops.convert_to_tensor(np.asarray(limits), "int32")
    check_shape("new_token_limits", limits, (documents if isinstance(documents, int) else None,), "documents")
    values = concrete_value(limits)
    if values is not None and values.size and values.min() < 1:
        raise ValueError(f"new_token_limits must be at least 1. Received: {values.tolist()}")
    return ops.cast(limits, "int32")

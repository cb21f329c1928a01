"""The inputs of a call: unpacked once at the edge, and typed from there on.

A model takes keywords, one dict, or a list in the documented order. Behind the call every layer takes a `NamedTuple`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfmodels.backend.types import Tensor
from tfmodels.modeling.cache import StaticCache
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.losses import shift_right


class EncoderInputs(NamedTuple):
    """Inputs of an encoder; None for an input that is missing, or unknown to the family.

    input_ids: int32 (B, L). attention_mask: (B, L), 0 on padding. global_attention_mask: (B, L), non-zero on global
    tokens. head_mask: (layers, H) or (H,), 0 for masked heads. inputs_embeds: (B, L, E), in place of the ids.
    """

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    global_attention_mask: Tensor | None = None
    head_mask: Tensor | None = None
    inputs_embeds: Tensor | None = None


class DecoderInputs(NamedTuple):
    """Inputs of a decoder.

    input_ids: int32 (R, T), the rows of a document next to each other. inputs_embeds: (R, T, E), in their place.
    attention_mask: (R, tokens so far), 0 on padding. head_mask, cross_attn_head_mask: (layers, H) or (H,).
    encoder_hidden_states: (B, S, E); None with a cache. encoder_attention_mask: (B, S), 0 on padding. cache: the
    earlier tokens, or None.
    """

    input_ids: Tensor | None = None
    inputs_embeds: Tensor | None = None
    attention_mask: Tensor | None = None
    head_mask: Tensor | None = None
    cross_attn_head_mask: Tensor | None = None
    encoder_hidden_states: Tensor | None = None
    encoder_attention_mask: Tensor | None = None
    cache: StaticCache | None = None


class Seq2SeqInputs(NamedTuple):
    """All inputs of a model's call, under transformers' names; see `Seq2SeqModel`."""

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    global_attention_mask: Tensor | None = None
    decoder_input_ids: Tensor | None = None
    decoder_attention_mask: Tensor | None = None
    labels: Tensor | None = None
    start_positions: Tensor | None = None
    end_positions: Tensor | None = None
    head_mask: Tensor | None = None
    inputs_embeds: Tensor | None = None
    decoder_head_mask: Tensor | None = None
    cross_attn_head_mask: Tensor | None = None
    encoder_outputs: Any = None
    past_key_values: Any = None
    decoder_inputs_embeds: Tensor | None = None

    @property
    def encoder(self) -> EncoderInputs:
        """The encoder's inputs."""
        return EncoderInputs(
            self.input_ids, self.attention_mask, self.global_attention_mask, self.head_mask, self.inputs_embeds
        )


ENCODER_OPTIONS = ("head_mask", "inputs_embeds")
"""The inputs of every encoder, after the family's inputs."""
DECODER_INPUTS = ("decoder_input_ids", "decoder_attention_mask")
FURTHER_INPUTS = (
    *ENCODER_OPTIONS,
    "decoder_head_mask",
    "cross_attn_head_mask",
    "encoder_outputs",
    "past_key_values",
    "decoder_inputs_embeds",
)


def unpack_inputs(names: Sequence[str], **inputs: Any) -> dict[str, Any]:
    """The inputs by name, from keywords, one dict, or a list in the order of `names`.

    Args:
        names: the model's inputs, in the order of a list.
        **inputs: arguments of the call; the value of the first name may be a dict or a list of all inputs.

    Returns:
        {name: value}, with None for missing inputs.

    Raises:
        ValueError: an unknown input, too long a list, or an input given twice.

    >>> unpack_inputs(("input_ids", "attention_mask"), input_ids=["ids", "mask"], attention_mask=None)["attention_mask"]
    'mask'
    """
    inputs = {name: np.asarray(value) if _is_array_in_lists(value) else value for name, value in inputs.items()}
    first = inputs.get(names[0])
    by_keyword = {name: value for name, value in inputs.items() if name != names[0] and value is not None}
    if isinstance(first, Mapping):
        packed = dict(first)
    elif isinstance(first, (list, tuple)):
        if len(first) > len(names):
            raise ValueError(f"inputs as a list must be in the order {list(names)}. Received: {len(first)} inputs")
        packed = dict(zip(names, first, strict=False))
    else:
        packed = {names[0]: first}
    unknown = sorted((set(packed) | set(by_keyword)) - set(names))
    if unknown:
        raise ValueError(f"inputs must be among {list(names)}. Received: {', '.join(unknown)}")
    twice = sorted(set(packed) & set(by_keyword))
    if twice:
        raise ValueError(f"each input must be given once. Received twice: {', '.join(twice)}")
    return {**dict.fromkeys(names), **packed, **by_keyword}


def _is_array_in_lists(value: Any) -> bool:
    """Whether a list is one input (numbers, or lists of numbers), as opposed to a list of inputs."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, (int, float, list)) for item in value)


def exactly_one(**inputs: Any) -> None:
    """Raise `ValueError` unless exactly one of the inputs is not None.

    >>> exactly_one(input_ids=1, inputs_embeds=None)
    """
    present = [name for name, value in inputs.items() if value is not None]
    if len(present) != 1:
        raise ValueError(f"exactly one of {', '.join(inputs)} must be given. Received: {', '.join(present) or 'none'}")


def as_encoder_outputs(outputs: Any) -> dict[str, Any]:
    """The outputs of `encode`, or a tuple of transformers, under the encoder's names.

    Raises:
        ValueError: a value of another kind.

    >>> as_encoder_outputs((np.ones((1, 2, 4)),))["last_hidden_state"].shape[1]
    2
    """
    names = ("last_hidden_state", "hidden_states", "attentions", "global_attentions")
    if isinstance(outputs, Mapping) and "last_hidden_state" in outputs and set(outputs) <= set(names):
        return dict(outputs)
    if isinstance(outputs, Sequence) and 0 < len(outputs) <= len(names):
        return {name: value for name, value in zip(names, outputs, strict=False) if value is not None}
    raise ValueError(
        f"encoder_outputs must be what encode returned, with last_hidden_state. Received: {type(outputs).__name__}"
    )


def shifted_labels(labels: Tensor, config: ModelConfig) -> Tensor:
    """The decoder inputs for labels (B, T): the labels, shifted right."""
    return shift_right(labels, config.decoder_start_token_id, config.pad_token_id)

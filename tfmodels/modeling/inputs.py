"""The ways in which a model takes its inputs: keywords, one dict, or a list in the documented order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmodels.backend.types import Tensor
from tfmodels.modeling.losses import shift_right


def unpack_inputs(names: Sequence[str], **inputs: Any) -> dict[str, Any]:
    """The inputs by name, whether they came as keywords, as one dict, or as a list in the order of `names`.

    Args:
        names: the inputs that the model has, in the order of a list.
        **inputs: what the call was given; the value of the first name may be a dict or a list of all.

    Raises:
        ValueError: an input that the model does not have, too long a list, or an input given twice.

    >>> unpack_inputs(("input_ids", "attention_mask"), input_ids=["ids", "mask"], attention_mask=None)["attention_mask"]
    'mask'
    """
    inputs = {name: np.asarray(value) if _is_array_in_lists(value) else value for name, value in inputs.items()}
    first = inputs.get(names[0])
    given = {name: value for name, value in inputs.items() if name != names[0] and value is not None}
    if isinstance(first, Mapping):
        packed = dict(first)
    elif isinstance(first, (list, tuple)):
        if len(first) > len(names):
            raise ValueError(f"inputs as a list must be in the order {list(names)}. Received: {len(first)} inputs")
        packed = dict(zip(names, first, strict=False))
    else:
        packed = {names[0]: first}
    unknown = sorted((set(packed) | set(given)) - set(names))
    if unknown:
        raise ValueError(f"inputs must be among {list(names)}. Received: {', '.join(unknown)}")
    twice = sorted(set(packed) & set(given))
    if twice:
        raise ValueError(f"each input must be given once. Received twice: {', '.join(twice)}")
    return {**dict.fromkeys(names), **packed, **given}


def _is_array_in_lists(value: Any) -> bool:
    """Whether a list holds numbers, or lists of them, and not inputs."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, (int, float, list)) for item in value)


def exactly_one(inputs: Mapping[str, Any], *names: str) -> None:
    """Raise `ValueError` unless exactly one of the named inputs is there.

    >>> exactly_one({"input_ids": 1, "inputs_embeds": None}, "input_ids", "inputs_embeds")
    """
    given = [name for name in names if inputs.get(name) is not None]
    if len(given) != 1:
        raise ValueError(f"exactly one of {', '.join(names)} must be given. Received: {', '.join(given) or 'none'}")


def as_encoder_outputs(outputs: Any) -> dict[str, Any]:
    """What `encode` returned, or a tuple as the reference has it, under the encoder's names.

    Raises:
        ValueError: neither.

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


def shifted_labels(labels: Tensor, config: Any) -> Tensor:
    """Decoder inputs for labels (B, T)."""
    return shift_right(labels, config.decoder_start_token_id, config.pad_token_id)

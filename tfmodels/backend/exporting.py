"""What Keras' export must know of a call with inputs of any size."""

from collections.abc import Mapping
from typing import Any

import keras


def export_arguments(inputs: Mapping[str, str], format: str) -> dict[str, Any]:
    """Arguments of `keras.Model.export` for int32 inputs (B, tokens) by name.

    Args:
        inputs: {name: name of its number of tokens}, equal for inputs of one length.
        format: as in Keras.

    >>> sorted(export_arguments({"input_ids": "source"}, "onnx"))
    ['input_signature']
    """
    spec = {"shape": (None, None), "dtype": "int32"}
    arguments: dict[str, Any] = {"input_signature": [{name: keras.InputSpec(name=name, **spec) for name in inputs}]}
    if keras.backend.backend() == "jax" and format == "tf_saved_model":
        # Keras names each unknown size by itself, and ids and masks of one length would differ.
        shapes = {name: f"(batch, {tokens})" for name, tokens in inputs.items()}
        arguments["jax2tf_kwargs"] = {"polymorphic_shapes": [shapes]}
    return arguments

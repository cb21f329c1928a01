"""What Keras' export must know of a call with inputs of any size."""

from collections.abc import Mapping
from typing import Any

import keras


def export_arguments(inputs: Mapping[str, str], format: str, input_signature: Any = None) -> dict[str, Any]:
    """Arguments of `keras.Model.export`.

    Args:
        inputs: {name: name of its number of tokens}, int32 (B, tokens), equal for inputs of one length.
        format: as in Keras.
        input_signature: as in Keras; None: the inputs, of any sizes.

    Raises:
        ValueError: "onnx" under TensorFlow.

    >>> sorted(export_arguments({"input_ids": "source"}, "tf_saved_model"))[0]
    'input_signature'
    """
    is_jax = keras.backend.backend() == "jax"
    if format == "onnx" and not is_jax:
        # tf2onnx passes over what it cannot convert, and drops a reshape: ONNX Runtime would find out.
        raise ValueError(
            "format must not be 'onnx': export.export_onnx writes graphs for ONNX Runtime. Received: 'onnx'"
        )
    if input_signature is not None:
        return {"input_signature": input_signature}
    spec = {"shape": (None, None), "dtype": "int32"}
    arguments: dict[str, Any] = {"input_signature": [{name: keras.InputSpec(name=name, **spec) for name in inputs}]}
    if is_jax and format == "tf_saved_model":
        # Keras names each unknown size by itself, and ids and masks of one length would differ.
        shapes = {name: f"(batch, {tokens})" for name, tokens in inputs.items()}
        arguments["jax2tf_kwargs"] = {"polymorphic_shapes": [shapes]}
    return arguments

"""Gradient checkpointing of layers: run a layer again in the backward pass in place of keeping intermediate values.

Training a stack of blocks keeps the intermediate values of all blocks until the backward pass has used them. Recomputed
(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3), the stack keeps only the hidden states
between blocks, and the intermediate values of one block at a time; the price is one more forward pass.
"""

from typing import Any

import keras

from tfmodels.backend.keras_internals import is_training_around
from tfmodels.backend.pure_call import PureCall, with_tensors
from tfmodels.backend.remat import is_inside_remat, remat_with_state


def remat_layer(layer: keras.layers.Layer, /, *args: Any, **kwargs: Any) -> Any:
    """Call `layer(*args, **kwargs)`; recompute its intermediate values in the backward pass.

    Outputs, gradients and the seeds left behind equal the plain call's, dropout included: both passes start from the
    same seeds, which advance once. Gradients reach every float tensor in the arguments and every trainable variable of
    the layer. It is the plain call inside an outer recomputed call (whose second pass already bounds the life of the
    values), outside training (`training` neither passed as true nor inherited from the calling layer), and for
    symbolic inputs.

    Lost: losses that the layer adds during its call, Keras masks attached to tensors, gradients of gradients.

    Args:
        layer: a built layer, which owns every variable that it uses. `keras.layers.Dropout` owns its seeds.
        *args, **kwargs: the arguments of the call: tensors, numbers, strings, NumPy arrays and None, in nested tuples,
            lists and dicts. NumPy arrays are constants.

    Returns:
        The layer's output: tensors, numbers, strings and None, nested likewise.

    Raises:
        ValueError: an unbuilt layer, or one that uses foreign variables (Keras' global seed is one); arguments or
            outputs of further types, which could hide tensors from the gradient.

    >>> layer = keras.layers.Dense(4, activation="gelu")
    >>> layer.build((None, 4))
    >>> remat_layer(layer, keras.ops.ones((2, 4)), training=True).shape[0]
    2
    """
    leaves = keras.tree.flatten((args, kwargs))
    if not _in_training(kwargs) or is_inside_remat() or any(isinstance(x, keras.KerasTensor) for x in leaves):
        return layer(*args, **kwargs)
    if not layer.built:
        raise ValueError(f"layer must be built before it is recomputed. Received: layer={layer}")
    call = PureCall(layer, args, {**kwargs, "training": True})
    outputs, state = remat_with_state(call, call.sources(), call.state())
    for variable, value in zip(call.updated, state, strict=True):
        variable.assign(value)
    return with_tensors(call.outputs, outputs)


def _in_training(kwargs: dict[str, Any]) -> bool:
    if "training" in kwargs:
        return bool(kwargs["training"])
    return is_training_around()

"""Changing the size of layers that are already built: for pruned heads and for other vocabularies."""

from typing import Any

import keras
import numpy as np


def replace_weight(layer: keras.layers.Layer, attribute: str, value: np.ndarray) -> None:
    """Put a weight of another shape in the place of one that a built layer holds.

    An optimizer or a compiled function that has seen the old weight must be made anew.

    Args:
        layer: a built layer.
        attribute: the name under which it holds the weight.
        value: what the new weight holds.

    >>> dense = keras.layers.Dense(3)
    >>> dense.build((None, 2))
    >>> replace_weight(dense, "bias", np.zeros((5,), "float32"))
    >>> tuple(dense.bias.shape)
    (5,)
    """
    old = getattr(layer, attribute)
    # As Keras' own `enable_lora` does: a built layer refuses new weights until its tracker is unlocked.
    layer._tracker.unlock()
    layer._untrack_variable(old)
    new = layer.add_weight(
        name=old.name, shape=value.shape, initializer="zeros", dtype=old.dtype, trainable=old.trainable
    )
    new.assign(value)
    setattr(layer, attribute, new)
    layer._tracker.lock()


def check_plain(layer: Any, action: str) -> None:
    """Raise `ValueError` where a layer's weights are quantized or under LoRA, and so have no plain shape."""
    if (layer is not None and getattr(layer, "quantization_mode", None)) or getattr(layer, "lora_enabled", False):
        raise ValueError(f"{action} must come before quantize and enable_lora. Received: layer {layer.path}")


def keep_units(dense: keras.layers.Dense, units: np.ndarray) -> None:
    """Leave only some of a projection's outputs."""
    check_plain(dense, "prune_heads")
    replace_weight(dense, "_kernel", np.asarray(dense.kernel)[:, units])
    if dense.bias is not None:
        replace_weight(dense, "bias", np.asarray(dense.bias)[units])
    dense.units = len(units)


def keep_inputs(dense: keras.layers.Dense, inputs: np.ndarray) -> None:
    """Leave only some of a projection's inputs."""
    check_plain(dense, "prune_heads")
    replace_weight(dense, "_kernel", np.asarray(dense.kernel)[inputs])
    dense.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: len(inputs)})

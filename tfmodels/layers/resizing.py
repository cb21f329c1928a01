"""Resizing of built layers, for pruned heads and new vocabularies."""

from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight


def check_plain(layer: Any, action: str) -> None:
    """Raise `ValueError` for a layer whose weights are quantized or under LoRA, and so have no plain shape."""
    if (layer is not None and getattr(layer, "quantization_mode", None)) or getattr(layer, "lora_enabled", False):
        raise ValueError(f"{action} must come before quantize and enable_lora. Received: layer {layer.path}")


def keep_units(dense: keras.layers.Dense, units: np.ndarray) -> None:
    """Keep the given outputs of a projection alone, in place."""
    check_plain(dense, "prune_heads")
    replace_weight(dense, "kernel", np.asarray(dense.kernel)[:, units])
    if dense.bias is not None:
        replace_weight(dense, "bias", np.asarray(dense.bias)[units])
    dense.units = len(units)


def keep_inputs(dense: keras.layers.Dense, inputs: np.ndarray) -> None:
    """Keep the given inputs of a projection alone, in place."""
    check_plain(dense, "prune_heads")
    replace_weight(dense, "kernel", np.asarray(dense.kernel)[inputs])
    dense.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: len(inputs)})

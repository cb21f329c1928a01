"""The state of training in Keras' files besides weights, so that training resumes as if never interrupted.

Keras rebuilds a model from `get_config` and then reads the variables of each layer. It omits the frozen state of
weights, merges LoRA's factors into the kernels, and never writes the seeds of dropout.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.keras_internals import sublayers, weight_attribute

# The weight that is frozen under LoRA, and the two factors: of a projection, and of a table.
_FACTORS = (("kernel", "lora_kernel_a", "lora_kernel_b"), ("embeddings", "lora_embeddings_a", "lora_embeddings_b"))
_FROZEN, _LORA, _REMAT = "frozen", "lora", "gradient_checkpointing"


def training_config(model: Any) -> dict[str, Any]:
    """The frozen weights, the layers under LoRA, and the setting of recomputation, for `get_config`."""
    layers = sublayers(model)
    adapted = {} if model.quantized_mode else {index: layers[index] for index in _adapted(layers)}
    if model.quantized_mode and _adapted(layers):
        warnings.warn("LoRA's factors are merged into the kernels of a quantized model that is saved", stacklevel=4)
    frozen = {
        "layers": [index for index, layer in enumerate(layers) if not layer.trainable],
        "weights": [index for index, weight in enumerate(model.weights) if not weight.trainable],
    }
    return {
        _FROZEN: frozen,
        _LORA: {str(index): [layer.lora_rank, layer.lora_alpha] for index, layer in adapted.items()},
        _REMAT: any(getattr(layer, "gradient_checkpointing", False) for layer in layers),
    }


def take_training_config(config: dict[str, Any]) -> dict[str, Any]:
    """Remove the entries of `training_config` from a saved config, and return them."""
    return {name: config.pop(name) for name in (_FROZEN, _LORA, _REMAT) if name in config}


def restore_training_config(model: Any, saved: Mapping[str, Any]) -> None:
    """Restore the state of `training_config` in a new model.

    Raises:
        ValueError: entries that `training_config` does not write, from a broken file.
    """
    try:
        _restore(model, saved)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        rule = f"{_FROZEN}, {_LORA} and {_REMAT} must be what get_config of this model returns"
        raise ValueError(f"{rule}. Received: {str(dict(saved))[:200]} ({error})") from None


def _restore(model: Any, saved: Mapping[str, Any]) -> None:
    if saved.get(_REMAT):
        model.gradient_checkpointing_enable()
    layers = sublayers(model)
    for index, (rank, alpha) in saved.get(_LORA, {}).items():
        adapt(layers[int(index)], rank, alpha)
    frozen = saved.get(_FROZEN)
    if frozen is None:
        return
    for index in frozen["layers"]:
        layers[index].trainable = False
    off = set(frozen["weights"])
    for index, weight in enumerate(model.weights):
        weight.trainable = index not in off


def adapt(layer: Any, rank: int, alpha: float | None = None) -> None:
    """Put a layer under LoRA, with factors that stay trainable when weights are read.

    Keras' reading sets both factors to zero, after which neither has a gradient.
    """
    layer.enable_lora(rank, lora_alpha=alpha)
    read = layer.load_own_variables

    def load_own_variables(store: Any) -> None:
        read(store)
        saved = layer.__dict__.pop("_saved_factors", None)
        factors = _factors(layer)
        if saved is not None and all(tuple(v.shape) == x.shape for v, x in zip(factors, saved, strict=True)):
            for variable, value in zip(factors, saved, strict=True):
                variable.assign(value)
        else:
            # The kernel holds the sum: new factors, one of them zero, add nothing and can be trained.
            first = factors[1]
            first.assign(keras.initializers.HeUniform()(first.shape, dtype=first.dtype))

    layer.load_own_variables = load_own_variables


def save_training_variables(model: Any, store: Any) -> None:
    """Write seeds, kernels and LoRA's factors beside a model's own variables."""
    layers = sublayers(model)
    for index, seed in enumerate(_seeds(model)):
        store[f"seed_{index}"] = ops.convert_to_numpy(seed.value)
    for index in [] if model.quantized_mode else _adapted(layers):
        for number, variable in enumerate(_factors(layers[index])):
            store[f"lora_{index}_{number}"] = ops.convert_to_numpy(variable.value)


def load_training_variables(model: Any, store: Any) -> dict[str, Any]:
    """Read the variables of `save_training_variables`, if present; return the model's own by their names."""
    names = list(store.keys())
    values = {name: np.asarray(store[name]) for name in names}
    for index, seed in enumerate(_seeds(model)):
        if f"seed_{index}" in values:
            seed.assign(values[f"seed_{index}"])
    layers = sublayers(model)
    for index in _adapted(layers):
        names = [f"lora_{index}_{number}" for number in range(3)]
        if all(name in values for name in names):
            # Keras reads the layer after the model that holds it.
            layers[index].__dict__["_saved_factors"] = [values[name] for name in names]
    return {name: store[name] for name in values if not name.startswith(("seed_", "lora_"))}


def _factors(layer: Any) -> list[Any]:
    """The weight that is frozen under LoRA, and the two factors of its update."""
    for frozen, first, second in _FACTORS:
        if hasattr(layer, first):
            return [getattr(layer, name) for name in (weight_attribute(layer, frozen), first, second)]
    return []


def _adapted(layers: list[Any]) -> list[int]:
    return [index for index, layer in enumerate(layers) if getattr(layer, "lora_enabled", False)]


def _seeds(model: Any) -> list[Any]:
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights and "seed" in variable.path]

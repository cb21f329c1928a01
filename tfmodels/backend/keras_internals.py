"""Private parts of Keras that this library needs, each behind one function.

Written for Keras 3.14 and 3.15. `tests/backend/test_keras_internals.py` fails by name when Keras moves one of them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import keras
import numpy as np

# Keras keeps the scopes around a call in a thread-local store. No public name reads or sets it.
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
from keras.src.backend.common.variables import AutocastScope

ModelClass = TypeVar("ModelClass", bound=type[keras.Model])

# The attributes that hold the weights of a projection and of a table: Keras' public names are read-only.
_STORED_AS = {"kernel": "_kernel", "embeddings": "_embeddings"}
_AUTOCAST = "autocast_scope"


def autocast_scope() -> AutocastScope | None:
    """The current autocast scope; None outside of one."""
    return get_global_attribute(_AUTOCAST)


def set_autocast_scope(scope: AutocastScope | None) -> None:
    """Make `scope` the current autocast scope."""
    set_global_attribute(_AUTOCAST, scope)


def is_training_around() -> bool:
    """Whether a layer around this call was called with `training=True`."""
    return bool(getattr(get_global_attribute("current_call_ctx"), "training", None))


def sublayers(model: keras.layers.Layer, include_self: bool = True) -> list[keras.layers.Layer]:
    """Every layer of a model at any depth, the model first.

    >>> model = keras.Sequential([keras.layers.Dense(2, name="first")])
    >>> [layer.name for layer in sublayers(model, include_self=False)]
    ['first']
    """
    return list(model._flatten_layers(include_self=include_self))


def weight_attribute(layer: keras.layers.Layer, name: str) -> str:
    """The attribute under which a layer keeps the weight that its property `name` shows."""
    stored = _STORED_AS.get(name, name)
    return stored if hasattr(layer, stored) else name


def replace_weight(layer: keras.layers.Layer, name: str, value: np.ndarray) -> None:
    """Replace a weight of a built layer by one of another shape.

    An optimizer or a compiled function that has seen the old weight must be created anew.

    Args:
        layer: a built layer.
        name: the name of the weight, such as "kernel", "bias" or "embeddings".
        value: the value of the new weight.

    >>> dense = keras.layers.Dense(3)
    >>> dense.build((None, 2))
    >>> replace_weight(dense, "kernel", np.zeros((2, 5), "float32"))
    >>> tuple(dense.kernel.shape)
    (2, 5)
    """
    attribute = weight_attribute(layer, name)
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


def take_inputs_as_they_are(layer: keras.layers.Layer) -> None:
    """Let a layer be called with strings and lists, which Keras would convert to tensors or reject."""
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True


def compiled_loss(model: keras.Model) -> Any:
    """The loss given to `compile`, as Keras keeps it, or None."""
    return model._compile_loss


def compiled_metrics(model: keras.Model) -> Any:
    """The metrics given to `compile`, as Keras keeps them, or None."""
    return model._compile_metrics


def forget_compiled_losses(model: keras.Model) -> None:
    """Clear the loss and metrics of an earlier `compile`; Keras keeps them if the next one has none."""
    model._compile_loss = model._compile_metrics = None


def loss_tracker(model: keras.Model) -> keras.metrics.Metric | None:
    """The metric that reports the loss."""
    return model._loss_tracker


def set_loss_tracker(model: keras.Model, tracker: keras.metrics.Metric) -> None:
    """Report the loss by another metric."""
    # Past Keras' tracking, as in Keras' `compile`: tracked, it would be a metric of the model twice.
    model.__dict__["_loss_tracker"] = tracker


def weight_index(optimizer: keras.Optimizer, variable: Any) -> int:
    """The place of a weight among those that an optimizer trains; also of the backend's own variable."""
    return optimizer._get_variable_index(variable)


def builds_from(prepare: Callable[[keras.Model, Any], Any]) -> Callable[[ModelClass], ModelClass]:
    """A class decorator: Keras builds losses and metrics from `prepare(model, batch)` of a first batch."""

    def decorate(model_class: ModelClass) -> ModelClass:
        inherited = model_class._symbolic_build  # type: ignore[attr-defined]

        def _symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
            if data_batch is None and iterator is not None:
                data_batch = _first_batch(iterator)
            inherited(self, data_batch=None if data_batch is None else prepare(self, data_batch))

        model_class._symbolic_build = _symbolic_build  # type: ignore[attr-defined]
        return model_class

    return decorate


def _first_batch(iterator: Any) -> Any:
    """The first batch of Keras' epoch iterator, from which the trainer learns shapes."""
    for _, _, batches in iterator:
        return batches[0] if isinstance(batches, (list, tuple)) else next(batches)
    return None

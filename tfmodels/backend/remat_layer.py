"""Gradient checkpointing of layers: run a layer again in the backward pass in place of keeping intermediate values.

Training a stack of blocks keeps the intermediate values of all blocks until the backward pass has used them. Recomputed
(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3), the stack keeps only the hidden states
between blocks, and the intermediate values of one block at a time; the price is one more forward pass.
"""

from dataclasses import InitVar, dataclass, field
from typing import Any

import keras
import numpy as np

from tfmodels.backend.autocast import autocast_as, scope_of_values, stored_values
from tfmodels.backend.keras_internals import autocast_scope, is_training_around
from tfmodels.backend.remat import is_inside_remat, remat_with_state
from tfmodels.backend.types import Tensor

_STATIC_TYPES = (type(None), bool, int, float, str, np.ndarray, np.generic)


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
    call = _PureCall(layer, args, {**kwargs, "training": True})
    outputs, state = remat_with_state(call, call.sources(), call.state())
    for variable, value in zip(call.updated, state, strict=True):
        variable.assign(value)
    return _with_tensors(call.outputs, outputs)


def _in_training(kwargs: dict[str, Any]) -> bool:
    if "training" in kwargs:
        return bool(kwargs["training"])
    return is_training_around()


@dataclass(eq=False)  # hashable, as JAX asks of what it checkpoints
class _PureCall:
    """A layer call as a function of tensors alone, from tensors to tensors, without side effects.

    The tensors are the values of the trainable variables and the tensors among the arguments (`sources`, which have
    gradients), and the values of all other variables (`state`: seeds, statistics, frozen weights). A call records
    the updated variables and the structure of the outputs.
    """

    layer: keras.layers.Layer
    args: InitVar[tuple[Any, ...]]
    kwargs: InitVar[dict[str, Any]]
    updated: list[keras.Variable] = field(default_factory=list)
    outputs: Any = None

    def __post_init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.trainable: list[keras.Variable] = self.layer.trainable_variables
        self.non_trainable: list[keras.Variable] = self.layer.non_trainable_variables
        # A thread-local scope, which is gone in the backward pass.
        self.autocast_scope = autocast_scope()
        self.argument_tensors, self.arguments = _without_tensors((args, kwargs), "args and kwargs")

    def sources(self) -> list[Tensor]:
        """The tensors that have gradients."""
        return [*stored_values(self.trainable), *self.argument_tensors]

    def state(self) -> list[Tensor]:
        """The values of the variables without gradients."""
        return stored_values(self.non_trainable)

    def __call__(self, sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors among the outputs, and the new values of the updated variables."""
        count = len(self.trainable)
        args, kwargs = _with_tensors(self.arguments, sources[count:])
        known = [*self.trainable, *self.non_trainable]
        scope = scope_of_values(known, [*sources[:count], *state])
        with autocast_as(self.autocast_scope), scope:
            outputs = self.layer(*args, **kwargs)
        self._check_ownership(scope, len(known))
        tensors, self.outputs = _without_tensors(outputs, "outputs of layer")
        new_state = [scope.get_current_value(variable) for variable in self.non_trainable]
        updates = [(v, new) for v, old, new in zip(self.non_trainable, state, new_state, strict=True) if new is not old]
        self.updated = [variable for variable, _ in updates]
        return tensors, [value for _, value in updates]

    def _check_ownership(self, scope: keras.StatelessScope, known: int) -> None:
        # A stateless scope drops updates of unknown variables, and uses placeholders for new ones.
        if len(scope.state_mapping) != known or len(self.layer.variables) != known:
            raise ValueError(
                "layer must be built with all its parts and own every variable that its call updates, seed generators "
                f"included. Received: layer={self.layer}"
            )


_TENSOR = object()


def _without_tensors(structure: Any, name: str) -> tuple[list[Tensor], Any]:
    """The tensors of a structure, and the structure with a mark in place of each."""
    tensors = []

    def take(leaf: Any) -> Any:
        if isinstance(leaf, keras.Variable):
            leaf = leaf.value
        if keras.ops.is_tensor(leaf):
            tensors.append(leaf)
            return _TENSOR
        if not isinstance(leaf, _STATIC_TYPES):
            raise ValueError(
                f"{name} must be tensors, numbers, strings, arrays or None, in nested tuples, lists and dicts. "
                f"Received: {type(leaf).__name__}"
            )
        return leaf

    marked = keras.tree.map_structure(take, structure)
    return tensors, marked


def _with_tensors(marked: Any, tensors: list[Tensor]) -> Any:
    """The inverse of `_without_tensors`."""
    remaining = iter(tensors)
    return keras.tree.map_structure(lambda leaf: next(remaining) if leaf is _TENSOR else leaf, marked)

"""A layer's call as a pure function: from tensors to tensors, without side effects."""

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

import keras
import numpy as np

from tfmodels.backend.autocast import autocast_as, scope_of_values, stored_values
from tfmodels.backend.keras_internals import autocast_scope
from tfmodels.backend.types import Tensor

_STATIC_TYPES = (type(None), bool, int, float, str, np.ndarray, np.generic)
# Stands for a tensor of a structure.
TENSOR = object()


@dataclass(eq=False)  # hashable, as JAX requires
class PureCall:
    """A layer call as a function of tensors alone, from tensors to tensors, without side effects.

    The tensors are the values of the trainable variables and the tensors among the arguments (`sources`, which have
    gradients), and the values of all other variables (`state`: seeds, statistics, frozen weights). A call records
    the updated variables and the structure of the outputs.

    Args:
        layer: a built layer, which owns every variable that it uses.
        args, kwargs: the arguments of its call.
        function: a function of these arguments that calls the layer in some way; None: the layer itself.
    """

    layer: keras.layers.Layer
    args: InitVar[tuple[Any, ...]]
    kwargs: InitVar[dict[str, Any]]
    function: Callable[..., Any] | None = None
    updated: list[keras.Variable] = field(default_factory=list)
    outputs: Any = None

    def __post_init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.trainable: list[keras.Variable] = self.layer.trainable_variables
        self.non_trainable: list[keras.Variable] = self.layer.non_trainable_variables
        # A thread-local scope, which is gone in the backward pass.
        self.autocast_scope = autocast_scope()
        self.argument_tensors, self.arguments = without_tensors((args, kwargs), "args and kwargs")

    def sources(self) -> list[Tensor]:
        """The tensors that have gradients."""
        return [*stored_values(self.trainable), *self.argument_tensors]

    def state(self) -> list[Tensor]:
        """The values of the variables without gradients."""
        return stored_values(self.non_trainable)

    def __call__(self, sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors among the outputs, and the new values of the updated variables."""
        count = len(self.trainable)
        args, kwargs = with_tensors(self.arguments, sources[count:])
        known = [*self.trainable, *self.non_trainable]
        scope = scope_of_values(known, [*sources[:count], *state])
        with autocast_as(self.autocast_scope), scope:
            outputs = (self.function or self.layer)(*args, **kwargs)
        self._check_ownership(scope, len(known))
        tensors, self.outputs = without_tensors(outputs, "outputs of layer")
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


def without_tensors(structure: Any, name: str) -> tuple[list[Tensor], Any]:
    """The tensors of a structure, and the structure with a mark in place of each."""
    tensors = []

    def take(leaf: Any) -> Any:
        if isinstance(leaf, keras.Variable):
            leaf = leaf.value
        if keras.ops.is_tensor(leaf):
            tensors.append(leaf)
            return TENSOR
        if not isinstance(leaf, _STATIC_TYPES):
            raise ValueError(
                f"{name} must be tensors, numbers, strings, arrays or None, in nested tuples, lists and dicts. "
                f"Received: {type(leaf).__name__}"
            )
        return leaf

    marked = keras.tree.map_structure(take, structure)
    return tensors, marked


def with_tensors(marked: Any, tensors: list[Tensor]) -> Any:
    """The inverse of `without_tensors`."""
    remaining = iter(tensors)
    return keras.tree.map_structure(lambda leaf: next(remaining) if leaf is TENSOR else leaf, marked)

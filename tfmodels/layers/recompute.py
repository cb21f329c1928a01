"""Gradient checkpointing: run a layer again in the backward pass instead of keeping what it computed.

Training a stack of N blocks keeps the intermediate values of all N until the backward pass has used them. Recomputed
(Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3), the stack keeps only what passes
between blocks, and the intermediate values of one block at a time; the price is one more forward pass.
"""

import contextlib
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any

import keras
import numpy as np

# Keras keeps the training flag and the autocast dtype of the layers around a call in thread-local scopes that are gone
# in the backward pass. No public name reads them.
from keras.src.backend.common.global_state import get_global_attribute
from keras.src.backend.common.variables import AutocastScope

Tensor = Any

_STATIC_TYPES = (type(None), bool, int, float, str, np.ndarray, np.generic)


def recompute(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
    """`layer(*args, **kwargs)`, whose intermediate values are computed again in the backward pass, not kept.

    Outputs, gradients and the seeds left behind are those of the plain call, dropout included: both passes start from
    the same seeds, which advance once. Gradients reach every float tensor in the arguments and every trainable variable
    of the layer. Calls can be nested. Outside training (`training` neither passed as true nor inherited from the
    calling layer) and for symbolic inputs this is the plain call.

    Not carried over: losses that the layer adds during its call, Keras masks attached to tensors, gradients of
    gradients.

    Args:
        layer: a built layer, which owns every variable that it uses. `keras.layers.Dropout` owns its seeds.
        *args, **kwargs: of the call: tensors, numbers, strings, NumPy arrays and None, in nested tuples, lists and
            dicts. NumPy arrays are constants.

    Returns:
        What the layer returns: tensors, numbers, strings and None, nested likewise.

    Raises:
        ValueError: a layer that is not built, or uses variables of others (Keras' global seed is one); arguments or
            outputs of other types, which could hide tensors from the gradient.

    >>> layer = keras.layers.Dense(4, activation="gelu")
    >>> layer.build((None, 4))
    >>> recompute(layer, keras.ops.ones((2, 4)), training=True).shape[0]
    2
    """
    leaves = keras.tree.flatten((args, kwargs))
    if not _in_training(kwargs) or any(isinstance(x, keras.KerasTensor) for x in leaves):
        return layer(*args, **kwargs)
    if not layer.built:
        raise ValueError(f"layer must be built before it is recomputed. Received: layer={layer}")
    call = _PureCall(layer, args, {**kwargs, "training": True})
    outputs, state = _checkpointed(call, call.sources(), call.state())
    for variable, value in zip(call.updated, state, strict=True):
        variable.assign(value)
    return _with_tensors(call.outputs, outputs)


def _in_training(kwargs: dict[str, Any]) -> bool:
    if "training" in kwargs:
        return bool(kwargs["training"])
    return bool(getattr(get_global_attribute("current_call_ctx"), "training", None))


@dataclass(eq=False)  # hashable, as JAX asks of what it checkpoints
class _PureCall:
    """A layer call as a function of tensors alone, from tensors to tensors, without side effects.

    The tensors are the values of the trainable variables and the tensors among the arguments (`sources`, what gradients
    are taken for), and the values of all other variables (`state`: seeds, statistics, frozen weights). A call notes
    which variables it updated and how to put the outputs together again.
    """

    layer: keras.layers.Layer
    args: InitVar[tuple[Any, ...]]
    kwargs: InitVar[dict[str, Any]]
    updated: list[keras.Variable] = field(default_factory=list)
    outputs: Any = None

    def __post_init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.trainable: list[keras.Variable] = self.layer.trainable_variables
        self.others: list[keras.Variable] = self.layer.non_trainable_variables
        self.autocast_scope = get_global_attribute("autocast_scope")
        self.argument_tensors, self.arguments = _without_tensors((args, kwargs), "args and kwargs")

    def sources(self) -> list[Tensor]:
        """What the outputs are differentiated for."""
        return [*_values(self.trainable), *self.argument_tensors]

    def state(self) -> list[Tensor]:
        """What the outputs depend on besides."""
        return _values(self.others)

    def __call__(self, sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors among the outputs, and the new values of the updated variables."""
        known = [*zip(self.trainable, sources, strict=False), *zip(self.others, state, strict=True)]
        args, kwargs = _with_tensors(self.arguments, sources[len(self.trainable) :])
        with AutocastScope(None):  # under autocasting a stateless scope, too, rounds what it is given
            scope = keras.StatelessScope(known)
        with _autocast_as(self.autocast_scope), scope:
            outputs = self.layer(*args, **kwargs)
        self._check_ownership(scope, len(known))
        tensors, self.outputs = _without_tensors(outputs, "outputs of layer")
        new_state = [scope.get_current_value(variable) for variable in self.others]
        updates = [(v, new) for v, old, new in zip(self.others, state, new_state, strict=True) if new is not old]
        self.updated = [variable for variable, _ in updates]
        return tensors, [value for _, value in updates]

    def _check_ownership(self, scope: keras.StatelessScope, known: int) -> None:
        # A stateless scope drops updates of variables that it was not given, and uses placeholders for new ones.
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


def _values(variables: list[keras.Variable]) -> list[Tensor]:
    # Without this scope a mixed policy hands out values rounded to 16 bits, also to layers that compute in float32.
    with AutocastScope(None):
        return [variable.value for variable in variables]


def _autocast_as(scope: AutocastScope | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if scope is None else AutocastScope(scope.dtype)


Pure = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def _checkpointed(function: Pure, sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """`function(sources, state)`, run again for the gradients of its first outputs with respect to `sources`."""
    if keras.backend.backend() == "tensorflow":
        return _checkpointed_in_tensorflow(function, sources, state)
    return keras.remat(function)(sources, state)


def _checkpointed_in_tensorflow(
    function: Pure, sources: list[Tensor], state: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    # tf.recompute_grad, behind keras.remat, adds a float to every input: not for bool masks, and seeds would be floats.
    import tensorflow as tf

    split, output_count = len(sources), 0

    @tf.custom_gradient
    def first_pass(*inputs: Tensor) -> tuple[list[Tensor], Callable[..., list[Tensor | None]]]:
        nonlocal output_count
        # An eager tape would record, and keep, whatever is computed from tensors that it watches.
        detached = [tf.stop_gradient(x) for x in inputs]
        with tf.GradientTape() as others:
            outputs, new_state = function(detached[:split], detached[split:])
        if others.watched_variables():
            names = [variable.name for variable in others.watched_variables()]
            raise ValueError(f"layer must own every variable that it uses. Received: a layer that uses {names}")
        output_count = len(outputs)

        def second_pass(*upstream: Tensor) -> list[Tensor | None]:
            output_gradients = [tf.convert_to_tensor(x) for x in upstream[:output_count]]
            again = list(inputs) if tf.executing_eagerly() else _after(output_gradients, inputs)
            floats = [x for x in again[:split] if x.dtype.is_floating]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(floats)
                recomputed, _ = function(again[:split], again[split:])
            pairs = [pair for pair in zip(recomputed, output_gradients, strict=True) if pair[0].dtype.is_floating]
            gradients = iter(tape.gradient([y for y, _ in pairs], floats, [gradient for _, gradient in pairs]))
            found = [next(gradients) if x.dtype.is_floating else None for x in again[:split]]
            return found + [None] * len(state)

        return [*outputs, *new_state], second_pass

    # Variables among the arguments of an eager custom gradient would stay variables, read anew in the second pass.
    results = first_pass(*[tf.convert_to_tensor(x) for x in (*sources, *state)])
    return results[:output_count], results[output_count:]


def _after(upstream: list[Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """`inputs` unchanged, but known only once `upstream` is: else the second pass would run beside the first.

    Grappler and XLA merge equal computations, which keeps the values of the first pass alive. XLA ignores control
    dependencies, and an XLA optimization barrier is gone on CPU before that merge (and has no kernel outside XLA), so
    the data must depend: on a condition that never holds, which neither compiler works out.
    """
    import tensorflow as tf

    # All of them, since the gradient of an unused output is a constant, and a constant orders nothing.
    ends = [tf.cast(tf.reshape(x, [-1])[:1], "float32") for x in upstream if x.dtype.is_floating]
    end = tf.concat(ends, axis=0)
    never = tf.reduce_any(tf.math.is_nan(end) & tf.math.is_finite(end))
    return [tf.where(never, tf.zeros((), x.dtype), x) for x in inputs]

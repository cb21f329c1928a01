"""Whether two layers do the same with weights of the same shapes, so that one's trace may serve the other."""

import dataclasses
from types import BuiltinFunctionType, FunctionType
from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import sublayers

_OURS = ("tfmodels.", "keras.")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic, FunctionType, BuiltinFunctionType, type)
# What makes and bounds weights, but is not part of a call.
_BESIDE_CALLS = (keras.initializers.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint)


def layer_form(layer: keras.layers.Layer) -> Any:
    """What a layer's call depends on besides its inputs and the values of its variables.

    That is the class and settings of every layer in it, and the shape, dtype and trainability of every variable, in
    the order of `layer.trainable_variables` and `layer.non_trainable_variables`. Names are left out.

    Args:
        layer: a built layer.

    Returns:
        A value that equals that of a layer which does the same. None for a layer that may do more than compute, or
        nothing that can be compared: one with a part that is not built, that is neither Keras' nor tfmodels', whose
        `call` was replaced, that adds losses, or with a setting of an unknown type.

    >>> first, second, other = (layer_form(keras.layers.Dropout(rate)) for rate in (0.1, 0.1, 0.2))
    >>> first == second, first == other
    (True, False)
    """
    try:
        return _Form(layer).of(layer)
    except _Unknown:
        return None


class _Unknown(Exception):
    """A layer that has no form."""


class _Form:
    """The form of one layer. What occurs in it twice, a variable or a layer, has its number there."""

    def __init__(self, root: keras.layers.Layer) -> None:
        self._numbers: dict[int, int] = {}
        self._variables = {id(v): index for index, v in enumerate(root.variables)}

    def of(self, value: Any) -> Any:
        """The form of a layer, or of a setting."""
        if isinstance(value, keras.Variable):
            return "variable", self._variables.get(id(value)), tuple(value.shape), value.dtype, value.trainable
        if isinstance(value, _PLAIN):
            return type(value), value
        if isinstance(value, np.ndarray):
            return value.shape, value.dtype.str, value.tobytes()
        if isinstance(value, _BESIDE_CALLS):
            return "beside calls"
        # Some are made anew at each access: an identity of theirs means nothing.
        if isinstance(value, keras.DTypePolicy):
            return "policy", str(keras.dtype_policies.serialize(value))
        if isinstance(value, keras.InputSpec):
            return "inputs", repr(value)
        if isinstance(value, (list, tuple)):
            return type(value), tuple(self.of(one) for one in value)
        if isinstance(value, dict):
            return tuple((key, self.of(one)) for key, one in value.items())
        return self._of_object(value)

    def _of_object(self, value: Any) -> Any:
        if id(value) in self._numbers:
            return "again", self._numbers[id(value)]
        self._numbers[id(value)] = len(self._numbers)
        if isinstance(value, keras.layers.Layer):
            return self._of_layer(value)
        if isinstance(value, keras.random.SeedGenerator):
            return "seeds", self.of(value.state)
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return type(value), tuple((field.name, self.of(getattr(value, field.name))) for field in fields)
        raise _Unknown

    def _of_layer(self, layer: keras.layers.Layer) -> Any:
        settings = {name: value for name, value in vars(layer).items() if not _is_keras_own(name)}
        is_plain = layer.built and layer.activity_regularizer is None
        if not is_plain or "call" in settings or not _is_ours(type(layer)):
            raise _Unknown
        of_all = (_policy(layer), layer.trainable, layer.autocast, layer.supports_masking)
        own = tuple((name, self.of(settings[name])) for name in sorted(settings))
        # A container keeps its layers where Keras keeps those of any layer.
        return type(layer), self.of(of_all), own, self.of(sublayers(layer, include_self=False))


def _policy(layer: keras.layers.Layer) -> keras.DTypePolicy:
    policy = layer.dtype_policy
    # One map serves many layers, each with a policy of its own; for a layer without a path Keras takes its default.
    is_map = isinstance(policy, keras.dtype_policies.DTypePolicyMap)
    return policy[layer.path] if is_map and layer.path else policy


def _is_ours(layer_class: type[keras.layers.Layer]) -> bool:
    call: Any = layer_class.call
    # A user's wrapper of the call may have taken over its module's name.
    is_wrapped = hasattr(call, "__wrapped__")
    return not is_wrapped and all(one.__module__.startswith(_OURS) for one in (layer_class, call))


# The attributes of any layer, and those that TensorFlow adds for checkpoints.
_OF_ANY_LAYER = frozenset(vars(keras.layers.Layer()))


def _is_keras_own(name: str) -> bool:
    return name in _OF_ANY_LAYER or name.startswith("_self_")

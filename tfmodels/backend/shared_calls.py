"""Calls of many equal layers, such as the blocks of an encoder, of which TensorFlow traces one alone.

Tracing a layer's call, and its gradient, makes thousands of operations in Python. The blocks of a model differ in
nothing but the values of their weights, so one trace serves all: the weights are inputs of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from itertools import compress
from typing import Any

import keras
import numpy as np

from tfmodels.backend.layer_forms import layer_form
from tfmodels.backend.pure_call import PureCall, with_tensors
from tfmodels.backend.traced_once import NotTraceableOnceError, TracedOnce
from tfmodels.backend.types import Tensor

_is_off: ContextVar[bool] = ContextVar("calls_one_by_one", default=False)


@contextlib.contextmanager
def calls_one_by_one() -> Iterator[None]:
    """A scope in which each layer is traced by itself, as graphs for other programs need it."""
    token = _is_off.set(True)
    try:
        yield
    finally:
        _is_off.reset(token)


class SharedCalls:
    """The calls of some layers within one call of the layer around them.

    In a graph of TensorFlow, layers that do the same (`layer_form`) are traced once, for each kind of arguments.
    Results, gradients and updates of variables are those of plain calls. So are those calls that are not shared: under
    other backends, eager ones, and those of layers that may do more than compute.

    Args:
        layers: the layers that will be called.

    >>> layers = [keras.layers.Dense(2, kernel_initializer="ones") for _ in range(3)]
    >>> for layer in layers:
    ...     layer.build((None, 2))
    >>> calls, x = SharedCalls(layers), keras.ops.ones((1, 2))
    >>> for layer in layers:
    ...     x = calls(layer, layer, x)
    >>> float(x[0, 0])
    8.0
    """

    def __init__(self, layers: Sequence[keras.layers.Layer]) -> None:
        self._forms: dict[int, Any] = {}
        self._traced: list[tuple[Any, PureCall, TracedOnce | None]] = []
        if _in_graph() and not _is_off.get():
            forms = [layer_form(layer) for layer in layers]
            shared = [form is not None and forms.count(form) > 1 for form in forms]
            self._forms = {id(layer): form for layer, form in compress(zip(layers, forms, strict=True), shared)}

    def __call__(self, layer: keras.layers.Layer, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of `function(*args, **kwargs)`, which calls the layer in some way, the same for all layers."""
        form = self._forms.get(id(layer))
        # Symbolic tensors have no graph yet; arrays cannot be compared to those of another call.
        if form is None or any(
            isinstance(x, (keras.KerasTensor, np.ndarray)) for x in keras.tree.flatten((args, kwargs))
        ):
            return function(*args, **kwargs)
        call = PureCall(layer, args, kwargs, function)
        inputs = [*call.sources(), *call.state()]
        traced_call, traced = self._trace(form, call, inputs, bool(kwargs.get("training")))
        if traced is None:
            return function(*args, **kwargs)
        results = traced(inputs)
        count = len(results) - len(traced_call.updated)
        variables = dict(zip(map(id, traced_call.non_trainable), call.non_trainable, strict=True))
        for variable, value in zip(traced_call.updated, results[count:], strict=True):
            variables[id(variable)].assign(value)
        return with_tensors(traced_call.outputs, results[:count])

    def _trace(
        self, form: Any, call: PureCall, inputs: list[Tensor], has_gradient: bool
    ) -> tuple[PureCall, TracedOnce | None]:
        """The first call like this one, and its trace; None if a trace cannot serve others."""
        kind = (form, call.arguments, [(str(x.shape), x.dtype) for x in inputs])
        for known, first, traced in self._traced:
            if known == kind:
                return first, traced
        split = len(call.sources())

        def run(values: list[Tensor]) -> list[Tensor]:
            outputs, state = call(values[:split], values[split:])
            return [*outputs, *state]

        try:
            traced = TracedOnce(run, inputs, has_gradient)
        except NotTraceableOnceError:
            traced = None
        self._traced.append((kind, call, traced))
        return call, traced


def _in_graph() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()

"""What the tests ask of a backend, the same for TensorFlow and JAX: compiled calls, gradients, counts of traces.

- `direct(model, inputs)` is `model(inputs)`, for a result that is needed once. Under JAX it is compiled as a whole,
  which is sooner done than each operation by itself. Methods go as well: `direct(model.encode, **inputs)`.
- `Compiled(function, model, mode)` is `function` compiled as `mode` says, with the variables of `model` read and
  updated. `compiled.traces` tells how often it was traced: `GRAPH` and `XLA` trace once for each set of shapes.
- `value_and_gradients(loss, inputs, model)` gives what `loss(inputs)` returns and the gradients for the float inputs
  and the trainable weights, eagerly or in any of `MODES`.
- `carried_shapes(function, ...)` lists what each loop of a compiled function carries, `recomputed_parts` counts what
  runs again for a gradient: both read the traced program.
- `FEW_STEPS` goes into `compile` where `fit` runs for a few steps; `IS_JAX` is for the little that remains.
"""

import keras
import numpy as np

EAGER, GRAPH, XLA = "eager", "graph", "xla"
IS_JAX = keras.backend.backend() == "jax"
MODES = (EAGER, XLA) if IS_JAX else (EAGER, GRAPH, XLA)
"""How a function can run; JAX has no graphs apart from XLA's."""
DIRECT = XLA if IS_JAX else EAGER
"""The mode for results that are needed once: eagerly, JAX would compile every operation by itself."""
JIT_COMPILE = (True,) if IS_JAX else (False, True)
"""How `fit` makes programs; under JAX, False means eagerly."""
TRACES_OF_FIT = 1 if IS_JAX else 2
"""How often `fit` traces a model that is built: for TensorFlow, Keras runs it once symbolically before."""
FEW_STEPS = {"jit_compile": True} if IS_JAX else {"run_eagerly": True}
"""How `fit` makes a few steps soonest."""


class Compiled:
    """`function` of structures of tensors, run in one of `MODES`; `traces` counts its runs in Python.

    Args:
        function: may read and update the variables of `layer`, and no others.
        layer: None: no variables.
        mode: how to run it.
    """

    def __init__(self, function, layer=None, mode=XLA, autograph=False):
        self.function, self.layer, self.traces = function, layer, 0
        if mode == EAGER:
            self.run = self._counted
        elif IS_JAX:
            self.run = self._jitted()
        else:
            import tensorflow as tf

            self.run = tf.function(self._counted, jit_compile=mode == XLA, autograph=autograph)

    def __call__(self, *args):
        return self.run(*keras.tree.map_structure(as_tensor, args))

    def _counted(self, *args):
        self.traces += 1
        return self.function(*args)

    def _jitted(self):
        import jax

        variables = [] if self.layer is None else self.layer.variables

        @jax.jit
        def pure(values, args):
            with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
                outputs = self._counted(*args)
            return outputs, [scope.get_current_value(variable) for variable in variables]

        def run(*args):
            outputs, values = pure(values_of(variables), args)
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            return outputs

        return run


def direct(function, *args, **kwargs):
    """`function(*args, **kwargs)`, of a layer or a method of one, in the mode for results that are needed once."""
    if not IS_JAX:
        return function(*args, **kwargs)
    layer = function if isinstance(function, keras.layers.Layer) else getattr(function, "__self__", None)
    leaves = keras.tree.flatten((args, kwargs))
    places = [place for place, x in enumerate(leaves) if isinstance(x, np.ndarray) or keras.ops.is_tensor(x)]

    def run(*tensors):
        given = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        again, named = keras.tree.pack_sequence_as((args, kwargs), given)
        return function(*again, **named)

    return Compiled(run, layer)(*(leaves[place] for place in places))


def as_tensor(x):
    """Arrays and numbers as tensors; None and tensors as they are."""
    return x if x is None or keras.ops.is_tensor(x) else keras.ops.convert_to_tensor(x)


def values_of(variables):
    return [variable.value for variable in variables]


def is_float(x):
    return "float" in keras.backend.standardize_dtype(x.dtype)


def value_and_gradients(function, arguments, layer=None, mode=DIRECT, variables=None, autograph=False):
    """What a function of a structure of tensors gives, and its gradients.

    Args:
        function: from `arguments` to a scalar loss and any further results.
        arguments: gradients are taken for each float tensor in it.
        layer: whose variables the function may read and update; None: none.
        mode: one of `MODES`.
        variables: of the layer, to take gradients for; None: its trainable weights.

    Returns:
        (loss, further results); gradients for the float tensors of `arguments`; gradients for `variables`. TensorFlow
        gives None where the loss does not depend on something, JAX zeros.
    """
    if variables is None:
        variables = [] if layer is None else layer.trainable_weights
    arguments = keras.tree.map_structure(as_tensor, arguments)
    if IS_JAX:
        return _with_gradients_in_jax(function, arguments, layer, mode, variables)
    return _with_gradients_in_tensorflow(function, arguments, mode, variables, autograph)


def _with_gradients_in_jax(function, arguments, layer, mode, variables):
    import jax

    leaves = keras.tree.flatten(arguments)
    places = [place for place, leaf in enumerate(leaves) if is_float(leaf)]
    others = [] if layer is None else [v for v in layer.variables if all(v is not own for own in variables)]

    def pure(floats, values, leaves, state):
        leaves = list(leaves)
        for place, value in zip(places, floats, strict=True):
            leaves[place] = value
        known = zip([*variables, *others], [*values, *state], strict=True)
        with keras.StatelessScope(known) as scope:
            loss, results = function(keras.tree.pack_sequence_as(arguments, leaves))
        return loss, (results, [scope.get_current_value(variable) for variable in others])

    differentiate = jax.value_and_grad(pure, argnums=(0, 1), has_aux=True)
    if mode == XLA:
        differentiate = jax.jit(differentiate)
    floats = [leaves[place] for place in places]
    (loss, (results, state)), gradients = differentiate(floats, values_of(variables), leaves, values_of(others))
    for variable, value in zip(others, state, strict=True):
        variable.assign(value)
    return (loss, results), *gradients


def _with_gradients_in_tensorflow(function, arguments, mode, variables, autograph):
    import tensorflow as tf

    def differentiate(given):
        floats = [x for x in keras.tree.flatten(given) if is_float(x)]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            loss, results = function(given)
        gradients = tape.gradient(loss, [floats, values_of(variables)])
        return (loss, results), *keras.tree.map_structure(
            lambda g: g if g is None else tf.convert_to_tensor(g), gradients
        )

    return Compiled(differentiate, mode=mode, autograph=autograph)(arguments)


def recomputed_parts(function, *args):
    """How many parts of a function's program are run again for its gradient."""
    if IS_JAX:
        import jax

        return str(jax.make_jaxpr(function)(*args)).count("remat2[")
    import tensorflow as tf

    graph = tf.function(function, autograph=False).get_concrete_function(*args).graph
    # The operation to which a custom gradient is tied.
    return sum(operation.type == "IdentityN" for operation in graph.get_operations())


def carried_shapes(function, *args):
    """The shapes of what each conditional loop of a compiled function carries and reads."""
    if IS_JAX:
        import jax

        loops = _conditional_loops(jax.make_jaxpr(function)(*args).jaxpr)
        return [[tuple(variable.aval.shape) for variable in loop.invars] for loop in loops]
    graph = function.get_concrete_function(*args).graph
    loops = [operation for operation in graph.get_operations() if "While" in operation.type]
    return [[tuple(tensor.shape) for tensor in loop.inputs] for loop in loops]


def _conditional_loops(jaxpr):
    found = [equation for equation in jaxpr.eqns if equation.primitive.name == "while"]
    parts = [part for equation in jaxpr.eqns for part in equation.params.values() if hasattr(part, "jaxpr")]
    return found + [loop for part in parts for loop in _conditional_loops(part.jaxpr)]

"""A function that is traced once and called many times within a graph, with its gradient (TensorFlow).

TensorFlow differentiates a call of a traced function by handing over every tensor that the gradient reads. Constants
are among them, such as the axes of a transpose. XLA must know those when it compiles: it takes all arguments of the
call for constants, the weights too, and compiles again at each step. So here the graph is cut in two by hand, and each
part has constants of its own.
"""

from collections.abc import Callable, Collection, Sequence
from itertools import compress
from typing import Any, NamedTuple

from tfmodels.backend.types import Tensor

Function = Callable[[list[Tensor]], list[Tensor]]


class _Whole(NamedTuple):
    """Tensors of one graph: a function's inputs and outputs, the gradients of its float outputs, and the gradient of
    each input, or None."""

    inputs: list[Any]
    outputs: list[Any]
    upstream: list[Any]
    gradients: list[Any]


class TracedOnce:
    """A function of tensors, as two functions of TensorFlow: its outputs, and its gradient.

    The results are those of the function itself. Gradients of gradients are undefined.

    Args:
        function: from tensors to tensors; it closes over none. It is called once, here, and again where a gradient is
            asked for without `has_gradient`.
        like: tensors of the shapes and dtypes of all later inputs.
        has_gradient: trace the gradient as well.

    Raises:
        NotTraceableOnceError: a function that closes over tensors, or has side effects.
    """

    def __init__(self, function: Function, like: Sequence[Tensor], has_gradient: bool) -> None:
        self._function = function
        graph, whole = _traced(function, like, has_gradient)
        self._whole = whole
        inputs, outputs, upstream = ([x.name for x in some] for some in whole[:3])
        nodes = graph.as_graph_def()
        forward = _ancestors(nodes, outputs)
        self._gradient = None
        self._kept: list[str] = []
        if has_gradient:
            gradients = [x.name for x in whole.gradients if x is not None]
            backward = _subgraph(nodes, _ancestors(nodes, gradients) - (forward - _constants(nodes)), inputs + upstream)
            self._kept = [name for name in _read_from_outside(backward, gradients) if name not in upstream]
            self._gradient = _as_function(graph, backward, self._kept + upstream, gradients)
        # Of what the gradient reads, the inputs are there anyway.
        self._handed_over = [name for name in self._kept if name not in inputs]
        results = outputs + self._handed_over
        part = _subgraph(nodes, forward, inputs)
        read = {*_read_from_outside(part, results), *self._kept}
        self._is_read = [name in read for name in inputs]
        self._outputs = _as_function(graph, part, list(compress(inputs, self._is_read)), results)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the function, with its gradient for every float input: a user's tape may watch frozen weights.

        Variables that the function does not read are not read here: who saves the graph need not know them.
        """
        import tensorflow as tf

        count = len(self._whole.outputs)
        names = [x.name for x in compress(self._whole.inputs, self._is_read)]

        @tf.custom_gradient
        def call(*read: Tensor) -> tuple[list[Tensor], Callable[..., list[Tensor | None]]]:
            results = self._outputs(*read)
            known = dict(zip(names, read, strict=True)) | dict(zip(self._handed_over, results[count:], strict=True))

            def gradient(*upstream: Tensor) -> list[Tensor | None]:
                of_outputs = [dy for dy, y in zip(upstream, self._whole.outputs, strict=True) if y.dtype.is_floating]
                if self._gradient is None:
                    remaining = iter(read)
                    given = [
                        next(remaining) if is_read else x for x, is_read in zip(inputs, self._is_read, strict=True)
                    ]
                    _, of_inputs = _with_gradient(self._function, given, lambda _: of_outputs)
                else:
                    found = iter(self._gradient(*(known[name] for name in self._kept), *of_outputs))
                    of_inputs = [None if dx is None else next(found) for dx in self._whole.gradients]
                return list(compress(of_inputs, self._is_read))

            return list(results[:count]), gradient

        # Variables among the arguments would be read by the gradient.
        return list(call(*(tf.convert_to_tensor(x) for x in compress(inputs, self._is_read))))


class NotTraceableOnceError(ValueError):
    """A function of which one trace cannot serve several calls."""


def _traced(function: Function, like: Sequence[Tensor], has_gradient: bool) -> tuple[Any, _Whole]:
    """A graph with the function and, behind placeholders for its outputs' gradients, its gradient."""
    import tensorflow as tf

    traced: list[_Whole] = []

    def whole(*inputs: Tensor) -> list[Tensor]:
        if not has_gradient:
            outputs = function(list(inputs))
            traced.append(_Whole(list(inputs), outputs, [], [None] * len(inputs)))
            return outputs
        upstream: list[Tensor] = []

        def placeholders(outputs: list[Tensor]) -> list[Tensor]:
            upstream.extend(tf.compat.v1.placeholder(y.dtype, y.shape) for y in outputs)
            return upstream

        outputs, gradients = _with_gradient(function, list(inputs), placeholders)
        traced.append(_Whole(list(inputs), outputs, upstream, gradients))
        return outputs

    signature = [tf.TensorSpec(x.shape, x.dtype) for x in like]
    concrete = tf.function(whole, autograph=False).get_concrete_function(*signature)
    graph = concrete.graph
    if concrete.captured_inputs:
        raise NotTraceableOnceError(f"function must close over no tensor. Received: {concrete.captured_inputs}")
    stateful = [operation.type for operation in graph.get_operations() if operation.op_def.is_stateful]
    # A placeholder is an input. An op with a side effect is no ancestor of an output, and would be lost.
    if any(kind != "Placeholder" for kind in stateful):
        raise NotTraceableOnceError(f"function must have no side effects. Received: {sorted(set(stateful))}")
    if any(isinstance(dx, tf.IndexedSlices) for dx in traced[0].gradients):
        raise NotTraceableOnceError("function must have dense gradients. Received: gradients of a lookup")
    return graph, traced[0]


def _with_gradient(
    function: Function, inputs: list[Tensor], upstream_of: Callable[[list[Tensor]], list[Tensor]]
) -> tuple[list[Tensor], list[Tensor | None]]:
    """The outputs, and the gradient of each input, by the gradients that `upstream_of` gives for the float outputs."""
    import tensorflow as tf

    floats = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(floats)
        outputs = function(inputs)
    of_floats = [y for y in outputs if y.dtype.is_floating]
    found = iter(tape.gradient(of_floats, floats, upstream_of(of_floats)))
    return outputs, [next(found) if x.dtype.is_floating else None for x in inputs]


def _node(tensor: str) -> str:
    """The node that an edge of a graph comes from: "a" of "a", "a:1" and "^a"."""
    return tensor.lstrip("^").partition(":")[0]


def _tensor(edge: str) -> str:
    """The name of the tensor on an edge: "a:0" of "a"."""
    return edge if ":" in edge else f"{edge}:0"


def _ancestors(nodes: Any, tensors: Collection[str]) -> set[str]:
    """The names of the nodes that tensors are computed from, their own among them."""
    inputs = {node.name: node.input for node in nodes.node}
    found: set[str] = set()
    waiting = [_node(tensor) for tensor in tensors]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_node(edge) for edge in inputs[name])
    return found


def _constants(nodes: Any) -> set[str]:
    """The names of the nodes that no input reaches."""
    found: set[str] = set()
    for node in nodes.node:  # each behind its inputs
        if node.op != "Placeholder" and all(_node(edge) in found for edge in node.input):
            found.add(node.name)
    return found


def _subgraph(nodes: Any, names: Collection[str], inputs: Sequence[str]) -> Any:
    """The nodes of some names, without those of the tensors `inputs`."""
    part = type(nodes)(versions=nodes.versions, library=nodes.library)
    given = set(map(_node, inputs))
    for node in nodes.node:
        if node.name in names and node.name not in given:
            copy = part.node.add()
            copy.CopyFrom(node)
            del copy.input[:]
            # Nothing here has side effects, whose order a control edge would keep.
            copy.input.extend(edge for edge in node.input if not edge.startswith("^"))
            # The gradient is that of the whole. A custom one would be sought, and not found, when the graph is saved.
            copy.attr.pop("_gradient_op_type", None)
    return part


def _read_from_outside(part: Any, results: Sequence[str]) -> list[str]:
    """The tensors of other nodes that a part reads or returns, each once."""
    own = {node.name for node in part.node}
    read = dict.fromkeys([*(_tensor(edge) for node in part.node for edge in node.input), *results])
    return [tensor for tensor in read if _node(tensor) not in own]


def _as_function(graph: Any, part: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Callable[..., list[Tensor]]:
    """A part of a graph as a function of TensorFlow: the tensors `outputs` from the tensors `inputs`."""
    import tensorflow as tf

    read = {_tensor(edge) for node in part.node for edge in node.input}
    computed = list(dict.fromkeys(name for name in outputs if name not in inputs))

    def run(*values: Tensor) -> list[Tensor]:
        known = dict(zip(inputs, values, strict=True))
        used = {name: value for name, value in known.items() if name in read}
        found = tf.graph_util.import_graph_def(part, input_map=used, return_elements=computed, name="")
        known |= zip(computed, found, strict=True)
        for name in computed:  # the graph knows less of shapes than those who traced it
            known[name].set_shape(graph.get_tensor_by_name(name).shape)
        return [known[name] for name in outputs]

    signature = [tf.TensorSpec(x.shape, x.dtype) for x in map(graph.get_tensor_by_name, inputs)]
    return tf.function(run, autograph=False, input_signature=signature)

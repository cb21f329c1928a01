"""The one op of an export that reads files, held to the files that the loader names.

A server feeds the path of the variables to a placeholder, and runs one node, whose function restores them. Were there
another way to `RestoreV2`, a graph could read the weights of other models, or reach the network by a path that says so.
"""

from collections.abc import Iterator
from typing import Any

from export.client.function_names import called_functions

_RESTORE = "RestoreV2"


def wrong_restoring(meta: Any) -> Iterator[str]:
    """What else than the variables of this export a `MetaGraphDef` could restore.

    >>> from tensorflow.core.protobuf import meta_graph_pb2
    >>> meta = meta_graph_pb2.MetaGraphDef()
    >>> _ = meta.graph_def.node.add(name="weights", op="RestoreV2")
    >>> list(wrong_restoring(meta))
    ["restores in the node weights, which is not the loader's"]
    """
    graph, saver = meta.graph_def, meta.saver_def
    path = saver.filename_tensor_name.partition(":")[0]
    restoring = set()
    for function in graph.library.function:
        nodes = [node for node in function.node_def if node.op == _RESTORE]
        restoring |= {function.signature.name} if nodes else set()
        arguments = [argument.name for argument in function.signature.input_arg]
        if any(list(node.input[:1]) != arguments[:1] for node in nodes):
            yield f"restores in the function {function.signature.name} from a path that is not its first argument"
    for node in graph.node:
        restores = node.op == _RESTORE or not restoring.isdisjoint(called_functions(node.attr.values()))
        if restores and (node.name != saver.restore_op_name or list(node.input[:1]) != [path]):
            yield f"restores in the node {node.name}, which is not the loader's"
        if node.name == path and node.op != "Placeholder":
            yield f"has a path of its own for the variables, in {path}"
    for function in graph.library.function:
        called = {name for node in function.node_def for name in called_functions(node.attr.values())}
        if not restoring.isdisjoint(called):
            yield f"restores in the function {function.signature.name}, which is not the loader's"
    for name, signature in meta.signature_def.items():
        if path in [tensor.name.partition(":")[0] for tensor in signature.inputs.values()]:
            yield f"takes the path of the variables from requests to {name}"
    for name in sorted(restoring & set(meta.object_graph_def.concrete_functions)):
        yield f"offers the function {name}, which restores, to callers"

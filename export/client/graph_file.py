"""The graph of an export, read as a file: nothing in it is loaded or run."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from export.client.allowed_ops import ALLOWED_OPS
from export.client.function_names import called_functions
from export.client.restoring import wrong_restoring
from export.client.untrusted import bounded_bytes, printable

FILE_NAME = "saved_model.pb"

# Of any protocol buffer.
_MOST_BYTES = 2**31 - 1
# TensorFlow's own, of the op that loads tables.
_MAIN_OP = "saved_model_main_op"


def wrong_graph(folder: Path, allow_ops: Collection[str] = ()) -> list[str]:
    """What in `saved_model.pb` no export holds, such as an op that writes files or calls Python.

    Args:
        folder: the version's folder.
        allow_ops: ops besides `ALLOWED_OPS`.
    """
    try:
        saved_model = read_graph_file(folder)
    except ValueError as error:
        return [str(error)]
    if len(saved_model.meta_graphs) != 1:
        return [f"{FILE_NAME} holds {len(saved_model.meta_graphs)} graphs; exports have one"]
    (meta,) = saved_model.meta_graphs
    failures = [
        *_wrong_ops(meta.graph_def, ALLOWED_OPS.union(allow_ops)),
        *wrong_restoring(meta),
        # A loader joins these names to the folder.
        *(f"names the asset {asset.filename!r}; exports have none" for asset in meta.asset_file_def),
        # Of TensorFlow 1, which finds assets here as well.
        *(f"holds the collection {name!r}; exports have none" for name in meta.collection_def if name != _MAIN_OP),
    ]
    return [f"{FILE_NAME} {printable(failure)}" for failure in failures]


def _wrong_ops(graph: Any, allowed: frozenset[str]) -> Iterator[str]:
    found = {node.op for node in _nodes(graph)}
    for op in sorted(found - allowed):
        yield f"holds the op {op}, which is not allowed"
    # A function takes the place of an op of its name.
    functions = {function.signature.name for function in graph.library.function}
    for name in sorted(functions & allowed):
        yield f"holds a function by the name of the op {name}"
    # And an op that of a function: a server makes an op of the branch of an `If` that names one.
    holders = (*_nodes(graph), *graph.library.function)
    called = {name for holder in holders for name in called_functions(holder.attr.values())}
    for name in sorted(called - functions):
        yield f"calls the function {name}, which it does not hold"


def read_graph_file(folder: Path) -> Any:
    """The `SavedModel` proto of a version.

    Raises:
        ValueError: a file that is no whole SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved_model = saved_model_pb2.SavedModel.FromString(bounded_bytes(folder / FILE_NAME, _MOST_BYTES))
    except (DecodeError, ValueError) as error:
        raise ValueError(f"{FILE_NAME} is not the file of a whole SavedModel ({error})") from None
    if not saved_model.meta_graphs:
        raise ValueError(f"{FILE_NAME} is not the file of a whole SavedModel (it holds no graph)")
    return saved_model


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def

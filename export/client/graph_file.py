"""The graph of an export, read as a file: nothing in it is loaded or run."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from export.client.allowed_ops import ALLOWED_OPS

FILE_NAME = "saved_model.pb"


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
    allowed = ALLOWED_OPS.union(allow_ops)
    found = {node.op for node in _nodes(saved_model)}
    failures = [f"{FILE_NAME} holds the op {op}, which is not allowed" for op in sorted(found - allowed)]
    # A function takes the place of an op of its name.
    functions = {function.signature.name for graph in _graphs(saved_model) for function in graph.library.function}
    failures += [f"{FILE_NAME} holds a function by the name of the op {name}" for name in sorted(functions & allowed)]
    # A loader joins these names to the folder.
    assets = [asset.filename for meta in saved_model.meta_graphs for asset in meta.asset_file_def]
    return failures + [f"{FILE_NAME} names the asset {name!r}; exports have none" for name in assets]


def read_graph_file(folder: Path) -> Any:
    """The `SavedModel` proto of a version.

    Raises:
        ValueError: a file that is no whole SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        saved_model = saved_model_pb2.SavedModel.FromString((folder / FILE_NAME).read_bytes())
    except DecodeError as error:
        raise ValueError(f"{FILE_NAME} is not the file of a whole SavedModel ({error})") from None
    if not saved_model.meta_graphs:
        raise ValueError(f"{FILE_NAME} is not the file of a whole SavedModel (it holds no graph)")
    return saved_model


def _graphs(saved_model: Any) -> Iterator[Any]:
    return (meta.graph_def for meta in saved_model.meta_graphs)


def _nodes(saved_model: Any) -> Iterator[Any]:
    for graph in _graphs(saved_model):
        yield from graph.node
        for function in graph.library.function:
            yield from function.node_def

"""A SavedModel without the function that writes checkpoints: a server never needs it, and no op may write files."""

from pathlib import Path

from export.client.graph_file import FILE_NAME, read_graph_file

_FINGERPRINT = "fingerprint.pb"


def remove_saving(folder: Path) -> None:
    """Rewrite `saved_model.pb` without the ops that save; restoring stays.

    TensorFlow's fingerprint of the file goes as well: the manifest's hashes take its place.
    """
    saved_model = read_graph_file(folder)
    for meta in saved_model.meta_graphs:
        saver, graph = meta.saver_def, meta.graph_def
        saving = saver.save_tensor_name.partition(":")[0]
        functions = {node.attr["f"].func.name for node in graph.node if node.name == saving}
        nodes = [node for node in graph.node if node.name != saving]
        library = [function for function in graph.library.function if function.signature.name not in functions]
        del graph.node[:], graph.library.function[:]
        graph.node.extend(nodes)
        graph.library.function.extend(library)
        # Loaders of TensorFlow 1 want a name here: "saving" now returns the name that it is given.
        saver.save_tensor_name = saver.filename_tensor_name
    (folder / FILE_NAME).write_bytes(saved_model.SerializeToString(deterministic=True))
    (folder / _FINGERPRINT).unlink(missing_ok=True)

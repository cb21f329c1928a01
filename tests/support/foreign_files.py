"""Writes checkpoint files as transformers' TensorFlow and Flax models do, with h5py and msgpack alone.

The layouts were compared with files that transformers 4.57 itself wrote; `make parity-full` does so again.
"""

import h5py
import msgpack
import numpy as np


def tensorflow_path(name, ndim):
    """The place in a `tf_model.h5` of what LED's reference calls `name`, and whether it is transposed there."""
    if name == "final_logits_bias":
        return "final_logits_bias/final_logits_bias:0", False
    *layers, leaf = name.split(".")
    if layers == ["led", "shared"]:
        return "led/led.shared/led.shared/embeddings:0", False
    if "norm" in layers[-1]:
        leaf = {"weight": "gamma", "bias": "beta"}[leaf]
    elif leaf == "weight":
        leaf = "embeddings" if layers[-1].startswith("embed_") else "kernel"
    # "layers.0" is one part of a TensorFlow path.
    path = "/".join(layers).replace("layers/", "layers.")
    return f"led/tfled_for_conditional_generation/{path}/{leaf}:0", leaf == "kernel" and ndim == 2


def write_tensorflow(path, tensors):
    """Write a `tf_model.h5` of LED tensors by the reference's names."""
    with h5py.File(path, "w") as file:
        names = {}
        for name, tensor in tensors.items():
            place, transpose = tensorflow_path(name, tensor.ndim)
            file.create_dataset(place, data=tensor.T if transpose else tensor)
            layer, _, variable = place.partition("/")
            names.setdefault(layer, []).append(variable)
        for layer, variables in names.items():
            file[layer].attrs["weight_names"] = variables
        file.create_group("top_level_model_weights").attrs["weight_names"] = []
        file.attrs["layer_names"] = list(names)


def flax_path(name, ndim):
    """The path in a `flax_model.msgpack` of a tensor that LongT5's reference calls `name`."""
    *layers, leaf = name.split(".")
    if ndim == 1:
        return [*layers, leaf]
    return [*layers, "embedding" if layers[-1] == "shared" or layers[-1].endswith("_bias") else "kernel"]


def packed_array(array, shape=None, type_name=None):
    """The extension by which flax.serialization stands for an array."""
    content = (list(array.shape) if shape is None else shape, type_name or array.dtype.name, array.tobytes("C"))
    return msgpack.ExtType(1, msgpack.packb(content, use_bin_type=True))


def chunked(array, size):
    """The map by which flax.serialization stands for an array beyond 1 GiB, here in chunks of `size` elements."""
    flat = array.reshape(-1)
    pieces = [packed_array(flat[start : start + size]) for start in range(0, flat.size, size)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(axis): length for axis, length in enumerate(array.shape)},
        "chunks": {str(index): piece for index, piece in enumerate(pieces)},
    }


def flax_tree(tensors):
    """The nested maps of LongT5 tensors by the reference's names."""
    tree = {}
    for name, tensor in tensors.items():
        *layers, leaf = flax_path(name, tensor.ndim)
        branch = tree
        for layer in layers:
            branch = branch.setdefault(layer, {})
        branch[leaf] = packed_array(np.ascontiguousarray(tensor.T) if leaf == "kernel" else tensor)
    return tree


def write_flax(path, tensors):
    """Write a `flax_model.msgpack` of LongT5 tensors by the reference's names."""
    path.write_bytes(msgpack.packb(flax_tree(tensors)))

"""Where each weight of a model lies when heads and hidden units are divided over devices (Shoeybi et al. 2019)."""

import re
from collections.abc import Iterator
from typing import Any

import keras

from tfmodels.backend.keras_internals import sublayers, weight_attribute
from tfmodels.layers.attention.relative_position import RelativePositionBias


def layout_map(model: keras.Model, mesh: keras.distribution.DeviceMesh, axis: str = "model") -> Any:
    """The layouts of a model's weights for `keras.distribution.ModelParallel` (JAX).

    Projections into heads and hidden units are divided over their outputs, with their biases. The projections that sum
    over heads or hidden units are divided over their inputs. Tables are divided over their rows. Where the mesh does
    not divide that size, the other axis is divided: 50,265 tokens are an odd number of rows. Everything else is whole:
    norms, biases of sums, biases of relative positions.

    The map fits every model with the same config and class, whatever its name: make it from one, set the distribution,
    and make or load the model that is trained.

    Args:
        model: a model or an encoder.
        mesh: devices with an axis `axis`.
        axis: the axis of the mesh over which weights are divided.

    Returns:
        A `keras.distribution.LayoutMap`.

    Raises:
        ValueError: an axis that the mesh does not have.

    >>> from tfmodels import LongT5Config, LongT5ForConditionalGeneration
    >>> config = LongT5Config(vocab_size=64, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    >>> mesh = keras.distribution.DeviceMesh((1, 1), ("batch", "model"), ["cpu:0"])
    >>> layouts = layout_map(LongT5ForConditionalGeneration(config), mesh)
    >>> layouts["any_name/encoder/block_0/feed_forward/wo/kernel"].axes
    ('model', None)
    >>> parallel = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")

    On a machine with several devices `with parallel.scope():` stands around making, compiling and fitting a model.
    """
    if axis not in mesh.axis_names:
        raise ValueError(f"axis must be one of the mesh's axes {list(mesh.axis_names)}. Received: axis={axis!r}")
    count = dict(zip(mesh.axis_names, mesh.shape, strict=True))[axis]
    # The first part of a path is the model's name, which Keras makes up anew for each model.
    found = {
        "[^/]+/" + re.escape(variable.path.partition("/")[2]): _layout(tuple(variable.shape), preferred, count, axis)
        for variable, preferred in _divided_axes(model)
    }
    layouts = keras.distribution.LayoutMap(mesh)
    for pattern, axes in found.items():
        if axes is not None:
            layouts[pattern] = axes
    return layouts


def _divided_axes(model: keras.Model) -> Iterator[tuple[keras.Variable, int]]:
    """The weights to divide, each with the axis that is to be divided."""
    layers = sublayers(model)
    biases = {id(layer.embedding) for layer in layers if isinstance(layer, RelativePositionBias)}
    sums = {id(getattr(layer, name)) for layer in layers for name in getattr(layer, "summing_projections", ())}
    for layer in layers:
        if isinstance(layer, keras.layers.Embedding) and id(layer) not in biases:
            yield getattr(layer, weight_attribute(layer, "embeddings")), 0
        elif isinstance(layer, keras.layers.Dense):
            yield getattr(layer, weight_attribute(layer, "kernel")), 0 if id(layer) in sums else 1
            if layer.bias is not None and id(layer) not in sums:
                yield layer.bias, 0


def _layout(shape: tuple[int, ...], preferred: int, count: int, axis: str) -> tuple[str | None, ...] | None:
    """The layout that divides one axis by `count`, the preferred one if possible; None if there is none."""
    for divided in (preferred, *(other for other in range(len(shape)) if other != preferred)):
        if shape[divided] % count == 0:
            return tuple(axis if place == divided else None for place in range(len(shape)))
    return None

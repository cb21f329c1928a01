"""Calls of the blocks of an encoder or decoder: recomputation, layerdrop and head masks.

The encoder or decoder holds the settings: `gradient_checkpointing`, `layerdrop` and its seeds.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.shared_calls import SharedCalls
from tfmodels.backend.types import Tensor


def block_calls(blocks: Sequence[keras.layers.Layer], is_recomputed: bool) -> Callable[..., Any]:
    """The call of a block with arguments, `call(block, ...)`; blocks that are alike are traced once.

    Args:
        blocks: all blocks.
        is_recomputed: recompute a block's intermediate values in the backward pass.
    """
    shared = SharedCalls(blocks)

    def call(block: keras.layers.Layer, /, *args: Any, **kwargs: Any) -> Any:
        return shared(block, partial(remat_layer, block) if is_recomputed else block, *args, **kwargs)

    return call


def layerdrop_seeds(rate: float) -> keras.random.SeedGenerator | None:
    """The seeds of layerdrop, None at rate 0."""
    return keras.random.SeedGenerator() if rate else None


def keep_or_drop(
    after: Tensor, before: Tensor, rate: float, seeds: keras.random.SeedGenerator | None, training: bool | None
) -> Tensor:
    """A layer's output, or if the layer is dropped its input: one draw for the whole batch (Fan et al. 2019, 3.1).

    Args:
        after, before: output and input of the layer.
        rate: probability of a drop in training.
        seeds: from `layerdrop_seeds`.
        training: as in Keras.
    """
    if seeds is None or not training:
        return after
    # A select: the dropped layer is still computed, as no shape or branch of a compiled graph depends on a draw.
    return ops.where(keras.random.uniform((), seed=seeds) >= rate, after, before)


def per_layer(name: str, head_mask: Tensor | None, layers: int, heads: int) -> list[Tensor | None]:
    """A head mask as one (H,) or None per layer.

    Args:
        name: the name of the mask in the error.
        head_mask: (layers, H), or (H,) for all layers, or None.
        layers, heads: the expected sizes.

    Raises:
        ValueError: a mask of the wrong shape.

    >>> len(per_layer("head_mask", ops.ones((3, 2)), layers=3, heads=2))
    3
    """
    if head_mask is None:
        return [None] * layers
    head_mask = ops.convert_to_tensor(head_mask)
    shape = tuple(head_mask.shape)
    if shape not in ((layers, heads), (heads,)):
        raise ValueError(f"{name} must have shape {(layers, heads)} or {(heads,)}. Received: shape {shape}")
    head_mask = ops.broadcast_to(head_mask, (layers, heads))
    return [head_mask[layer] for layer in range(layers)]

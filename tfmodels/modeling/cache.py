"""A decoder's cache between calls, in two forms.

`StaticCache` has room for a fixed number of tokens and counts the written ones: no shape changes from step to step.
transformers' form is a tuple per layer of (keys, values, cross keys, cross values), each (R, H, tokens, D), which grows
with every call.
"""

from collections.abc import Sequence
from typing import NamedTuple

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.cached_attention import KeysValues
from tfmodels.layers.blocks import pad_axis

ReferenceCache = tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]


class StaticCache(NamedTuple):
    """A cache of fixed size.

    keys_values: keys (R, H, D, M) and values (R, H, M, D) of the target, a pair per layer. cross: keys (B, H, D, S)
    and values (B, H, S, D) of the documents, a pair per layer. position: int32 scalar, the number of written tokens.
    """

    keys_values: tuple[KeysValues, ...]
    cross: tuple[KeysValues, ...]
    position: Tensor


def static_cache(past: Sequence[Sequence[Tensor]], new_tokens: int | Tensor) -> StaticCache:
    """Convert transformers' form to a static cache with room for `new_tokens` further tokens.

    Raises:
        ValueError: anything but a tuple of four tensors per layer.

    >>> layer = tuple(ops.ones((1, 2, length, 4)) for length in (3, 3, 9, 9))
    >>> static_cache((layer,), new_tokens=1).keys_values[0][1].shape[2]
    4
    """
    if not isinstance(past, Sequence) or any(len(layer) != 4 for layer in past):
        raise ValueError(
            "past_key_values must be from init_cache, or hold (keys, values, cross keys, cross values) for each layer. "
            f"Received: {type(past).__name__}"
        )
    keys_values = [
        (pad_axis(ops.swapaxes(keys, 2, 3), 3, after=new_tokens), pad_axis(values, 2, after=new_tokens))
        for keys, values, _, _ in past
    ]
    cross = [(ops.swapaxes(keys, 2, 3), values) for _, _, keys, values in past]
    position = ops.cast(ops.shape(past[0][0])[2], "int32")
    return StaticCache(tuple(keys_values), tuple(cross), position)


def reference_cache(cache: StaticCache) -> ReferenceCache:
    """Convert a full static cache to transformers' form."""
    return tuple(
        (ops.swapaxes(keys, 2, 3), values, ops.swapaxes(cross_keys, 2, 3), cross_values)
        for (keys, values), (cross_keys, cross_values) in zip(cache.keys_values, cache.cross, strict=True)
    )

"""What a decoder remembers between calls, in two forms.

`StaticCache` has room for a fixed number of tokens and counts those that are written: no shape changes from step to
step. The reference's form is a tuple per layer of (keys, values, cross keys, cross values), each (B, H, tokens, D),
which grows with every call.

Shape letters: B rows, H heads, D head size, M room for target tokens, S source length.
"""

from collections.abc import Sequence
from typing import NamedTuple

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.cached_attention import KeysValues
from tfmodels.layers.blocks import pad_axis

ReferenceCache = tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]


class StaticCache(NamedTuple):
    """keys_values: keys (B, H, D, M) and values (B, H, M, D) of the target, a pair per layer. cross: keys (B, H, D, S)
    and values (B, H, S, D) of the document. position: int32 scalar, how many target tokens are written."""

    keys_values: tuple[KeysValues, ...]
    cross: tuple[KeysValues, ...]
    position: Tensor


def static_cache(past: Sequence[Sequence[Tensor]], new_tokens: int | Tensor) -> StaticCache:
    """The reference's form as a static cache with room for `new_tokens` more.

    Raises:
        ValueError: not a tuple of four tensors per layer.

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
    """A full static cache in the reference's form."""
    return tuple(
        (ops.swapaxes(keys, 2, 3), values, ops.swapaxes(cross_keys, 2, 3), cross_values)
        for (keys, values), (cross_keys, cross_values) in zip(cache.keys_values, cache.cross, strict=True)
    )

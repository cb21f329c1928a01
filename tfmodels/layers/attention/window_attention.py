"""Attention to a window of keys, some of which may lie on neighbouring devices."""

from typing import Any

from keras import ops

from tfmodels.backend.document import DividedDocument, Document
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention import block_attention
from tfmodels.layers.attention.window import WindowGeometry


def window_attention(
    document: Document,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor,
    geometry: WindowGeometry,
    **arguments: Any,
) -> Tensor:
    """`block_attention`, where `query`, `key`, `value` and `key_mask` are a device's part of a document.

    Args:
        document: whole, or divided: each device then asks its neighbours for `geometry.margin` keys and values.
        query, key, value, key_mask, geometry, **arguments: as in `block_attention`.

    Returns:
        (B, H, L, D) for the device's own tokens.

    >>> from tfmodels.backend.document import WHOLE
    >>> x = ops.ones((1, 2, 5, 4))
    >>> window_attention(WHOLE, x, x, x, ops.ones((1, 5), "bool"), WindowGeometry.covering(2)).shape[2]
    5
    """
    if not isinstance(document, DividedDocument):
        return block_attention(query, key, value, key_mask, geometry, **arguments)
    key, value = (document.with_margins(x, 2, geometry.margin) for x in (key, value))
    key_mask = document.with_margins(ops.cast(key_mask, "int32"), 1, geometry.margin) > 0
    return block_attention(query, key, value, key_mask, geometry, shard=document.shard(), **arguments)

"""The floating-point operations that an encoder's mathematics needs: two for each multiplication with its addition.

Only products are counted, and only products that the result depends on: no padding, no keys outside the window, no
masked scores. Further operations of an implementation lower its share of the ceiling.

Letters: L length, E model size, H heads, D head size, F hidden size of the feed-forward part, G global tokens, S
summaries.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.models import FAMILIES, GLOBAL_TOKEN_KEYS, SUMMARY_KEYS

PROJECTIONS = "projections"
WINDOW = "window"
GLOBAL_ROWS = "global rows"
SUMMARIES = "summaries"
FEED_FORWARD = "feed-forward"


def window_pairs(length: int, radius: int) -> int:
    """The number of (query, key) pairs when each token sees itself and `radius` tokens to either side.

    >>> window_pairs(4, 1)
    10
    >>> window_pairs(2, 7)
    4
    """
    radius = min(radius, max(length - 1, 0))
    return length * (2 * radius + 1) - radius * (radius + 1)


def product_operations(rows: int, inner: int, columns: int) -> int:
    """Operations of a matrix product (rows, inner) @ (inner, columns).

    >>> product_operations(2, 3, 4)
    48
    """
    return 2 * rows * inner * columns


def encoder_operations(family: str, fields: Mapping[str, Any], length: int, global_tokens: int = 1) -> dict[str, int]:
    """Operations of the encoder on one document, by kind of work.

    Args:
        family: a name in `benchmarks.models.FAMILIES`.
        fields: config fields, see `benchmarks.models.config_fields`.
        length: L.
        global_tokens: G, at the start of the document; for families with global tokens.
    """
    model = FAMILIES[family]
    width, inner = fields["d_model"], model.inner_size(fields, model.encoder)
    feed_forward = product_operations(length, width, fields[model.encoder.hidden_size])
    has_global_tokens = model.side_keys == GLOBAL_TOKEN_KEYS
    # Global tokens are not in the windows: every other token sees them once, as side keys.
    local = length - global_tokens if has_global_tokens else length
    pairs = window_pairs(local, model.radius(fields)) + local * (length - local)
    layer = {
        # Query, key, value and output: a global token's query has a separate projection, of the same cost.
        PROJECTIONS: 4 * product_operations(length, width, inner),
        WINDOW: 2 * 2 * inner * pairs,
        FEED_FORWARD: model.feed_forward_matrices(fields) * feed_forward,
    }
    if has_global_tokens:
        layer[GLOBAL_ROWS] = global_row_operations(length, width, fields[model.encoder.heads], global_tokens)
    if model.side_keys == SUMMARY_KEYS:
        summaries = length // fields["global_block_size"]
        keys_and_values = 2 * product_operations(summaries, width, inner)
        layer[SUMMARIES] = keys_and_values + 2 * product_operations(length, inner, summaries)
    return {kind: fields[model.encoder.layers] * count for kind, count in layer.items()}


def global_row_operations(length: int, width: int, heads: int, global_tokens: int) -> int:
    """Operations of G global tokens' attention over the whole document, without queries, in the cheaper order.

    Either all tokens are projected to keys and values, or the projections are moved to the few global tokens:
    q (W x) = (q W) x and p (x W) = (p x) W.
    """
    scores_and_values = 2 * product_operations(global_tokens, width, length)
    direct = 2 * product_operations(length, width, width) + scores_and_values
    moved = 2 * product_operations(global_tokens, width, width) + heads * scores_and_values
    return min(direct, moved)

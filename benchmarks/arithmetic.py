"""The floating-point operations that an encoder's mathematics needs: two for each multiplication with its addition.

Only products are counted, and only those that the result depends on: no padding, no keys outside the window, nothing
that a mask takes away. What an implementation does beyond this is its own affair and lowers its share of the ceiling.

Letters: L length, E model size, H heads, D head size, F hidden size of the feed-forward part, G global tokens, S
summaries.
"""

from collections.abc import Mapping
from typing import Any

PROJECTIONS = "projections"
WINDOW = "window"
GLOBAL_ROWS = "global rows"
SUMMARIES = "summaries"
FEED_FORWARD = "feed-forward"


def window_pairs(length: int, radius: int) -> int:
    """How many (query, key) pairs there are when each token sees `radius` tokens on either side and itself.

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
        family: "led", "longt5-local" or "longt5-tglobal".
        fields: of the config, see `benchmarks.models.config_fields`.
        length: L.
        global_tokens: G, at the start of the document; LED alone.
    """
    if family == "led":
        layer, layers = _led_layer(fields, length, global_tokens), fields["encoder_layers"]
    else:
        layer, layers = _long_t5_layer(fields, length), fields["num_layers"]
    return {kind: layers * count for kind, count in layer.items()}


def _led_layer(fields: Mapping[str, Any], length: int, global_tokens: int) -> dict[str, int]:
    width, heads = fields["d_model"], fields["encoder_attention_heads"]
    local = length - global_tokens
    # Global tokens are left out of the windows: every other token sees them once, as extra keys.
    pairs = window_pairs(local, fields["attention_window"] // 2) + local * global_tokens
    return {
        # Query, key, value and output: a global token's query goes through its own projection, which costs the same.
        PROJECTIONS: 4 * product_operations(length, width, width),
        WINDOW: 2 * 2 * width * pairs,
        GLOBAL_ROWS: global_row_operations(length, width, heads, global_tokens),
        FEED_FORWARD: 2 * product_operations(length, width, fields["encoder_ffn_dim"]),
    }


def global_row_operations(length: int, width: int, heads: int, global_tokens: int) -> int:
    """Operations of G global tokens' attention over the whole document, queries not counted, done the cheaper way.

    Either all tokens are projected to keys and values, or the projections are moved to the few global tokens:
    q (W x) = (q W) x and p (x W) = (p x) W.
    """
    scores_and_values = 2 * product_operations(global_tokens, width, length)
    direct = 2 * product_operations(length, width, width) + scores_and_values
    moved = 2 * product_operations(global_tokens, width, width) + heads * scores_and_values
    return min(direct, moved)


def _long_t5_layer(fields: Mapping[str, Any], length: int) -> dict[str, int]:
    width, inner = fields["d_model"], fields["num_heads"] * fields["d_kv"]
    gates = 1 if fields["feed_forward_proj"].startswith("gated-") else 0
    layer = {
        PROJECTIONS: 4 * product_operations(length, width, inner),
        WINDOW: 2 * 2 * inner * window_pairs(length, fields["local_radius"]),
        FEED_FORWARD: (2 + gates) * product_operations(length, width, fields["d_ff"]),
    }
    if fields["encoder_attention_type"] == "transient-global":
        summaries = length // fields["global_block_size"]
        keys_and_values = 2 * product_operations(summaries, width, inner)
        layer[SUMMARIES] = keys_and_values + 2 * product_operations(length, inner, summaries)
    return layer

"""The bytes that decoding one document reads at each token, and a check of its result. Needs NumPy alone.

Bytes of a decoder's matrices and of the document's keys and values. Smaller tensors are not counted: biases, norms, the
row of the embedding table, the keys and values of the tokens so far.

Letters: S tokens of the document, E model size, I heads times head size, F hidden size of the feed-forward part.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.models import FAMILIES

FLOAT32_BYTES = 4


def cross_cache_bytes(family: str, fields: Mapping[str, Any], length: int) -> int:
    """Bytes of the document's keys and values in all decoder layers, in float32: the encoder cache.

    Args:
        family: a name in `benchmarks.models.FAMILIES`.
        fields: config fields, see `benchmarks.models.config_fields`.
        length: S.

    >>> cross_cache_bytes("led", {"decoder_layers": 2, "d_model": 8, "decoder_ffn_dim": 32}, 10)
    1280
    """
    layers, inner, _ = _decoder(family, fields)
    return 2 * layers * length * inner * FLOAT32_BYTES


def step_bytes(family: str, fields: Mapping[str, Any], length: int) -> int:
    """Bytes that one greedy step must read in float32; arguments as of `cross_cache_bytes`.

    Each layer: four projections of the self-attention, query and output of the cross-attention, the feed-forward part;
    then the output projection, and the encoder cache.

    >>> fields = {"decoder_layers": 2, "d_model": 8, "decoder_ffn_dim": 32, "vocab_size": 100}
    >>> step_bytes("led", fields, 10) == 4 * (2 * (6 * 8 * 8 + 2 * 8 * 32) + 100 * 8) + 1280
    True
    """
    layers, inner, feed_forward = _decoder(family, fields)
    width = fields["d_model"]
    weights = layers * (6 * width * inner + feed_forward) + fields["vocab_size"] * width
    return weights * FLOAT32_BYTES + cross_cache_bytes(family, fields, length)


def _decoder(family: str, fields: Mapping[str, Any]) -> tuple[int, int, int]:
    """The number of layers, I, and the count of numbers in a layer's feed-forward matrices."""
    model = FAMILIES[family]
    matrices = model.feed_forward_matrices(fields) * fields["d_model"] * fields[model.decoder.hidden_size]
    return fields[model.decoder.layers], model.inner_size(fields, model.decoder), matrices


def check_made(sequences: np.ndarray, tokens: int, end: int) -> None:
    """Check that a search made `tokens` tokens after the start token, none of them the end token.

    Without the end token nothing ends a search but its length: so many steps were run.

    Raises:
        ValueError: fewer or more tokens, or an end token.

    >>> check_made(np.array([[2, 7, 7, 2]]), 3, end=2)
    Traceback (most recent call last):
    ...
    ValueError: decoding must make 3 tokens without the end token 2. Received: [[2, 7, 7, 2]]
    """
    if sequences.shape[1] != tokens + 1 or (sequences[:, 1:] == end).any():
        raise ValueError(
            f"decoding must make {tokens} tokens without the end token {end}. Received: {sequences.tolist()}"
        )

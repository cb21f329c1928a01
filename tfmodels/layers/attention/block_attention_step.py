"""One step of block attention, forwards and backwards: a few blocks of queries against their slices of keys.

Shape letters: B batch, H heads, N blocks of a step, C block length, S keys of one block's slice, G extra keys, D head
size, R = N * C queries of a step, T queries of all steps, M rows of the extra keys' bias.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from tfmodels.backend.precision import float32_product
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis
from tfmodels.layers.dropout import HashDropout

Tensors = Mapping[str, Tensor]
# Of the window, (B, H, N, S, D), and the extra ones, (B, H, G, D), or None.
Keys = tuple[Tensor, Any]

# Added to a score that must not count. Two of them (padding outside the window) are still a finite float32.
_MASKED = -1e30
# Highest score of a query that sees nothing: below every real score, and above every masked one.
_LOWEST = -5e29
_TINY = 1e-37


def additive_mask(mask: Tensor) -> Tensor:
    """What is added to scores: float32, 0 where the bool `mask` is True and a very negative number elsewhere."""
    return ops.where(mask, np.float32(0), np.float32(_MASKED))


@dataclass(frozen=True)
class BlockAttentionSteps:
    """What the steps have in common; each call gets the number of the step and the tensors.

    Tensors of the step: "query" (B, H, R, D) and, where there is one, "extra_bias" (B, H, R / queries_per_bias, G).
    Tensors of all steps: "key" and "value" (B, H, T + 2 * margin, D); "key_mask" (B, T + 2 * margin), additive;
    "window_bias" (H, C, S) where there is one. With extra keys: "extra_key" and "extra_value" (B, H, G, D), and
    "extra_mask" (B, G), additive.
    """

    geometry: WindowGeometry
    blocks: int
    queries_per_bias: int = 1
    dropout: HashDropout | None = None

    @property
    def queries(self) -> int:
        """R."""
        return self.blocks * self.geometry.block_length

    def attend(self, index: Tensor, given: Tensors) -> list[Tensor]:
        """Output (B, H, R, D) in the dtype of "value", and each query's float32 log-sum-exp (B, H, R, 1)."""
        exponentials, highest, total = _softmax_terms(self._scores(index, given))
        values = self._slices(given["value"], index), given.get("extra_value")
        dropped = _scaled(exponentials, self._scales(index, exponentials))
        output = self._product_with_keys(dropped, values) / total
        return [self._merged(ops.cast(output, given["value"].dtype)), self._merged(highest + ops.log(total))]

    def probabilities(self, index: Tensor, given: Tensors) -> list[Tensor]:
        """Softmax of the scores, float32: (B, H, N, C, S), and (B, H, N, C, G) with extra keys."""
        exponentials, _, total = _softmax_terms(self._scores(index, given))
        return [part / total for part in exponentials]

    def gradient(
        self, index: Tensor, given: Tensors, output: Tensor, log_sum_exp: Tensor, upstream: Tensor
    ) -> dict[str, Tensor]:
        """What one step adds to the gradient of each tensor, float32.

        Args:
            index: int32 scalar, the step.
            given: the tensors.
            output, log_sum_exp: (B, H, R, D) and (B, H, R, 1), from `attend`.
            upstream: (B, H, R, D), gradient of the output.

        Returns:
            "query" (B, H, R, D); "key" and "value" (B, H, R + 2 * margin, D), of the step's slice; "window_bias"
            (H, C, S); "extra_key" and "extra_value" (B, H, G, D); "extra_bias" (B, H, R / queries_per_bias, G).
        """
        query, upstream = self._split(given["query"]), self._split(upstream)
        keys = self._slices(given["key"], index), given.get("extra_key")
        values = self._slices(given["value"], index), given.get("extra_value")
        probabilities = [ops.exp(part - self._split(log_sum_exp)) for part in self._scores(index, given)]
        scales = self._scales(index, probabilities)
        # The softmax's gradient: p * (dp - sum(p * dp)), and that sum is `delta`, with and without dropout.
        delta = ops.sum(
            ops.cast(self._split(output), "float32") * ops.cast(upstream, "float32"), axis=-1, keepdims=True
        )
        arriving = _scaled(self._products_per_key(upstream, values), scales)
        scores = [p * (dp - delta) for p, dp in zip(probabilities, arriving, strict=True)]
        used = [ops.cast(part, query.dtype) for part in _scaled(probabilities, scales)]
        typed = [ops.cast(part, query.dtype) for part in scores]
        found = {
            "query": self._merged(self._product_with_keys(typed, keys)),
            "key": self._joined(float32_product(ops.swapaxes(typed[0], 3, 4), query)),
            "value": self._joined(float32_product(ops.swapaxes(used[0], 3, 4), upstream)),
        }
        if "window_bias" in given:
            found["window_bias"] = ops.sum(scores[0], axis=(0, 2))
        if "extra_key" in given:
            found["extra_key"] = float32_product(ops.swapaxes(self._merged(typed[1]), 2, 3), self._merged(query))
            found["extra_value"] = float32_product(ops.swapaxes(self._merged(used[1]), 2, 3), self._merged(upstream))
        if "extra_bias" in given:
            found["extra_bias"] = ops.sum(self._per_bias_row(scores[1]), axis=3)
        return found

    def _scores(self, index: Tensor, given: Tensors) -> list[Tensor]:
        """Masked float32 scores: (B, H, N, C, S), and (B, H, N, C, G) with extra keys."""
        keys = self._slices(given["key"], index), given.get("extra_key")
        parts = self._products_per_key(self._split(given["query"]), keys)
        key_mask = self._slices(given["key_mask"][:, None, :, None], index)[..., 0]  # (B, 1, N, S)
        parts[0] = parts[0] + key_mask[:, :, :, None] + additive_mask(self.geometry.is_inside())
        if "window_bias" in given:
            parts[0] = parts[0] + given["window_bias"][None, :, None]
        if "extra_bias" in given:
            bias = given["extra_bias"][:, :, :, None]  # (B, H, R / q, 1, G)
            parts[1] = ops.reshape(self._per_bias_row(parts[1]) + bias, ops.shape(parts[1]))
        if "extra_key" in given:
            parts[1] = parts[1] + given["extra_mask"][:, None, None, None, :]
        return parts

    def _scales(self, index: Tensor, parts: list[Tensor]) -> list[Tensor] | None:
        """What dropout multiplies the probabilities by: the same for the same step, forwards and backwards."""
        if self.dropout is None:
            return None
        return [self.dropout.scale(ops.shape(part), index, number) for number, part in enumerate(parts)]

    def _products_per_key(self, rows: Tensor, keys: Keys) -> list[Tensor]:
        """Of each row (B, H, N, C, D) with each key: (B, H, N, C, S) and, with extra keys, (B, H, N, C, G)."""
        window, extra = keys
        parts = [float32_product(rows, ops.swapaxes(window, 3, 4))]
        if extra is not None:
            parts.append(self._split(float32_product(self._merged(rows), ops.swapaxes(extra, 2, 3))))
        return parts

    def _product_with_keys(self, parts: list[Tensor], keys: Keys) -> Tensor:
        """Sum over the keys of each weight times its key: float32 (B, H, N, C, D)."""
        window, extra = keys
        total = float32_product(ops.cast(parts[0], window.dtype), window)
        if extra is None:
            return total
        return total + self._split(float32_product(ops.cast(self._merged(parts[1]), extra.dtype), extra))

    def _slices(self, x: Tensor, index: Tensor) -> Tensor:
        """Each block's slice of (B, H, T + 2 * margin, D): (B, H, N, S, D)."""
        span = _slice(x, index * self.queries, self.queries + 2 * self.geometry.margin)
        length, width = self.geometry.block_length, self.geometry.slice_length
        slices = [span[:, :, block * length : block * length + width] for block in range(self.blocks)]
        return slices[0][:, :, None] if self.blocks == 1 else ops.stack(slices, axis=2)

    def _joined(self, slices: Tensor) -> Tensor:
        """Transpose of `_slices`: (B, H, N, S, D) -> (B, H, R + 2 * margin, D), overlapping keys summed."""
        if self.blocks == 1:
            return slices[:, :, 0]
        length = self.geometry.block_length
        places = [(block * length, (self.blocks - 1 - block) * length) for block in range(self.blocks)]
        return sum(
            pad_axis(slices[:, :, block], 2, before=before, after=after) for block, (before, after) in enumerate(places)
        )

    def _split(self, x: Tensor) -> Tensor:
        """(B, H, R, X) -> (B, H, N, C, X)."""
        batch, heads, _, width = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.blocks, self.geometry.block_length, width))

    def _merged(self, x: Tensor) -> Tensor:
        """(B, H, N, C, X) -> (B, H, R, X)."""
        batch, heads, _, _, width = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.queries, width))

    def _per_bias_row(self, x: Tensor) -> Tensor:
        """(B, H, N, C, G) -> (B, H, R / q, q, G) with the q queries that share a row of the extra keys' bias."""
        batch, heads, _, _, keys = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.queries // self.queries_per_bias, self.queries_per_bias, keys))


def _slice(x: Tensor, start: Tensor, length: int) -> Tensor:
    """Part of the third axis of (B, H, T, X)."""
    batch, heads, _, width = ops.shape(x)
    # All starts of one dtype: where JAX has 64-bit numbers, a Python 0 is one.
    first = np.int32(0)
    return ops.slice(x, (first, first, start, first), (batch, heads, length, width))


def _softmax_terms(parts: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Exponentials of scores less the highest of their query, the highest, and the exponentials' sum."""
    # As the start of each reduction: JAX takes no highest of keys of which there may be none, as in a symbolic shape.
    highest = _over_parts(partial(ops.max, initial=np.float32(_LOWEST)), ops.maximum, parts)
    exponentials = [ops.exp(part - highest) for part in parts]
    return exponentials, highest, ops.maximum(_over_parts(ops.sum, ops.add, exponentials), np.float32(_TINY))


def _over_parts(reduce: Any, combine: Any, parts: list[Tensor]) -> Tensor:
    """A reduction over the last axis of all parts as if they were one."""
    found = reduce(parts[0], axis=-1, keepdims=True)
    for part in parts[1:]:
        if part.shape[-1] != 0:  # nothing to take the highest of
            found = combine(found, reduce(part, axis=-1, keepdims=True))
    return found


def _scaled(parts: list[Tensor], scales: list[Tensor] | None) -> list[Tensor]:
    return parts if scales is None else [part * scale for part, scale in zip(parts, scales, strict=True)]

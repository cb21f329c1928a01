"""One step of block attention, forwards and backwards: a few blocks of queries against their slices of keys.

N are here the blocks of a step. Further shape letters: Y keys of one block's slice, Q = N * C queries of a step, P
queries of all steps, A rows of the side keys' bias, q queries that share a row of it, X any width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from keras import ops

from tfmodels.backend.precision import float32_product
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis
from tfmodels.layers.dropout import HashDropout

# Added to a masked score. Added twice (padding outside the window) it is still a finite float32.
MASKED = -1e30
# The highest score of a query without any visible key: below every real score, and above every masked one.
LOWEST = -5e29
TINY = 1e-37


class StepTensors(NamedTuple):
    """The tensors of the engine, padded to whole steps; their gradients are of the same type.

    query: (B, H, P, D), of one step (B, H, Q, D). key, value: (B, H, P + 2 * margin, D).
    key_mask: float32 (B, P + 2 * margin), added to the scores. window_bias: float32 (H, C, Y) or None.
    With side keys: side_key, side_value (B, H, G, D); side_mask float32 (B, G), added to the scores; side_bias float32
    (B, H, A, G), of one step (B, H, Q / queries_per_bias, G), or None.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    key_mask: Tensor
    window_bias: Tensor | None = None
    side_key: Tensor | None = None
    side_value: Tensor | None = None
    side_mask: Tensor | None = None
    side_bias: Tensor | None = None


class Keys(NamedTuple):
    """Keys, or values, of one step. window: (B, H, N, Y, D), the blocks' slices. side: (B, H, G, D), or None."""

    window: Tensor
    side: Tensor | None


def additive_mask(mask: Tensor) -> Tensor:
    """Float32 that is added to scores: 0 where the bool `mask` is True, and a very negative number elsewhere."""
    return ops.where(mask, np.float32(0), np.float32(MASKED))


@dataclass(frozen=True)
class BlockAttentionStep:
    """The arithmetic of one step. Each method takes the index of the step and the tensors.

    Scores, probabilities and their gradients are lists of one or two parts: to the window (B, H, N, C, Y) and,
    with side keys, to the side (B, H, N, C, G). One softmax runs over both.

    Args:
        geometry: window and block length.
        blocks: N, blocks of a step.
        queries_per_bias: q.
        dropout: of the probabilities, or None.
        device_kind: "cpu", "gpu" or "tpu"; the gradient may be traced where no scope says it any more.
        in_kernels: whether a program for CUDA works on all steps at once, in kernels of its own.
    """

    geometry: WindowGeometry
    blocks: int
    queries_per_bias: int = 1
    dropout: HashDropout | None = None
    device_kind: str = "cpu"
    in_kernels: bool = False

    @property
    def queries(self) -> int:
        """Q, the queries of a step."""
        return self.blocks * self.geometry.block_length

    @property
    def is_joined(self) -> bool:
        """Whether the forward pass works on the blocks of a step as on one: on TPUs, without dropout."""
        return self.device_kind == "tpu" and self.dropout is None

    def one_by_one(self) -> "BlockAttentionStep":
        """The same work, on a TPU in steps of one block, where it is not joined: neighbouring slices are no copies."""
        return replace(self, blocks=1) if self.device_kind == "tpu" else self

    def attend(self, index: Tensor, tensors: StepTensors) -> list[Tensor]:
        """Output (B, H, Q, D) in the dtype of the value, and each query's float32 log-sum-exp (B, H, Q, 1)."""
        exponentials, highest, total = _softmax_terms(self._scores(index, tensors))
        values = Keys(self._slices(tensors.value, index), tensors.side_value)
        dropped = _scaled(exponentials, self._scales(index, exponentials))
        output = self._product_with_keys(dropped, values) / total  # (B, H, N, C, D)
        return [self._merged(ops.cast(output, tensors.value.dtype)), self._merged(highest + ops.log(total))]

    def probabilities(self, index: Tensor, tensors: StepTensors) -> list[Tensor]:
        """Softmax of the scores, float32: (B, H, N, C, Y), and (B, H, N, C, G) with side keys."""
        exponentials, _, total = _softmax_terms(self._scores(index, tensors))
        return [part / total for part in exponentials]

    def gradient(
        self, index: Tensor, tensors: StepTensors, output: Tensor, lse: Tensor, d_output: Tensor
    ) -> StepTensors:
        """The part of each tensor's gradient that one step contributes, float32 (Dao et al. 2022, Algorithm 4).

        Args:
            index: int32 scalar, the step.
            tensors: as in `attend`.
            output, lse: (B, H, Q, D) and (B, H, Q, 1), from `attend`.
            d_output: (B, H, Q, D), gradient of the output.

        Returns:
            The gradients of the step's queries, of its rows of the side bias, and of its slice of keys and values
            (B, H, Q + 2 * margin, D); and shares of the shared tensors' gradients, which the caller sums over the
            steps. The gradients of the masks are None.
        """
        query, d_output = self._split(tensors.query), self._split(d_output)
        keys = Keys(self._slices(tensors.key, index), tensors.side_key)
        values = Keys(self._slices(tensors.value, index), tensors.side_value)
        # 1. Recompute the probabilities, p = exp(s - lse), with the same dropout.
        p = [ops.exp(s - self._split(lse)) for s in self._scores(index, tensors)]  # (B, H, N, C, Y), (B, H, N, C, G)
        scales = self._scales(index, p)
        dropped = [ops.cast(part, query.dtype) for part in _scaled(p, scales)]
        # 2. dv = p^T do.
        dv = self._joined(float32_product(ops.swapaxes(dropped[0], 3, 4), d_output))  # (B, H, Q + 2 * margin, D)
        # 3. dp = do v^T.
        dp = _scaled(self._products_per_key(d_output, values), scales)
        # 4. delta = rowsum(do * o), which equals rowsum(p * dp), with and without dropout.
        delta = ops.sum(
            ops.cast(self._split(output), "float32") * ops.cast(d_output, "float32"), axis=-1, keepdims=True
        )  # (B, H, N, C, 1)
        # 5. ds = p * (dp - delta), the softmax's gradient.
        ds = [p_part * (dp_part - delta) for p_part, dp_part in zip(p, dp, strict=True)]
        narrow_ds = [ops.cast(part, query.dtype) for part in ds]
        # 6. dq = ds k, and dk = ds^T q.
        dq = self._merged(self._product_with_keys(narrow_ds, keys))  # (B, H, Q, D)
        dk = self._joined(float32_product(ops.swapaxes(narrow_ds[0], 3, 4), query))  # (B, H, Q + 2 * margin, D)
        gradients = StepTensors(query=dq, key=dk, value=dv, key_mask=None)
        if tensors.window_bias is not None:
            gradients = gradients._replace(window_bias=ops.sum(ds[0], axis=(0, 2)))  # (H, C, Y)
        if tensors.side_key is not None:
            gradients = gradients._replace(  # (B, H, G, D)
                side_key=float32_product(ops.swapaxes(self._merged(narrow_ds[1]), 2, 3), self._merged(query)),
                side_value=float32_product(ops.swapaxes(self._merged(dropped[1]), 2, 3), self._merged(d_output)),
            )
        if tensors.side_bias is not None:
            gradients = gradients._replace(side_bias=ops.sum(self._per_bias_row(ds[1]), axis=3))  # (B, H, Q / q, G)
        return gradients

    def _scores(self, index: Tensor, tensors: StepTensors) -> list[Tensor]:
        """Masked float32 scores: (B, H, N, C, Y), and (B, H, N, C, G) with side keys."""
        keys = Keys(self._slices(tensors.key, index), tensors.side_key)  # (B, H, N, Y, D), (B, H, G, D)
        window, *side = self._products_per_key(self._split(tensors.query), keys)  # (B, H, N, C, Y), (B, H, N, C, G)
        key_mask = self._slices(tensors.key_mask[:, None, :, None], index)[..., 0]  # (B, 1, N, Y)
        window = window + key_mask[:, :, :, None] + additive_mask(self.geometry.is_inside())  # (B, H, N, C, Y)
        if tensors.window_bias is not None:
            window = window + tensors.window_bias[None, :, None]  # + (1, H, 1, C, Y)
        if tensors.side_bias is not None:
            bias = tensors.side_bias[:, :, :, None]  # (B, H, Q / q, 1, G)
            side = [ops.reshape(self._per_bias_row(side[0]) + bias, ops.shape(side[0]))]  # (B, H, N, C, G)
        if tensors.side_mask is not None:
            side = [side[0] + tensors.side_mask[:, None, None, None, :]]  # + (B, 1, 1, 1, G)
        return [window, *side]

    def _scales(self, index: Tensor, parts: list[Tensor]) -> list[Tensor] | None:
        """The dropout factors of the probabilities: the same for the same step, forwards and backwards."""
        if self.dropout is None:
            return None
        return [self.dropout.scale(ops.shape(x), index, part) for part, x in enumerate(parts)]

    def _products_per_key(self, rows: Tensor, keys: Keys) -> list[Tensor]:
        """The products of rows (B, H, N, C, D) with keys: (B, H, N, C, Y) and, with side keys, (B, H, N, C, G)."""
        window, side = keys
        parts = [float32_product(rows, ops.swapaxes(window, 3, 4))]
        if side is not None:
            parts.append(self._split(float32_product(self._merged(rows), ops.swapaxes(side, 2, 3))))
        return parts

    def _product_with_keys(self, parts: list[Tensor], keys: Keys) -> Tensor:
        """The sum over the keys of each weight times its key: float32 (B, H, N, C, D)."""
        window, side = keys
        total = float32_product(ops.cast(parts[0], window.dtype), window)
        if side is None:
            return total
        return total + self._split(float32_product(ops.cast(self._merged(parts[1]), side.dtype), side))

    def _slices(self, x: Tensor, index: Tensor) -> Tensor:
        """Each block's slice of (B, H, P + 2 * margin, D): (B, H, N, Y, D)."""
        span = slice_rows(x, index * self.queries, self.queries + 2 * self.geometry.margin)  # (B, H, Q + 2 * margin, D)
        length, width = self.geometry.block_length, self.geometry.slice_length
        slices = [span[:, :, block * length : block * length + width] for block in range(self.blocks)]
        return slices[0][:, :, None] if self.blocks == 1 else ops.stack(slices, axis=2)

    def _joined(self, slices: Tensor) -> Tensor:
        """Transpose of `_slices`: (B, H, N, Y, D) -> (B, H, Q + 2 * margin, D), overlapping keys summed."""
        if self.blocks == 1:
            return slices[:, :, 0]
        length = self.geometry.block_length
        widths = [(block * length, (self.blocks - 1 - block) * length) for block in range(self.blocks)]
        return sum(
            pad_axis(slices[:, :, block], 2, before=before, after=after) for block, (before, after) in enumerate(widths)
        )

    def _split(self, x: Tensor) -> Tensor:
        """(B, H, Q, X) -> (B, H, N, C, X)."""
        batch, heads, _, width = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.blocks, self.geometry.block_length, width))

    def _merged(self, x: Tensor) -> Tensor:
        """(B, H, N, C, X) -> (B, H, Q, X)."""
        batch, heads, _, _, width = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.queries, width))

    def _per_bias_row(self, x: Tensor) -> Tensor:
        """(B, H, N, C, G) -> (B, H, Q / q, q, G), the queries grouped by their row of the side keys' bias."""
        batch, heads, _, _, keys = ops.shape(x)
        return ops.reshape(x, (batch, heads, self.queries // self.queries_per_bias, self.queries_per_bias, keys))


def slice_rows(x: Tensor, start: Tensor, length: int) -> Tensor:
    """Part of the third axis: (B, H, P, X) -> (B, H, length, X)."""
    batch, heads, _, width = ops.shape(x)
    # All starts have one dtype: under JAX's 64-bit mode a Python 0 would be int64.
    first = np.int32(0)
    return ops.slice(x, (first, first, start, first), (batch, heads, length, width))


def _softmax_terms(parts: list[Tensor]) -> tuple[list[Tensor], Tensor, Tensor]:
    """The exponentials of scores minus their query's highest score, that highest score, and the exponentials' sum."""
    # An initial value for each reduction: JAX refuses the maximum of an axis that may be empty (a symbolic shape).
    highest = over_parts(partial(ops.max, initial=np.float32(LOWEST)), ops.maximum, parts)
    exponentials = [ops.exp(part - highest) for part in parts]
    return exponentials, highest, ops.maximum(over_parts(ops.sum, ops.add, exponentials), np.float32(TINY))


def over_parts(reduce: Callable[..., Tensor], combine: Callable[..., Tensor], parts: list[Tensor]) -> Tensor:
    """A reduction over the last axis of all parts as if they were one."""
    result = reduce(parts[0], axis=-1, keepdims=True)
    for part in parts[1:]:
        if part.shape[-1] != 0:  # an empty axis has no maximum
            result = combine(result, reduce(part, axis=-1, keepdims=True))
    return result


def _scaled(parts: list[Tensor], scales: list[Tensor] | None) -> list[Tensor]:
    return parts if scales is None else [part * scale for part, scale in zip(parts, scales, strict=True)]

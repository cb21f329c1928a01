"""The arithmetic of block attention on one GPU core: a tile of queries or keys, and the tiles that it meets.

Everything here runs inside Pallas kernels; `block_attention_gpu` calls them. Scores never leave the chip: the forward
pass keeps a running softmax (Dao et al. 2022, Algorithm 1), the gradient computes them again (Algorithm 4).

Further shape letters: Y keys of a block's slice, P queries of all steps, A rows of the side keys' bias, T queries of a
tile, K keys of a tile, q queries that share a row of the side keys' bias. `refs` are the fields of `StepTensors`,
of one row and head, in the GPU's memory.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention_step import LOWEST, MASKED, TINY
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.dropout import HashDropout

# A GPU's exponential is one of base 2.
_LOG2_E = np.float32(math.log2(math.e))
# Tensor cores multiply tiles of 16 at least, and Triton's tiles have powers of 2.
_SMALLEST = 16


@dataclass(frozen=True)
class Tiles:
    """How the kernels divide queries and keys: a tile of queries is a block.

    Args:
        geometry: window and block length.
        keys: K, of a tile; divides the block length and 2 * margin.
        queries_per_bias: q; divides the block length.
    """

    geometry: WindowGeometry
    keys: int
    queries_per_bias: int = 1

    @classmethod
    def of(cls, geometry: WindowGeometry, queries_per_bias: int = 1, keys: int = _SMALLEST) -> "Tiles":
        """The largest tiles of at most so many keys, a power of 2. They may be too small, see `fit`.

        >>> Tiles.of(WindowGeometry.covering(512), keys=64).of_slice
        18
        """
        return cls(geometry, math.gcd(geometry.block_length, 2 * geometry.margin, keys), queries_per_bias)

    @property
    def fit(self) -> bool:
        """Whether tensor cores can multiply them, and no row of the side keys' bias is in two blocks."""
        return is_power_of_two(self.queries) and self.keys >= _SMALLEST and self.queries % self.queries_per_bias == 0

    @property
    def queries(self) -> int:
        """T, of a tile."""
        return self.geometry.block_length

    @property
    def of_slice(self) -> int:
        """Tiles of keys in a block's slice."""
        return self.geometry.slice_length // self.keys

    @property
    def bias_rows(self) -> int:
        """Rows of the side keys' bias that a tile of queries has."""
        return self.queries // self.queries_per_bias

    def inner(self) -> range:
        """Of the slice's tiles, the ones that lie within the window of every query."""
        beside = self.geometry.margin - self.geometry.window
        first = min(-(-(self.queries - 1 + beside) // self.keys), self.of_slice)
        return range(first, max(first, (self.geometry.margin + self.geometry.window + 1) // self.keys))


def is_power_of_two(size: int) -> bool:
    """Whether Triton makes tiles of this size.

    >>> is_power_of_two(64), is_power_of_two(48)
    (True, False)
    """
    return size > 0 and size & (size - 1) == 0


class OfOutput(NamedTuple):
    """What the gradient needs of the forward pass and of the output's gradient.

    d_output: (B, H, P, D). lse: float32 (B, H, P, 1), log-sum-exp. delta: float32 (B, H, P, 1), the sums of the output
    times its gradient.
    """

    d_output: Tensor
    lse: Tensor
    delta: Tensor


class Met(NamedTuple):
    """A tile of keys that a tile of queries meets. scores: float32 (T, K). key, value: (K, D). factors: of dropout,
    float32 (T, K), or None. side: which tile of the side keys, or None."""

    scores: Tensor
    key: Tensor
    value: Tensor
    factors: Tensor | None
    side: Tensor | None = None


@dataclass(frozen=True)
class TileDropout:
    """Dropout of the masks that an engine with one block in a step draws.

    Args:
        dropout: rate and seed.
        row: int32 scalar, batch row * heads + head.
        side_keys: G.
    """

    dropout: HashDropout
    row: Tensor
    side_keys: int

    def factors(self, tiles: Tiles, part: int, tile: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The factors of some of a tile's rows and columns; part 0 is the window, part 1 the side keys."""
        width = self.side_keys if part else tiles.geometry.slice_length
        return self.dropout.scale_of((self.row * tiles.queries + rows) * width + columns, tile, part)


@dataclass(frozen=True)
class QueryTile:
    """A tile of queries.

    Args:
        tiles: sizes.
        refs: of the tensors; the side keys fill whole tiles.
        tile: int32 scalar, which one.
        dropout: of the probabilities, or None.
    """

    tiles: Tiles
    refs: Any
    tile: Tensor
    dropout: TileDropout | None = None

    @property
    def rows(self) -> Any:
        """The tile's place among the queries."""
        return part(self.tile, self.tiles.queries)

    def visit(self, meet: Callable[[Any, Met], Any], state: Any) -> Any:
        """`state = meet(state, met)` for each tile of keys, those of the window first."""
        import jax

        query, tiles, inner = self.refs.query[self.rows, :], self.tiles, self.tiles.inner()

        def window(has_edge: bool) -> Callable[[Tensor, Any], Any]:
            return lambda position, state: meet(state, self.window(query, position, has_edge))

        state = jax.lax.fori_loop(0, inner.start, window(True), state)
        state = jax.lax.fori_loop(inner.start, inner.stop, window(False), state)
        state = jax.lax.fori_loop(inner.stop, tiles.of_slice, window(True), state)
        if self.refs.side_key is None:
            return state
        count = self.refs.side_key.shape[0] // tiles.keys
        return jax.lax.fori_loop(0, count, lambda position, state: meet(state, self.side(query, position)), state)

    def window(self, query: Tensor, position: Tensor, has_edge: bool) -> Met:
        """The tile of keys at `position` of the slice; with an edge of the window in it or without."""
        tiles, refs = self.tiles, self.refs
        keys = part(position, tiles.keys, self.tile * tiles.queries)
        key = refs.key[keys, :]
        scores = product(query, key.T) + refs.key_mask[keys][None, :]  # (T, K)
        row, column = _numbers(tiles.queries)[:, None], position * tiles.keys + _numbers(tiles.keys)[None, :]
        if refs.window_bias is not None:
            scores = scores + refs.window_bias[:, part(position, tiles.keys)]
        if has_edge:
            scores = _inside(scores, column - tiles.geometry.margin - row, tiles.geometry.window)
        factors = self.dropout and self.dropout.factors(tiles, 0, self.tile, row, column)
        return Met(scores, key, refs.value[keys, :], factors)

    def side(self, query: Tensor, position: Tensor) -> Met:
        """The tile of side keys at `position`."""
        tiles, refs = self.tiles, self.refs
        keys = part(position, tiles.keys)
        key = refs.side_key[keys, :]
        scores = product(query, key.T) + refs.side_mask[keys][None, :]  # (T, K)
        row, column = _numbers(tiles.queries)[:, None], position * tiles.keys + _numbers(tiles.keys)[None, :]
        if refs.side_bias is not None:
            rows = refs.side_bias[part(self.tile, tiles.bias_rows), keys]
            scores = scores + _repeated(rows, tiles.queries_per_bias, axis=0)
        factors = self.dropout and self.dropout.factors(tiles, 1, self.tile, row, column)
        return Met(scores, key, refs.side_value[keys, :], factors, position)


@dataclass(frozen=True)
class KeyTile:
    """A tile of keys, of the window or of the side. Scores and their gradients are here transposed: (K, T).

    Args:
        tiles: sizes.
        refs: of the tensors; the window bias is transposed: (Y, C).
        tile: int32 scalar, which one: from `margin` before the first token on, or among the side keys.
        is_side: whether it is one of the side keys.
        dropout: of the probabilities, or None.
    """

    tiles: Tiles
    refs: Any
    tile: Tensor
    is_side: bool
    dropout: TileDropout | None = None

    @property
    def rows(self) -> Any:
        """The tile's place among the keys."""
        return part(self.tile, self.tiles.keys)

    def gradient(self, of_output: OfOutput, tiles_of_queries: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The shares of dk and dv that come from a range of tiles of queries: float32 (K, D)."""
        import jax

        refs, rows = self.refs, self.rows
        key, value = (refs.side_key, refs.side_value) if self.is_side else (refs.key, refs.value)
        key, value = key[rows, :], value[rows, :]
        mask = (refs.side_mask if self.is_side else refs.key_mask)[rows][:, None]

        def meet(tile: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            dk, dv = state
            queries = part(tile, self.tiles.queries)
            query, d_output = refs.query[queries, :], of_output.d_output[queries, :]
            scores = self._biased(product(key, query.T) + mask, tile)  # (K, T)
            lse, delta = (x[queries, :][:, 0][None, :] for x in (of_output.lse, of_output.delta))
            factors = self._factors(tile)
            p, ds = score_gradient(scores, product(value, d_output.T), lse, delta, factors)
            return dk + product(ds.astype(query.dtype), query), dv + product(p.astype(query.dtype), d_output)

        start = zeros(*key.shape), zeros(*key.shape)
        return jax.lax.fori_loop(*tiles_of_queries, meet, start)

    def in_reach(self) -> tuple[Tensor, Tensor]:
        """The tiles of queries, from and to, of which some see a key of this tile through the window."""
        import jax.numpy as jnp

        reach, length = self.tiles.geometry.window, self.refs.query.shape[0]
        first = self.tile * self.tiles.keys - self.tiles.geometry.margin - reach
        end = first + self.tiles.keys + 2 * reach
        first, end = jnp.clip(first, 0, length), jnp.clip(end, 0, length)
        return first // self.tiles.queries, (end + self.tiles.queries - 1) // self.tiles.queries

    def _biased(self, scores: Tensor, tile: Tensor) -> Tensor:
        """The scores with their bias, and for the window with its edges."""
        import jax.numpy as jnp

        tiles, refs = self.tiles, self.refs
        if self.is_side:
            if refs.side_bias is None:
                return scores
            rows = refs.side_bias[part(tile, tiles.bias_rows), self.rows]
            return scores + _repeated(rows.T, tiles.queries_per_bias, axis=1)
        if refs.window_bias is not None:
            # A tile beside the block's slice is outside the window of each query.
            last = tiles.geometry.slice_length - tiles.keys
            columns = _at(jnp.clip(self._first_column(tile), 0, last), tiles.keys)
            scores = scores + refs.window_bias[columns, :]
        row, column = _numbers(tiles.queries)[None, :], self._columns(tile)[:, None]
        return _inside(scores, column - tiles.geometry.margin - row, tiles.geometry.window)

    def _factors(self, tile: Tensor) -> Tensor | None:
        if self.dropout is None:
            return None
        rows, columns = _numbers(self.tiles.queries)[None, :], self._columns(tile)[:, None]
        return self.dropout.factors(self.tiles, int(self.is_side), tile, rows, columns)

    def _columns(self, tile: Tensor) -> Tensor:
        """The keys' columns in the slice of the queries' block, or among the side keys."""
        return (self.tile * self.tiles.keys if self.is_side else self._first_column(tile)) + _numbers(self.tiles.keys)

    def _first_column(self, tile: Tensor) -> Tensor:
        return self.tile * self.tiles.keys - tile * self.tiles.queries


def running_softmax(state: tuple[Tensor, Tensor, Tensor], met: Met) -> tuple[Tensor, Tensor, Tensor]:
    """The product (T, D), the highest score (T,) and the sum of exponentials (T,), with a further tile of keys."""
    import jax.numpy as jnp

    output, highest, total = state
    new = jnp.maximum(highest, jnp.max(met.scores, axis=1))
    exponentials = exponential(met.scores - new[:, None])
    scale = exponential(highest - new)
    dropped = exponentials if met.factors is None else exponentials * met.factors
    output = output * scale[:, None] + product(dropped.astype(met.value.dtype), met.value)
    return output, new, total * scale + jnp.sum(exponentials, axis=1)


def softmax_start(queries: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The state of `running_softmax` before any key."""
    import jax.numpy as jnp

    return (
        jnp.zeros((queries, size), "float32"),
        jnp.full((queries,), LOWEST, "float32"),
        jnp.zeros((queries,), "float32"),
    )


def softmax_end(state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Output (T, D) and log-sum-exp (T, 1) after the last key."""
    import jax.numpy as jnp

    output, highest, total = state
    total = jnp.maximum(total, np.float32(TINY))
    return output / total[:, None], (highest + jnp.log(total))[:, None]


def score_gradient(
    scores: Tensor, d_probabilities: Tensor, lse: Tensor, delta: Tensor, factors: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The dropped probabilities and the gradient of the scores; see `BlockAttentionStep.gradient`, steps 1 to 5."""
    p = exponential(scores - lse)
    dropped = p
    if factors is not None:
        dropped, d_probabilities = p * factors, d_probabilities * factors
    return dropped, p * (d_probabilities - delta)


def exponential(x: Tensor) -> Tensor:
    """e to the power of x."""
    import jax.numpy as jnp

    return jnp.exp2(x * _LOG2_E)


def product(left: Tensor, right: Tensor) -> Tensor:
    """(X, Y) and (Y, Z) of 16 bits -> (X, Z) in float32."""
    import jax.numpy as jnp

    return jnp.dot(left, right, preferred_element_type="float32")


def _inside(scores: Tensor, offset: Tensor, window: int) -> Tensor:
    """The scores, masked where the key is further than the window from the query; `offset` is key minus query."""
    import jax.numpy as jnp

    return jnp.where(jnp.abs(offset) <= window, scores, np.float32(MASKED))


def _repeated(x: Tensor, times: int, axis: int) -> Tensor:
    """A matrix with each of its rows, or columns, so many times in turn."""
    import jax.numpy as jnp

    wide = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
    shape = [size * times if place == axis else size for place, size in enumerate(x.shape)]
    return jnp.broadcast_to(jnp.expand_dims(x, axis + 1), wide).reshape(shape)


def part(index: Tensor, size: int, first: Tensor | int = 0) -> Any:
    """The rows of part `index` of an axis in parts of `size` that begin at `first`."""
    return _at(first + index * size, size)


def zeros(*shape: int) -> Tensor:
    """Float32."""
    import jax.numpy as jnp

    return jnp.zeros(shape, "float32")


def _at(start: Tensor, size: int) -> Any:
    from jax.experimental import pallas as pl

    return pl.ds(start, size)


def _numbers(count: int) -> Tensor:
    import jax.numpy as jnp

    return jnp.arange(count, dtype="int32")

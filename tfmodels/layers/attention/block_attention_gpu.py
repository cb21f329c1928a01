"""The attention engine as kernels for NVIDIA GPUs, under JAX: the numbers of `BlockAttentionStep`.

XLA writes the scores to the GPU's memory, and reads them again for their highest, their sum and the product with the
values. Pallas compiles the kernels here, by Triton, and the scores never leave the chip. For 16-bit numbers: tensor
cores do not multiply float32 exactly.

Further shape letters: see `block_attention_tiles`, and S parts of a sum.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention_step import MASKED, BlockAttentionStep, StepTensors
from tfmodels.layers.attention.block_attention_tiles import (
    KeyTile,
    Met,
    OfOutput,
    QueryTile,
    TileDropout,
    Tiles,
    is_power_of_two,
    part,
    product,
    running_softmax,
    score_gradient,
    softmax_end,
    softmax_start,
    zeros,
)
from tfmodels.layers.blocks import pad_axis, padding_to_multiple
from tfmodels.layers.dropout import HashDropout

# Parts of a sum over all queries, which one program after another could not make in time.
_PARTS = 16
_LARGEST_INDEX, _SMALLEST_HEAD = 2**31, 16
# Ampere's: the first tensor cores for bfloat16.
_LEAST_MAJOR = 8
# Keys of a tile, forwards and in the gradient, and what Triton asks for. Measured on an H200 for LED and LongT5.
_KEYS, _GRADIENT_KEYS, _WARPS, _STAGES = 32, 64, 4, 3


class _Inputs(NamedTuple):
    """What kernels read. seed: uint32 (2,) of the dropout, or None. of_output: `OfOutput`, None in the forward pass."""

    tensors: Any
    seed: Any
    of_output: Any


def suits_kernels(step: BlockAttentionStep, tensors: Sequence[Tensor]) -> bool:
    """Whether attention may run in the kernels: compiled for one GPU, on JAX, in 16 bits, with sizes that fit.

    Args:
        step: the work.
        tensors: queries, keys and values, (B, H, any, D).
    """
    if keras.backend.backend() != "jax" or step.device_kind != "gpu" or not _triton_compiles():
        return False
    # XLA divides a program over devices, and cannot divide a kernel.
    if keras.distribution.distribution() is not None:
        return False
    if not all(isinstance(size, int) and size > 0 for x in tensors for size in x.shape):
        return False
    if {keras.backend.standardize_dtype(x.dtype) for x in tensors} not in ({"bfloat16"}, {"float16"}):
        return False
    sizes = {x.shape[3] for x in tensors}
    fit = len(sizes) == 1 and all(is_power_of_two(size) and size >= _SMALLEST_HEAD for size in sizes)
    is_indexed = all(math.prod(x.shape) < _LARGEST_INDEX for x in tensors)
    return fit and is_indexed and Tiles.of(step.geometry, step.queries_per_bias).fit


@functools.cache
def _triton_compiles() -> bool:
    """Whether JAX has its compiler by Triton, and for the GPU that is there, if one must be."""
    import jax

    try:
        from jax.experimental.pallas import triton
    except ImportError:  # JAX 0.11 says that a later release has none.
        return False
    gpus = [device for device in jax.local_devices() if device.platform == "gpu"]
    if not gpus:
        # From JAX 0.11 on, a program for a GPU that is not there is not lowered.
        return not hasattr(triton, "get_gpu_info")
    return all(_has_tensor_cores(str(getattr(gpu, "compute_capability", ""))) for gpu in gpus)


def _has_tensor_cores(capability: str) -> bool:
    """Whether a GPU of this compute capability multiplies bfloat16; AMD's have names, such as gfx942.

    >>> _has_tensor_cores("9.0"), _has_tensor_cores("7.5"), _has_tensor_cores("gfx942")
    (True, False, False)
    """
    major = capability.partition(".")[0]
    return major.isdecimal() and int(major) >= _LEAST_MAJOR


def on_cuda(kernels: Callable[..., Any], otherwise: Callable[..., Any], *arguments: Any) -> Any:
    """`kernels(*arguments)` in a program for CUDA, the same numbers by `otherwise` in one for another platform."""
    import jax

    return jax.lax.platform_dependent(*arguments, cuda=kernels, default=otherwise)


def attend(step: BlockAttentionStep, tensors: StepTensors, interpret: bool = False) -> tuple[Tensor, Tensor]:
    """The attention of all queries.

    Args:
        step: see `suits_kernels`. Dropout has the masks of a step of one block.
        tensors: the engine's, padded to whole blocks.
        interpret: run the kernel anywhere, slowly.

    Returns:
        Output (B, H, P, D) in the dtype of the value, and each query's float32 log-sum-exp (B, H, P, 1).
    """
    return _Kernels.of(step, tensors, None, interpret).attend()


def gradient(
    step: BlockAttentionStep,
    tensors: StepTensors,
    output: Tensor,
    lse: Tensor,
    d_output: Tensor,
    interpret: bool = False,
) -> StepTensors:
    """The gradient of each tensor; zeros for the masks.

    Args:
        output, lse: (B, H, P, D) and (B, H, P, 1), from `attend`.
        d_output: (B, H, P, D), gradient of the output.
        Further arguments: as in `attend`.
    """
    delta = ops.sum(ops.cast(output, "float32") * ops.cast(d_output, "float32"), axis=-1, keepdims=True)
    of_output = OfOutput(ops.cast(d_output, tensors.query.dtype), lse, delta)
    kernels = _Kernels.of(step, tensors, of_output, interpret)
    dq, *d_side_bias = kernels.d_queries()
    dk, dv = kernels.d_keys()
    found = StepTensors(dq, dk, dv, ops.zeros_like(tensors.key_mask))
    if tensors.window_bias is not None:
        found = found._replace(window_bias=kernels.d_window_bias())
    if tensors.side_key is None:
        return found
    # Without the keys that filled up the last tile.
    d_side_key, d_side_value = (x[:, :, : tensors.side_key.shape[2]] for x in kernels.d_side_keys())
    found = found._replace(side_key=d_side_key, side_value=d_side_value, side_mask=ops.zeros_like(tensors.side_mask))
    return found._replace(side_bias=d_side_bias[0][..., : tensors.side_key.shape[2]]) if d_side_bias else found


@dataclass(frozen=True)
class _Kernels:
    """Each kernel is a grid of programs; the second number of a program is that of its row and head.

    Args:
        tiles: sizes.
        dropout: its rate, or None.
        side_keys: G, without the keys that fill up the last tile.
        inputs: what the programs read.
        interpret: see `attend`.
    """

    tiles: Tiles
    dropout: HashDropout | None
    side_keys: int
    inputs: _Inputs
    interpret: bool

    @classmethod
    def of(
        cls, step: BlockAttentionStep, tensors: StepTensors, of_output: OfOutput | None, interpret: bool
    ) -> "_Kernels":
        keys = _KEYS if of_output is None else _GRADIENT_KEYS
        tiles = Tiles.of(step.geometry, step.queries_per_bias, keys)
        seed = None if step.dropout is None else ops.cast(step.dropout.seed, "uint32")
        inputs = _Inputs(_with_whole_side_tiles(tensors, tiles.keys), seed, of_output)
        side_keys = 0 if tensors.side_key is None else tensors.side_key.shape[2]
        return cls(tiles, step.dropout, side_keys, inputs, interpret)

    def attend(self) -> tuple[Tensor, Tensor]:
        """Output (B, H, P, D), log-sum-exp (B, H, P, 1)."""
        queries = self.inputs.tensors.query.shape

        def program(inputs: _Inputs, output: Any, lse: Any) -> None:
            tile = self._query_tile(inputs, _program(0))
            found, found_lse = softmax_end(tile.visit(running_softmax, softmax_start(self.tiles.queries, queries[3])))
            output[tile.rows, :], lse[tile.rows, :] = found.astype(output.dtype), found_lse

        outputs = [(queries, self.inputs.tensors.value.dtype), ((*queries[:3], 1), "float32")]
        output, lse = self._run(program, queries[2] // self.tiles.queries, outputs)
        return output, lse

    def d_queries(self) -> list[Tensor]:
        """The gradient of the queries (B, H, P, D) and, if there is a side bias, its gradient (B, H, A, G)."""
        tensors, tiles = self.inputs.tensors, self.tiles

        def program(inputs: _Inputs, d_query: Any, d_side_bias: Any = None) -> None:
            tile = self._query_tile(inputs, _program(0))

            def meet(dq: Tensor, met: Met) -> Tensor:
                ds = _score_gradient(inputs, tile, met)
                if d_side_bias is not None and met.side is not None:
                    at = part(tile.tile, tiles.bias_rows), part(met.side, tiles.keys)
                    d_side_bias[at] = ds.reshape((tiles.bias_rows, tiles.queries_per_bias, tiles.keys)).sum(axis=1)
                return dq + product(ds.astype(met.key.dtype), met.key)

            dq = tile.visit(meet, zeros(tiles.queries, tensors.query.shape[3]))
            d_query[tile.rows, :] = dq.astype(d_query.dtype)

        outputs = [(tensors.query.shape, tensors.query.dtype)]
        outputs += [] if tensors.side_bias is None else [(tensors.side_bias.shape, "float32")]
        return self._run(program, tensors.query.shape[2] // tiles.queries, outputs)

    def d_keys(self) -> list[Tensor]:
        """The gradients of keys and values: (B, H, P + 2 * margin, D)."""
        key, value = self.inputs.tensors.key, self.inputs.tensors.value

        def program(inputs: _Inputs, *outputs: Any) -> None:
            tile = KeyTile(self.tiles, inputs.tensors, _program(0), False, self._dropout(inputs))
            for output, found in zip(outputs, tile.gradient(inputs.of_output, tile.in_reach()), strict=True):
                output[tile.rows, :] = found.astype(output.dtype)

        outputs = [(key.shape, key.dtype), (value.shape, value.dtype)]
        return self._run(program, key.shape[2] // self.tiles.keys, outputs, transposed_bias=True)

    def d_side_keys(self) -> list[Tensor]:
        """The gradients of side keys and values: float32 (B, H, G, D)."""
        tensors, tiles = self.inputs.tensors, self.tiles
        all_tiles = tensors.query.shape[2] // tiles.queries
        parts = min(_PARTS, all_tiles)

        def program(inputs: _Inputs, *outputs: Any) -> None:
            tile = KeyTile(tiles, inputs.tensors, _program(0), True, self._dropout(inputs))
            share = _program(2)
            ends = share * all_tiles // parts, (share + 1) * all_tiles // parts
            for output, found in zip(outputs, tile.gradient(inputs.of_output, ends), strict=True):
                output[share, tile.rows, :] = found

        batch, heads, keys, size = tensors.side_key.shape
        outputs = [((batch, heads, parts, keys, size), "float32")] * 2
        found = self._run(program, keys // tiles.keys, outputs, parts, transposed_bias=True)
        return [ops.sum(x, axis=2) for x in found]

    def d_window_bias(self) -> Tensor:
        """The gradient of the window's bias: float32 (H, C, Y)."""
        tensors, tiles = self.inputs.tensors, self.tiles
        batch, heads, length, _ = tensors.query.shape
        blocks = length // tiles.queries
        parts = min(max(1, _PARTS // batch), blocks)

        def program(inputs: _Inputs, output: Any) -> None:
            # Asked outside the loop: an interpreted loop has no such numbers.
            position, share, dropout = _program(0), _program(2), self._dropout(inputs)

            def block(number: Tensor, total: Tensor) -> Tensor:
                tile = QueryTile(tiles, inputs.tensors, number, dropout)
                met = tile.window(inputs.tensors.query[tile.rows, :], position, has_edge=True)
                return total + _score_gradient(inputs, tile, met)

            ends = share * blocks // parts, (share + 1) * blocks // parts
            output[share, :, part(position, tiles.keys)] = _loop(*ends, block, zeros(tiles.queries, tiles.keys))

        shape = batch, heads, parts, *tensors.window_bias.shape[1:]
        (found,) = self._run(program, tiles.of_slice, [(shape, "float32")], parts)
        return ops.sum(found, axis=(0, 2))

    def _run(
        self,
        program: Callable[..., None],
        count: int,
        outputs: Sequence[tuple[Sequence[int], Any]],
        parts: int = 1,
        transposed_bias: bool = False,
    ) -> list[Tensor]:
        """The outputs, shapes (B, H, ...) and dtypes, of `count` programs for each row, head and part."""
        import jax
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        batch, heads = self.inputs.tensors.query.shape[:2]
        inputs = _with_transposed_bias(self.inputs) if transposed_bias else self.inputs

        def of_row_and_head(x: Any) -> Any:
            whole = (0,) * (len(x.shape) - 2)
            return pl.BlockSpec((None, None, *x.shape[2:]), lambda _, row, __: (row // heads, row % heads, *whole))

        def of_row(x: Tensor) -> Any:
            return pl.BlockSpec((None, *x.shape[1:]), lambda _, row, __: (row // heads, 0))

        def of_head(x: Tensor) -> Any:
            return pl.BlockSpec((None, *x.shape[1:]), lambda _, row, __: (row % heads, 0, 0))

        # A tree of the inputs' form; None stays None.
        specs = jax.tree.map(
            lambda x: of_row_and_head(x) if len(x.shape) == 4 else of_row(x), inputs._replace(seed=None)
        )
        if inputs.tensors.window_bias is not None:
            specs = specs._replace(tensors=specs.tensors._replace(window_bias=of_head(inputs.tensors.window_bias)))
        if inputs.seed is not None:
            specs = specs._replace(seed=pl.BlockSpec((2,), lambda *_: (0,)))
        shapes = [jax.ShapeDtypeStruct(tuple(shape), dtype) for shape, dtype in outputs]
        found = pl.pallas_call(
            program,
            grid=(count, batch * heads, parts),
            in_specs=[specs],
            out_specs=[of_row_and_head(shape) for shape in shapes],
            out_shape=shapes,
            compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=_STAGES),
            interpret=self.interpret,
        )(inputs)
        return list(found)

    def _query_tile(self, inputs: _Inputs, tile: Tensor) -> QueryTile:
        return QueryTile(self.tiles, inputs.tensors, tile, self._dropout(inputs))

    def _dropout(self, inputs: _Inputs) -> TileDropout | None:
        if self.dropout is None:
            return None
        dropout = replace(self.dropout, seed=(inputs.seed[0], inputs.seed[1]))
        return TileDropout(dropout, _program(1), self.side_keys)


def _score_gradient(inputs: _Inputs, tile: QueryTile, met: Met) -> Tensor:
    """The gradient of a tile's scores, float32 (T, K)."""
    d_output, lse, delta = (x[tile.rows, :] for x in inputs.of_output)
    return score_gradient(met.scores, product(d_output, met.value.T), lse, delta, met.factors)[1]


def _with_whole_side_tiles(tensors: StepTensors, keys: int) -> StepTensors:
    """The side keys filled up to whole tiles with keys that no query sees."""
    if tensors.side_key is None:
        return tensors
    after = int(padding_to_multiple(tensors.side_key.shape[2], keys))
    if after == 0:
        return tensors
    bias = tensors.side_bias
    return tensors._replace(
        side_key=pad_axis(tensors.side_key, 2, after=after),
        side_value=pad_axis(tensors.side_value, 2, after=after),
        side_mask=ops.pad(tensors.side_mask, ((0, 0), (0, after)), constant_values=MASKED),
        side_bias=None if bias is None else pad_axis(bias, 3, after=after),
    )


def _with_transposed_bias(inputs: _Inputs) -> _Inputs:
    """The window's bias as (H, Y, C)."""
    bias = inputs.tensors.window_bias
    if bias is None:
        return inputs
    return inputs._replace(tensors=inputs.tensors._replace(window_bias=ops.swapaxes(bias, 1, 2)))


def _program(axis: int) -> Tensor:
    from jax.experimental import pallas as pl

    return pl.program_id(axis)


def _loop(first: Tensor, end: Tensor, body: Callable[[Tensor, Tensor], Tensor], start: Tensor) -> Tensor:
    import jax

    return jax.lax.fori_loop(first, end, body, start)

"""The feed-forward part of a transformer block, plain or gated."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.devices import device_kind
from tfmodels.backend.precision import overflow_safe_dtype
from tfmodels.backend.scan import can_reuse, scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.blocks import merge_blocks, split_into_blocks
from tfmodels.layers.composite import CompositeLayer
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.projection import projection
from tfmodels.utils.checks import check_positive


def _gelu_tanh(x: Tensor) -> Tensor:
    return ops.gelu(x, approximate=True)


def _gelu_erf(x: Tensor) -> Tensor:
    return ops.gelu(x, approximate=False)


CHUNK_LENGTH = 2048
"""The most tokens per chunk outside training: a long document's hidden values would be its largest tensors."""
# A TPU's compiler joins norms and residuals to a product, but not to one in a loop, and has memory for longer chunks.
_LONGER_ON_TPUS = 4

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _gelu_erf,
    "gelu_new": _gelu_tanh,
    "relu": ops.relu,
    "silu": ops.silu,
}


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The activation with transformers' name `name`; `ValueError` for an unknown one.

    >>> float(activation_function("relu")(-1.0))
    0.0
    """
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(_ACTIVATIONS)}. Received: activation={name!r}")
    return _ACTIVATIONS[name]


def _chunk_length(batch: int | Any, length: int | Any) -> int | None:
    """Tokens of each document in a chunk, all chunks alike; None: one chunk, which an unknown length has to be.

    >>> _chunk_length(1, 2048), _chunk_length(1, 2049)
    (None, 1025)
    """
    # For an unknown size TensorFlow's graphs have None and JAX a symbol.
    if not isinstance(length, int):
        return None
    kind = device_kind()
    # A CPU's caches hold the tokens of all documents, or do not.
    tokens = length * batch if kind == "cpu" and isinstance(batch, int) else length
    chunks = -(-tokens // (CHUNK_LENGTH * (_LONGER_ON_TPUS if kind == "tpu" else 1)))
    chunk = -(-length // max(1, chunks))
    return None if chunk >= length else chunk


@keras.saving.register_keras_serializable("tfmodels")
class FeedForward(CompositeLayer):
    """Two projections with an activation between them; gated, the activation is multiplied by a third projection.

    Plain: `wo(dropout(act(wi(x))))` (Vaswani et al. 2017, section 3.3); gated: `wo(dropout(act(wi(x)) * wi_linear(x)))`
    (Shazeer 2020).

    Args:
        hidden_size: width between the projections.
        activation: "gelu", "gelu_new", "relu" or "silu".
        gated: use the gated form.
        use_bias: give the projections biases.
        dropout: rate after the activation, during training.
        safe_output: keep the output projection in float32 under float16 (T5's pass float16's largest number).
        input_stddev, output_stddev: standard deviations of the initial kernels.

    Call with (B, L, E); returns (B, L, E) in the compute dtype, or float32 under `safe_output` and float16.

    >>> FeedForward(16, "relu", gated=True)(ops.ones((1, 3, 8))).shape[2]
    8
    """

    summing_projections: ClassVar[tuple[str, ...]] = ("wo",)

    def __init__(
        self,
        hidden_size: int,
        activation: str,
        gated: bool = False,
        use_bias: bool = False,
        dropout: float = 0.0,
        safe_output: bool = False,
        input_stddev: float = 0.02,
        output_stddev: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive("hidden_size", hidden_size)
        self.hidden_size = hidden_size
        self.activation = activation
        self.activate = activation_function(activation)
        self.gated = gated
        self.use_bias = use_bias
        self.dropout = dropout
        self.safe_output = safe_output
        self.input_stddev = input_stddev
        self.output_stddev = output_stddev
        self.hidden_dropout = Dropout(dropout, dtype=self.dtype_policy, name="hidden_dropout")

    def build(self, inputs_shape: Any) -> None:
        """Create the projections."""
        self.wi = self._projection("wi", self.hidden_size, self.input_stddev, self.dtype_policy)
        self.wi.build(inputs_shape)
        if self.gated:
            self.wi_linear = self._projection("wi_linear", self.hidden_size, self.input_stddev, self.dtype_policy)
            self.wi_linear.build(inputs_shape)
        output_dtype = overflow_safe_dtype(self.dtype_policy) if self.safe_output else self.dtype_policy
        self.wo = self._projection("wo", inputs_shape[-1], self.output_stddev, output_dtype)
        self.wo.build((*inputs_shape[:-1], self.hidden_size))

    def _projection(self, name: str, units: int, stddev: float, policy: keras.DTypePolicy) -> keras.layers.Dense:
        return projection(name, units, stddev, self.use_bias, policy)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Transform each token by itself; see the class docstring."""
        batch, length, _ = inputs.shape
        chunk = _chunk_length(batch, length)
        if training or chunk is None:
            return self._transform(inputs, training)
        blocks = ops.transpose(split_into_blocks(inputs, chunk, axis=1), (1, 0, 2, 3))  # (N, B, C, E)
        output = (tuple(blocks.shape)[1:], self.wo.compute_dtype)
        _, (transformed,) = scan(
            lambda index, _, block: ([], [self._transform(block, training)]),
            [],
            [output],
            blocks.shape[0],
            [blocks],
            reuse={0: 0} if can_reuse(output, blocks) else {},
        )
        return merge_blocks(ops.transpose(transformed, (1, 0, 2, 3)), length, axis=1)  # (N, B, C, E) -> (B, L, E)

    def _transform(self, inputs: Tensor, training: bool | None) -> Tensor:
        hidden = self.activate(self.wi(inputs))
        if self.gated:
            hidden = hidden * self.wi_linear(inputs)
        return self.wo(self.hidden_dropout(hidden, training=training))

    # Trace the call, as Keras does without `compute_output_shape`: the call checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, inputs_shape: Any) -> tuple[Any, ...]:
        """(B, L, E), as the input."""
        return tuple(inputs_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "activation": self.activation,
            "gated": self.gated,
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "safe_output": self.safe_output,
            "input_stddev": self.input_stddev,
            "output_stddev": self.output_stddev,
        }

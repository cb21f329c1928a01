"""The decoder's attention: over target tokens with a static cache, and over the document's tokens.

In signatures that serve both, S is the number of keys: the document's tokens, or the cache's M places.
"""

from functools import partial
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.dense_attention import dense_attention, dense_probabilities
from tfmodels.layers.attention.heads import scale_heads
from tfmodels.layers.blocks import merge_heads, split_heads
from tfmodels.layers.composite import CompositeLayer
from tfmodels.layers.dropout import hash_dropout
from tfmodels.layers.projection import projection
from tfmodels.utils.checks import check_positive

KeysValues = tuple[Tensor, Tensor]


def write_step(cache: KeysValues, step: KeysValues, position: Tensor | int) -> KeysValues:
    """Write the keys and values of new tokens into a cache.

    Args:
        cache: keys (R, H, D, M) and values (R, H, M, D).
        step: keys (R, H, D, T) and values (R, H, T, D) of the new tokens.
        position: int32 scalar, the place of the first new token in the cache.

    Returns:
        The new cache.

    >>> cache = ops.zeros((1, 1, 2, 4)), ops.zeros((1, 1, 4, 2))
    >>> keys, values = write_step(cache, (ops.ones((1, 1, 2, 1)), ops.ones((1, 1, 1, 2))), 3)
    >>> ops.convert_to_numpy(values[0, 0, :, 0]).tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    # Selects and products, not `ops.slice_update`, which on TensorFlow is an XLA op that stock servers may not have.
    keys, values = step
    offset = ops.arange(ops.shape(cache[1])[2], dtype="int32") - position  # (M,)
    new_tokens = ops.shape(values)[2]
    is_here = ops.logical_and(offset >= 0, offset < new_tokens)  # (M,)
    if values.shape[2] != 1:  # one token is spread by broadcasting
        spread = ops.cast(ops.equal(offset[None, :], ops.arange(new_tokens, dtype="int32")[:, None]), values.dtype)
        keys, values = ops.matmul(keys, spread), ops.matmul(ops.swapaxes(spread, 0, 1), values)  # T -> M
    return ops.where(is_here, keys, cache[0]), ops.where(is_here[:, None], values, cache[1])


def write_beams(cache: KeysValues, step: KeysValues, position: Tensor | int) -> KeysValues:
    """Write the keys and values of one new token of each beam into a cache that the beams of a document share.

    Args:
        cache: keys (B, H, D, K * M) and values (B, H, K * M, D), M places for each beam.
        step: keys (B, H, D, K) and values (B, H, K, D) of the new tokens.
        position: int32 scalar, the place of the tokens among the M places of their beams.

    Returns:
        The new cache.

    >>> cache = ops.zeros((1, 1, 2, 6)), ops.zeros((1, 1, 6, 2))
    >>> keys, values = write_beams(cache, (ops.ones((1, 1, 2, 2)), ops.ones((1, 1, 2, 2))), 1)
    >>> ops.convert_to_numpy(values[0, 0, :, 0]).tolist()
    [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    """
    keys, values = step
    beams, places = keys.shape[3], cache[0].shape[3]
    _, heads, size, _ = cache[0].shape
    is_here = ops.equal(ops.arange(places // beams, dtype="int32"), position)  # (M,)
    split_keys = ops.reshape(cache[0], (-1, heads, size, beams, places // beams))  # (B, H, D, K, M)
    split_values = ops.reshape(cache[1], (-1, heads, beams, places // beams, size))  # (B, H, K, M, D)
    written_keys = ops.where(is_here, keys[..., None], split_keys)
    written_values = ops.where(is_here[:, None], values[:, :, :, None], split_values)
    return (
        ops.reshape(written_keys, (-1, heads, size, places)),  # (B, H, D, K * M)
        ops.reshape(written_values, (-1, heads, places, size)),  # (B, H, K * M, D)
    )


def per_row(probabilities: Tensor, rows: int | Tensor) -> Tensor:
    """Undo the fold of beams into the query axis: (B, H, K * T, S) -> (R, H, T, S) with `rows` = R = B * K."""
    documents, heads, queries, keys = ops.shape(probabilities)
    beams = rows // documents
    split = ops.reshape(probabilities, (documents, heads, beams, queries // beams, keys))  # (B, H, K, T, S)
    return ops.reshape(ops.transpose(split, (0, 2, 1, 3, 4)), (rows, heads, queries // beams, keys))  # (R, H, T, S)


@keras.saving.register_keras_serializable("tfmodels")
class CachedAttention(CompositeLayer):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2) whose keys and values can be cached.

    Keys are kept as (B, H, D, S) and values as (B, H, S, D), the layout of the factors of a decoding step's products.

    Args:
        num_heads, head_size: H and D.
        use_bias: give the projections biases.
        scale_query: divide the query by sqrt(D) (T5 does not).
        dropout: rate on the attention probabilities, during training.
        query_stddev, key_value_stddev, output_stddev: standard deviations of the initial kernels.

    Call arguments:
        hidden_states: (B, T, E), the queries.
        keys_values: keys (B, H, D, S) and values (B, H, S, D), from `project_keys_values`; None: the projections of
            `key_value_states`.
        attention_mask: bool, broadcastable to (B, H, T, S); None: everything is visible.
        position_bias: float32, broadcastable to (B, H, T, S), added to the scores.
        head_mask: (H,), 0 for masked heads; None: all heads count.
        key_value_states: (B, S, E), the source of keys and values if `keys_values` is None; None: `hidden_states`.

    Returns:
        (B, T, E) in the compute dtype.

    >>> layer = CachedAttention(num_heads=2, head_size=4)
    >>> layer(ops.ones((1, 3, 8))).shape[1]
    3
    """

    summing_projections: ClassVar[tuple[str, ...]] = ("out_proj",)

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        use_bias: bool = True,
        scale_query: bool = True,
        dropout: float = 0.0,
        query_stddev: float = 0.02,
        key_value_stddev: float = 0.02,
        output_stddev: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive("num_heads", num_heads)
        check_positive("head_size", head_size)
        self.num_heads = num_heads
        self.head_size = head_size
        self.use_bias = use_bias
        self.scale_query = scale_query
        self.dropout = dropout
        self.query_stddev = query_stddev
        self.key_value_stddev = key_value_stddev
        self.output_stddev = output_stddev
        self.attention_dropout = keras.layers.Dropout(dropout, dtype="float32", name="attention_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Create the four projections."""
        width, inner = hidden_states_shape[-1], self.num_heads * self.head_size
        self.q_proj = self._projection("q_proj", inner, self.query_stddev)
        self.k_proj = self._projection("k_proj", inner, self.key_value_stddev)
        self.v_proj = self._projection("v_proj", inner, self.key_value_stddev)
        self.out_proj = self._projection("out_proj", width, self.output_stddev)
        for part in (self.q_proj, self.k_proj, self.v_proj):
            part.build(hidden_states_shape)
        self.out_proj.build((*hidden_states_shape[:-1], inner))

    def _projection(self, name: str, units: int, stddev: float) -> keras.layers.Dense:
        return projection(name, units, stddev, self.use_bias, self.dtype_policy)

    def project_keys_values(self, states: Tensor) -> KeysValues:
        """Project `states` (B, S, E) to keys (B, H, D, S) and values (B, H, S, D)."""
        keys = ops.swapaxes(split_heads(self.k_proj(states), self.num_heads), 2, 3)  # (B, H, S, D) -> (B, H, D, S)
        return keys, split_heads(self.v_proj(states), self.num_heads)

    def call(
        self,
        hidden_states: Tensor,
        keys_values: KeysValues | None = None,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
        key_value_states: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend; see the class docstring."""
        if keys_values is None:
            keys_values = self.project_keys_values(hidden_states if key_value_states is None else key_value_states)
        keys, values = keys_values
        dropout = hash_dropout(self.attention_dropout, training)
        query = self._query(hidden_states)
        output = dense_attention(query, keys, values, attention_mask, position_bias, dropout, bool(training))
        return self.out_proj(merge_heads(output if head_mask is None else scale_heads(output, head_mask)))

    def probabilities(
        self,
        hidden_states: Tensor,
        keys_values: KeysValues | None = None,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
    ) -> Tensor:
        """The attention probabilities of the call without dropout, scaled by the head mask.

        Args: as in the call.

        Returns:
            float32 (B, H, T, S).
        """
        keys, _ = keys_values if keys_values is not None else self.project_keys_values(hidden_states)
        probabilities = dense_probabilities(self._query(hidden_states), keys, attention_mask, position_bias)
        return probabilities if head_mask is None else scale_heads(probabilities, head_mask)

    def _query(self, hidden_states: Tensor) -> Tensor:
        query = self.q_proj(hidden_states)
        return split_heads(query * self.head_size**-0.5 if self.scale_query else query, self.num_heads)

    def attend_per_document(
        self,
        hidden_states: Tensor,
        keys_values: KeysValues | None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        key_value_states: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend from several beams to one document's keys and values, shared by the beams.

        The beams of a document are folded into the query axis: (R, T, E) becomes (B, K * T, E).

        Args:
            hidden_states: (R, T, E), the beams of a document next to each other.
            keys_values: keys (B, H, D, S) and values (B, H, S, D); None: the projections of `key_value_states`.
            attention_mask: bool (B, 1, 1, S), or None.
            head_mask: (H,), or None.
            key_value_states: (B, S, E). In training the keys and values are recomputed for the gradient: for a long
                document they would be a decoder's largest tensors by far.
            training: as in Keras.

        Returns:
            (R, T, E).
        """
        call = partial(remat_layer, self) if keys_values is None else self.call
        documents = ops.shape(key_value_states if keys_values is None else keys_values[0])[0]
        folded = _folded(hidden_states, documents)  # (B, K * T, E)
        output = call(folded, keys_values, attention_mask, None, head_mask, key_value_states, training=training)
        return ops.reshape(output, ops.shape(hidden_states))

    def probabilities_per_document(
        self,
        hidden_states: Tensor,
        keys_values: KeysValues | None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        key_value_states: Tensor | None = None,
    ) -> Tensor:
        """The probabilities of `attend_per_document`, with the same arguments: float32 (R, H, T, S)."""
        keys_values = keys_values or self.project_keys_values(key_value_states)
        folded = _folded(hidden_states, ops.shape(keys_values[0])[0])
        probabilities = self.probabilities(folded, keys_values, attention_mask, None, head_mask)  # (B, H, K * T, S)
        return per_row(probabilities, ops.shape(hidden_states)[0])

    # Trace the call, as Keras does without `compute_output_shape`: the call checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, T, E), as the queries."""
        return tuple(hidden_states_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_size": self.head_size,
            "use_bias": self.use_bias,
            "scale_query": self.scale_query,
            "dropout": self.dropout,
            "query_stddev": self.query_stddev,
            "key_value_stddev": self.key_value_stddev,
            "output_stddev": self.output_stddev,
        }


def _folded(hidden_states: Tensor, documents: int | Tensor) -> Tensor:
    """(R, T, E) -> (B, K * T, E)."""
    rows, length, width = ops.shape(hidden_states)
    return ops.reshape(hidden_states, (documents, rows // documents * length, width))

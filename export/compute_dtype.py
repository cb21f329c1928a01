"""A model that computes in 16 bits, for an export; the model itself stays as it is."""

from typing import Literal

import keras

from tfmodels.backend.autocast import stored_values
from tfmodels.modeling.seq2seq import Seq2SeqModel

ComputeDtype = Literal["bfloat16"] | None
COMPUTE_DTYPES = (None, "bfloat16")


def computing_in(model: Seq2SeqModel, dtype: ComputeDtype) -> Seq2SeqModel:
    """Return a copy of a model whose weights have a type and whose layers compute in it, or the model itself.

    Softmax, norms and log-probabilities stay in float32 inside, as in training in 16 bits. On a CPU with products in 16
    bits (AVX512_BF16 or AMX) an export of the copy is smaller in memory and not slower, on another it is slower.

    Args:
        model: the model.
        dtype: None, the model's own, or "bfloat16".

    Raises:
        ValueError: another dtype, or a model whose copy has other weights.
    """
    if dtype not in COMPUTE_DTYPES:
        raise ValueError(f"compute_dtype must be one of {COMPUTE_DTYPES}. Received: compute_dtype={dtype!r}")
    if dtype is None:
        return model
    copy = type(model).from_config({**model.get_config(), "dtype": dtype})
    shapes, copied = ([tuple(variable.shape) for variable in one.variables] for one in (model, copy))
    if shapes != copied:
        raise ValueError(f"compute_dtype needs a model that its own config rebuilds. Received: {type(model).__name__}")
    for variable, value in zip(copy.variables, stored_values(model.variables), strict=True):
        variable.assign(keras.ops.cast(value, variable.dtype))
    if hasattr(model, "generation_config"):
        copy.generation_config = model.generation_config
    return copy

"""Where a computation must leave the policy's 16-bit type."""

from typing import Any

import keras


def overflow_safe_dtype(policy: Any) -> Any:
    """Policy for T5's norms and feed-forward output, whose activations pass 65,504, float16's largest number.

    float32 under float16 compute, the given policy otherwise (bfloat16 has float32's range).

    >>> overflow_safe_dtype(keras.DTypePolicy("mixed_float16")).name
    'float32'
    >>> overflow_safe_dtype(keras.DTypePolicy("mixed_bfloat16")).name
    'mixed_bfloat16'
    """
    return keras.DTypePolicy("float32") if policy.compute_dtype == "float16" else policy

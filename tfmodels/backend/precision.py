"""Computations that must leave the policy's 16-bit dtype."""

import keras
from keras import ops

from tfmodels.backend.devices import device_kind
from tfmodels.backend.types import Tensor


def check_policy(policy: keras.DTypePolicy) -> None:
    """Raise `ValueError` for a policy whose numbers the backend would silently make smaller."""
    policies = [policy, *policy.values()] if isinstance(policy, keras.dtype_policies.DTypePolicyMap) else [policy]
    dtypes = {dtype for each in policies for dtype in (each.compute_dtype, each.variable_dtype)}
    if keras.backend.backend() == "jax" and "float64" in dtypes:
        import jax

        if not jax.config.jax_enable_x64:
            raise ValueError(
                "dtype must be of at most 32 bits, as JAX has no others unless jax_enable_x64 is set. "
                f"Received: dtype={policy.name!r}"
            )


def overflow_safe_dtype(policy: keras.DTypePolicy) -> keras.DTypePolicy:
    """The policy of T5's norms and feed-forward output, whose activations exceed 65,504, float16's largest number.

    Float32 under float16 compute, otherwise `policy` itself (bfloat16 has float32's range); in a map, each policy.

    >>> overflow_safe_dtype(keras.DTypePolicy("mixed_float16")).name
    'float32'
    >>> overflow_safe_dtype(keras.DTypePolicy("mixed_bfloat16")).name
    'mixed_bfloat16'
    """
    if isinstance(policy, keras.dtype_policies.DTypePolicyMap):
        safe = {path: overflow_safe_dtype(each) for path, each in policy.items()}
        return keras.dtype_policies.DTypePolicyMap(overflow_safe_dtype(policy.default_policy), safe)
    return keras.DTypePolicy("float32") if policy.compute_dtype == "float16" else policy


def float32_product(left: Tensor, right: Tensor) -> Tensor:
    """The matrix product of 16- or 32-bit factors (..., X, Y) and (..., Y, Z), summed and returned in float32.

    An accelerator multiplies in 16 bits, under TensorFlow in programs of XLA; elsewhere the factors are cast first.
    Under TensorFlow only attention's own gradient may lie around it: the product in 16 bits has none that works.

    >>> halves = ops.full((1, 3), 0.5, dtype="bfloat16")
    >>> float(float32_product(halves, ops.transpose(halves))[0, 0])
    0.75
    """
    if keras.backend.backend() == "jax":
        import jax.numpy as jnp

        return jnp.matmul(left, right, preferred_element_type="float32")
    if left.dtype == right.dtype and left.dtype.size == 2 and device_kind() != "cpu" and _is_traced_for_xla():
        import tensorflow as tf

        return tf.raw_ops.BatchMatMulV3(x=left, y=right, Tout=tf.float32)
    # TensorFlow's other product returns the type of its factors; products of 16-bit numbers are exact in float32.
    return ops.matmul(ops.cast(left, "float32"), ops.cast(right, "float32"))


def _is_traced_for_xla() -> bool:
    """Whether TensorFlow traces a program that XLA compiles: it alone has a kernel of `BatchMatMulV3` for 16 bits."""
    import tensorflow as tf
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

    return not tf.executing_eagerly() and bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))

"""The size of a loop's step, by kind of device."""

import functools

import keras

# A step of 4,096 queries keeps a large accelerator busy, and its scores fit beside the model (reasoned, not measured).
_QUERIES_PER_STEP = {"cpu": 1, "accelerator": 4096}


def blocks_per_step(block_length: int) -> int:
    """The number of query blocks in one step of the attention loop.

    One on a CPU, whose caches hold one block's scores; elsewhere the blocks of a few thousand queries.
    """
    return max(1, _QUERIES_PER_STEP[_device_kind()] // block_length)


@functools.cache
def _device_kind() -> str:
    if keras.backend.backend() == "jax":
        import jax

        return "cpu" if jax.default_backend() == "cpu" else "accelerator"
    import tensorflow as tf

    return "cpu" if not any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU")) else "accelerator"

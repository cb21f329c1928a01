"""What kind of device a program is compiled for, and what follows from it.

A program may be compiled, or exported, for a device that is not there: `compiling_for` says so.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import keras

# Queries of one step of the attention loop; never less than one block. A CPU's caches hold the scores of one block. A
# TPU's on-chip memory holds those of a few, and its compiler rates one long block of 256 queries best of 128, 256 and
# 512 (docs/performance.md). A GPU needs thousands of queries at a time, as each step costs several launches. There
# 4,096 queries were measured, and no other number.
_QUERIES_PER_STEP = {"cpu": 1, "gpu": 4096, "tpu": 256}
# The most bytes of a step's float32 scores. A v5e's on-chip memory of 128 MiB holds them, what is made of them, and the
# step's keys and values (docs/performance.md).
_SCORE_BYTES = {"tpu": 64 << 20}
KINDS = tuple(_QUERIES_PER_STEP)
_PLATFORMS = {"cuda": "gpu", "rocm": "gpu"}

_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("compiling_for", default=None)


@contextlib.contextmanager
def compiling_for(kind: str) -> Iterator[None]:
    """A scope in which programs are traced for a kind of device, whichever devices are there.

    What was traced before keeps its kind. JAX does not trace a jitted function again for the same shapes: make a new
    one for each kind.

    Args:
        kind: "cpu", "gpu" or "tpu".

    Raises:
        ValueError: another kind.

    >>> with compiling_for("tpu"):
    ...     device_kind()
    'tpu'
    """
    token = _chosen.set(_checked(kind))
    try:
        yield
    finally:
        _chosen.reset(token)


def device_kind(platform: str | None = None) -> str:
    """The kind of device that is compiled for: "cpu", "gpu" or "tpu".

    That of the innermost `compiling_for`; else that of `platform`, as JAX names it; else that of the backend's default
    device.

    >>> device_kind("cuda")
    'gpu'
    """
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    if platform is not None:
        return _kind_of(platform)
    return _kind_in_jax() if keras.backend.backend() == "jax" else _kind_in_tensorflow()


def blocks_per_step(block_length: int, kind: str | None = None) -> int:
    """The number of query blocks in one step of the attention loop.

    One on a CPU, whose caches hold one block's scores; on a TPU 256 queries, on a GPU a few thousand.

    Args:
        block_length: queries of a block.
        kind: "cpu", "gpu" or "tpu"; None: `device_kind()`.

    Raises:
        ValueError: another kind.

    >>> blocks_per_step(128, "cpu"), blocks_per_step(128, "tpu"), blocks_per_step(128, "gpu")
    (1, 2, 32)
    """
    kind = device_kind() if kind is None else _checked(kind)
    return max(1, _QUERIES_PER_STEP[kind] // block_length)


def most_score_bytes(kind: str) -> int | None:
    """The most bytes of float32 scores that a step of the attention's loop should have; None: no limit.

    Args:
        kind: "cpu", "gpu" or "tpu".

    >>> most_score_bytes("cpu") is None
    True
    """
    return _SCORE_BYTES.get(_checked(kind))


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received: kind={kind!r}")
    return kind


def _kind_in_jax() -> str:
    import jax

    # A device, the name of a platform, or None.
    device = jax.config.jax_default_device
    return _kind_of(jax.default_backend() if device is None else getattr(device, "platform", device))


def _kind_of(platform: str) -> str:
    kind = _PLATFORMS.get(platform, platform)
    # Any other accelerator works like a GPU, as far as is known.
    return kind if kind in KINDS else "gpu"


@functools.cache
def _kind_in_tensorflow() -> str:
    import tensorflow as tf

    found = {device.device_type for device in tf.config.list_logical_devices()}
    return "tpu" if "TPU" in found else "gpu" if "GPU" in found else "cpu"

"""What TensorFlow Serving must be told to serve an export: flags, and how requests to it share batches."""

from collections.abc import Sequence

FILE_NAME = "batching_params.pbtxt"
"""Read from a version's folder by `--enable_per_model_batching_parameters`; a version without it is not batched."""

_MOST_DOCUMENTS = 4
# Both are marked as experimental in the server's sources. Without either it refuses what must be compiled.
_XLA_FLAGS = ("--xla_cpu_compilation_enabled=true",)


def server_flags(jit_compile: bool) -> tuple[str, ...]:
    """Flags that the server needs. On a GPU `--xla_gpu_compilation_enabled` stands for XLA's, and covers the CPU."""
    return _XLA_FLAGS if jit_compile else ()


def batching_params(batch_sizes: Sequence[int] | None) -> str:
    """The `BatchingParameters` of an export as a text proto; the number of threads is the server's own.

    Args:
        batch_sizes: documents that requests are filled up to; None: any number.
    """
    most = _MOST_DOCUMENTS if batch_sizes is None else max(batch_sizes)
    return (
        f"max_batch_size {{ value: {most} }}\n"
        "batch_timeout_micros { value: 20000 }\n"
        "max_enqueued_batches { value: 16 }\n"
        "pad_variable_length_inputs: true\n"
    )

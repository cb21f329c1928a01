"""Our side of a job: tfmodels on TensorFlow under XLA, or on JAX.

`KERAS_BACKEND` says which backend is loaded; see `benchmarks.worker.set_environment`.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.decoding import check_made
from benchmarks.models import NEW_TOKENS, class_name, config_fields
from benchmarks.routine import Arrays, Routine
from benchmarks.task import Task

LEARNING_RATE = 1e-4


def make_model(task: Task) -> Any:
    """The model with a language model's head and random weights."""
    import tfmodels

    keras.utils.set_random_seed(0)
    fields = config_fields(task.family, task.size, task.length, task.half_window)
    config = getattr(tfmodels, class_name(task.family, "Config"))(**fields)
    dtype = f"mixed_{task.dtype}" if task.job == "train" and task.dtype != "float32" else task.dtype
    model = getattr(tfmodels, class_name(task.family, "ForConditionalGeneration"))(config, dtype=dtype)
    if task.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model


def make_routine(task: Task, model: Any = None) -> Routine:
    """The job, ready to run.

    Args:
        task: what to do.
        model: from `make_model`; None: a new one.

    Raises:
        ValueError: another backend is loaded than the task's, or the job does not run on it.
    """
    if keras.backend.backend() != task.backend:
        raise ValueError(
            f"KERAS_BACKEND must be {task.backend}, as --backend says. Received: {keras.backend.backend()}"
        )
    if task.job == "decode" and task.backend != "tensorflow":
        raise ValueError(f"decode must run with --backend tensorflow. Received: --backend {task.backend}")
    model = make_model(task) if model is None else model
    if task.job == "train":
        return Routine(_to_backend, _train(model), _device_peak_bytes)
    if task.job == "decode":
        run, start = _decode(model, task, NEW_TOKENS[task.size]), _decode(model, task, 1)
        return Routine(_to_backend, run, _device_peak_bytes, start)
    encode = _encode_on_jax(model) if task.backend == "jax" else _encode_on_tensorflow(model)
    return Routine(_to_backend, encode, _device_peak_bytes)


def _to_backend(arrays: Arrays) -> dict[str, Any]:
    return {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}


def _encode_on_tensorflow(model: Any) -> Callable[[Any], Any]:
    import tensorflow as tf

    encode = tf.function(lambda inputs: model.encode(**inputs)["last_hidden_state"], jit_compile=True, autograph=False)
    return lambda inputs: encode(inputs).numpy()


def _encode_on_jax(model: Any) -> Callable[[Any], Any]:
    import jax

    encoder = model.encoder
    trainable = [variable.value for variable in encoder.trainable_variables]
    others = [variable.value for variable in encoder.non_trainable_variables]

    @jax.jit
    def encode(trainable: Any, others: Any, inputs: Any) -> Any:
        outputs, _ = encoder.stateless_call(trainable, others, **inputs)
        return outputs["last_hidden_state"]

    return lambda inputs: encode(trainable, others, inputs).block_until_ready()


def _train(model: Any) -> Callable[[Any], Any]:
    import tfmodels

    model.compile(optimizer=tfmodels.AdamW(LEARNING_RATE), jit_compile=True)

    def step(inputs: Any) -> None:
        model.train_on_batch(inputs)
        if keras.backend.backend() == "jax":
            import jax

            jax.block_until_ready([variable.value for variable in model.variables])

    return step


def _decode(model: Any, task: Task, tokens: int) -> Callable[[Any], Any]:
    # As long as the longest search: none ends early.
    search = {"num_beams": task.beams, "max_new_tokens": tokens, "min_length": tokens + 1}

    def run(inputs: dict[str, Any]) -> None:
        found = model.generate(
            encoder_outputs={"last_hidden_state": inputs["states"]},
            attention_mask=inputs["attention_mask"],
            jit_compile=not task.without_xla,
            **search,
        )
        check_made(np.asarray(found), tokens, model.config.eos_token_id)

    return run


def _device_peak_bytes() -> int | None:
    """Of JAX's first device; None where that is the CPU, which keeps no count of its own."""
    if keras.backend.backend() != "jax":
        return None
    import jax

    statistics = jax.devices()[0].memory_stats()
    return int(statistics["peak_bytes_in_use"]) if statistics else None

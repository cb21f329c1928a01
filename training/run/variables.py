"""The variables of training in one safetensors file: compared with the model's, never guessed."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfmodels.backend.keras_internals import sublayers
from tfmodels.checkpoints import write_safetensors
from tfmodels.checkpoints.formats.safetensors_file import SafetensorsFile


def training_variables(model: Any) -> dict[str, keras.Variable]:
    """All variables of a compiled and built model that `save_pretrained` does not hold, by name.

    The optimizer's, the seeds of dropout, and, under LoRA, the weights themselves: `save_pretrained` adds the factors
    to the kernels.
    """
    variables = {f"optimizer.{index:04d}": each for index, each in enumerate(model.optimizer.variables)}
    weights, metrics = _ids(model.weights), _ids(model.metrics_variables)
    others = [each for each in model.variables if id(each) not in weights | metrics]
    variables |= {f"seed.{index:04d}": each for index, each in enumerate(others)}
    if any(getattr(layer, "lora_enabled", False) for layer in sublayers(model)):
        variables |= {f"weight.{index:04d}": each for index, each in enumerate(model.weights)}
    return variables


def save_variables(path: Path, variables: dict[str, keras.Variable]) -> None:
    """Write variables under their names."""
    write_safetensors(path, {name: keras.ops.convert_to_numpy(each.value) for name, each in variables.items()})


def load_variables(path: Path, variables: dict[str, keras.Variable]) -> None:
    """Read the variables that `save_variables` wrote.

    Raises:
        ValueError: variables of other names, shapes or types.
    """
    with SafetensorsFile(path) as reader:
        stored = {name: (reader.shape(name), str(reader.dtype(name))) for name in reader.names()}
        # Keras numbers the models of a process, so that a variable's path differs from one process to the next.
        expected = {name: (tuple(each.shape), _dtype(each)) for name, each in variables.items()}
        if stored != expected:
            names = sorted(name for name in {*stored, *expected} if stored.get(name) != expected.get(name))
            pairs = "; ".join(f"{name}: {stored.get(name)} for {expected.get(name)}" for name in names[:3])
            raise ValueError(f"{path} must hold the variables of this model and optimizer. Received: {pairs}")
        for name, variable in variables.items():
            variable.assign(reader.read(name))


def checkpoint_bytes(model: Any) -> int:
    """About as many bytes as a checkpoint of a compiled and built model takes."""
    variables = {id(each): each for each in [*model.weights, *training_variables(model).values()]}
    return sum(math.prod(each.shape) * np.dtype(_dtype(each)).itemsize for each in variables.values())


def _dtype(variable: keras.Variable) -> str:
    return str(np.asarray(keras.ops.convert_to_numpy(variable.value)).dtype)


def _ids(variables: Sequence[keras.Variable]) -> set[int]:
    return {id(each) for each in variables}

"""Ask a SavedModel, with TensorFlow and its text ops alone: neither keras nor tfmodels is imported."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.client.quiet import import_tensorflow_quietly
from export.client.signature import Field, Signature, decoded_outputs, find_signature


class SavedModel:
    """A loaded SavedModel, asked as `export.client.server_client`'s clients ask a server.

    Args:
        folder: a version's folder, or the folder above it, of which the highest version is taken.

    Raises:
        ValueError: no SavedModel there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        # Its functions hold no variable: without the object they could not be called.
        self._loaded = load_saved_model(latest_version(folder))
        self._signatures = {
            name: Signature(_fields(function.structured_input_signature[1]), _fields(function.structured_outputs))
            for name, function in self._loaded.signatures.items()
        }

    def __call__(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """The answers to a batch, by output; strings as `str` in arrays of objects.

        Args:
            signature: one of `signatures()`.
            **inputs: lists or arrays, one row per document.

        Raises:
            ValueError: a signature that is not there, inputs that are not its own, or that the model refuses.
            RuntimeError: the model failed.
        """
        import tensorflow as tf

        arrays = find_signature(self.signatures(), signature).arrays(inputs)
        try:
            outputs = self._loaded.signatures[signature](**{name: tf.constant(x) for name, x in arrays.items()})
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"the model refused it: {_reason(str(error.message))}") from None
        except tf.errors.OpError as error:
            raise RuntimeError(f"the model failed: {error.message}") from None
        return decoded_outputs({name: value.numpy() for name, value in outputs.items()})

    def signatures(self) -> dict[str, Signature]:
        """Inputs and outputs of each signature."""
        return self._signatures


def _reason(message: str) -> str:
    """Of an error of a graph the line that says what is wrong: between where it was built, and the node.

    >>> _reason("Graph execution error:\\n\\nDetected at node a\\n  File b\\nIt is 5.\\n\\t [[{{node a}}]] [Op:c]")
    'It is 5.'
    """
    lines = message.partition("\n\t [[")[0].strip().splitlines()
    return lines[-1] if lines else message


def _fields(specs: Mapping[str, Any]) -> dict[str, Field]:
    return {name: Field(np.dtype(spec.dtype.as_numpy_dtype), spec.shape.rank) for name, spec in specs.items()}


def load_saved_model(version: Path) -> Any:
    """The SavedModel of a version's folder, as `tf.saved_model.load` gives it, with the ops of tensorflow-text.

    Raises:
        ValueError: no whole SavedModel there.
    """
    import tensorflow as tf

    if "tensorflow_text" not in sys.modules:
        _load_text_ops()
    # It would warn that no gradient of the model was saved, which nobody asks for here.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return tf.saved_model.load(str(version))
    except tf.errors.OpError as error:
        raise ValueError(f"DIR must hold a whole SavedModel. Received: {version} ({error.message})") from None
    finally:
        logger.setLevel(level)


def latest_version(folder: str | os.PathLike[str]) -> Path:
    """The folder itself when it holds a SavedModel, else its highest numbered one."""
    path = Path(folder)
    if (path / "saved_model.pb").is_file():
        return path
    versions = [child for child in path.glob("*/") if child.name.isdigit() and (child / "saved_model.pb").is_file()]
    if not versions:
        raise ValueError(f"DIR must hold a SavedModel or numbered versions of one. Received: DIR={os.fspath(folder)}")
    return max(versions, key=lambda child: int(child.name))


_FRESH_PROCESS = """
import json, sys
from export.client.saved_model_client import SavedModel, import_server_libraries
import_server_libraries()
request = json.load(sys.stdin)
found = SavedModel(request["folder"])(**request["inputs"])
json.dump({name: values.tolist() for name, values in found.items()}, sys.stdout)
"""


def import_server_libraries() -> None:
    """Import TensorFlow with keras and tfmodels shut out of the process.

    TensorFlow imports keras of its own accord where it is installed, and does without it where it is not, as on a
    server. A module that is None in `sys.modules` cannot be imported.

    Raises:
        RuntimeError: one of them is imported already.
    """
    for name in ("keras", "tfmodels"):
        if sys.modules.get(name) is not None:
            raise RuntimeError(f"this process must not have imported keras or tfmodels. It imported: {name}")
        sys.modules[name] = None  # type: ignore[assignment]
    import_tensorflow_quietly()


def _load_text_ops() -> None:
    """Register the ops of tensorflow-text from its libraries; its Python package would import keras."""
    import tensorflow as tf

    spec = importlib.util.find_spec("tensorflow_text")
    if spec is None or spec.origin is None:
        raise ImportError("tensorflow-text must be installed: the SavedModel's tokenizer uses its ops")
    for library in sorted(Path(spec.origin).parent.glob("python/ops/_*.so")):
        tf.load_op_library(str(library))


def ask_in_fresh_process(folder: str | os.PathLike[str], **inputs: Sequence[str]) -> dict[str, list[Any]]:
    """What `serving_default` answers in a new Python process that has neither keras nor tfmodels, as on a server.

    Args:
        folder: as of `SavedModel`.
        **inputs: texts by the signature's names.

    Raises:
        RuntimeError: the process failed, or tried to import one of them.
    """
    request = json.dumps({"folder": str(Path(folder).resolve()), "inputs": {k: list(v) for k, v in inputs.items()}})
    command = [sys.executable, "-c", _FRESH_PROCESS]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the SavedModel did not answer in a fresh process:\n{done.stderr}")
    return json.loads(done.stdout)

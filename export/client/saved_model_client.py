"""Ask a SavedModel with TensorFlow and its text ops alone: neither keras nor tfmodels is imported."""

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
from export.client.verification import Trust, verify
from export.client.version_folders import latest_version


class SavedModel:
    """A loaded SavedModel, called like the clients of `export.client.server_client`.

    Args:
        folder: a version's folder, or the folder above it with its highest version.
        trust: what it must prove before it is loaded, such as a signature; None: its hashes and its graph alone.

    Raises:
        ValueError: no SavedModel in the folder, or one that is not as it was written or signed.
    """

    def __init__(self, folder: str | os.PathLike[str], trust: Trust | None = None) -> None:
        # Kept because its functions hold no variable: they could not be called without it.
        self._loaded = load_saved_model(latest_version(folder), trust)
        self._signatures = {
            name: Signature(_fields(function.structured_input_signature[1]), _fields(function.structured_outputs))
            for name, function in self._loaded.signatures.items()
        }

    def __call__(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """Return the answers to a batch, by output; strings as `str` in arrays of objects.

        Args:
            signature: one of `signatures()`.
            **inputs: lists or arrays, one row per document.

        Raises:
            ValueError: an unknown signature, other inputs than the signature's, or inputs that the model refuses.
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
    """The line of a graph's error that gives the reason: between the traceback and the node.

    >>> _reason("Graph execution error:\\n\\nDetected at node a\\n  File b\\nIt is 5.\\n\\t [[{{node a}}]] [Op:c]")
    'It is 5.'
    """
    lines = message.partition("\n\t [[")[0].strip().splitlines()
    return lines[-1] if lines else message


def _fields(specs: Mapping[str, Any]) -> dict[str, Field]:
    return {name: Field(np.dtype(spec.dtype.as_numpy_dtype), spec.shape.rank) for name, spec in specs.items()}


def load_saved_model(version: Path, trust: Trust | None = None) -> Any:
    """Load the SavedModel of a version's folder by `tf.saved_model.load`, with the ops of tensorflow-text.

    Raises:
        ValueError: no whole SavedModel in the folder, or one that is not as it was written or signed.
    """
    import tensorflow as tf

    verify(version, trust)

    if "tensorflow_text" not in sys.modules:
        _load_text_ops()
    # TensorFlow would warn that no gradient of the model was saved; none is needed.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return tf.saved_model.load(str(version))
    except tf.errors.OpError as error:
        raise ValueError(f"DIR must hold a whole SavedModel. Received: {version} ({error.message})") from None
    finally:
        logger.setLevel(level)


_FRESH_PROCESS = """
import json, sys
from export.client.saved_model_client import SavedModel, import_server_libraries
import_server_libraries()
request = json.load(sys.stdin)
answer = SavedModel(request["folder"])(**request["inputs"])
json.dump({name: values.tolist() for name, values in answer.items()}, sys.stdout)
"""


def import_server_libraries() -> None:
    """Import TensorFlow with keras and tfmodels shut out of the process.

    TensorFlow imports keras by itself if it is installed, and works without it, as on a server. A module
    that is None in `sys.modules` cannot be imported.

    Raises:
        RuntimeError: keras or tfmodels is imported already.
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
    """Ask `serving_default` in a new Python process that has neither keras nor tfmodels, as on a server.

    Args:
        folder: see `SavedModel`.
        **inputs: texts by the signature's names.

    Raises:
        RuntimeError: the process failed, or tried to import keras or tfmodels.
    """
    request = json.dumps({"folder": str(Path(folder).resolve()), "inputs": {k: list(v) for k, v in inputs.items()}})
    command = [sys.executable, "-c", _FRESH_PROCESS]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the SavedModel did not answer in a fresh process:\n{done.stderr}")
    return json.loads(done.stdout)

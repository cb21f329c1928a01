"""Ask a SavedModel, with TensorFlow and its text ops alone: neither keras nor tfmodels is imported."""

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.quiet import import_tensorflow_quietly


@dataclass(frozen=True)
class Answer:
    """A summary, its score, and whether the document was longer than the longest exported length."""

    text: str
    score: float
    truncated: bool


class Summarizer:
    """A loaded SavedModel.

    Args:
        folder: a version's folder, or the folder above it, of which the highest version is taken.

    Raises:
        ValueError: no SavedModel there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        version = latest_version(folder)
        import tensorflow as tf

        if "tensorflow_text" not in sys.modules:
            _load_text_ops()
        self._tf = tf
        # It would warn that no gradient of the model was saved, which nobody asks for here.
        logger = logging.getLogger("absl")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            self._loaded: Any = tf.saved_model.load(str(version))
        except tf.errors.OpError as error:
            raise ValueError(f"DIR must hold a whole SavedModel. Received: {version} ({error.message})") from None
        finally:
            logger.setLevel(level)
        self._signature = self._loaded.signatures["serving_default"]

    def __call__(self, texts: Sequence[str]) -> list[Answer]:
        """Summaries of a batch of documents."""
        outputs = self._signature(text=self._tf.constant(list(texts), self._tf.string))
        rows = zip(outputs["text"].numpy(), outputs["score"].numpy(), outputs["truncated"].numpy(), strict=True)
        return [Answer(text.decode("utf-8"), float(score), bool(truncated)) for text, score, truncated in rows]


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
from export.client import Summarizer, import_server_libraries
import_server_libraries()
request = json.load(sys.stdin)
answers = Summarizer(request["folder"])(request["texts"])
json.dump([[answer.text, answer.score, answer.truncated] for answer in answers], sys.stdout)
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


def ask_in_fresh_process(folder: str | os.PathLike[str], texts: Sequence[str]) -> list[Answer]:
    """As `Summarizer`, in a new Python process that has neither keras nor tfmodels, as on a server.

    Raises:
        RuntimeError: the process failed, or tried to import one of them.
    """
    request = json.dumps({"folder": str(Path(folder).resolve()), "texts": list(texts)})
    command = [sys.executable, "-c", _FRESH_PROCESS]
    done = subprocess.run(command, input=request, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the SavedModel did not answer in a fresh process:\n{done.stderr}")
    return [Answer(*answer) for answer in json.loads(done.stdout)]

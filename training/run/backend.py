"""The import of Keras' backend, which takes seconds and talks."""

import os

from export.client.quiet import import_tensorflow_quietly


def import_backend() -> None:
    """Import the backend that `KERAS_BACKEND` names, TensorFlow without its start-up messages."""
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import_tensorflow_quietly()

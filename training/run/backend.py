"""The import of Keras' backend, which takes seconds and talks, and its compiled programs, which take minutes."""

import os
import sys

from export.client.quiet import import_tensorflow_quietly

_PROGRAMS = "tfmodels.backend.kept_programs"


def import_backend() -> None:
    """Import the backend that `KERAS_BACKEND` names, TensorFlow without its start-up messages, and keep its programs.

    Programs that another process has compiled are read from the disk; `TFMODELS_PROGRAMS=off` compiles each anew.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        import_tensorflow_quietly()
    from tfmodels.backend.kept_programs import keep_programs

    keep_programs()


def hand_over_programs() -> None:
    """Keep what has been compiled so far, for a process that ends at once."""
    kept = sys.modules.get(_PROGRAMS)
    if kept is not None:
        kept.hand_over_programs()

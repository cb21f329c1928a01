"""The import of Keras' backend, which takes seconds and talks, and its compiled programs, which take minutes."""

import os
import sys
import warnings

from export.client.quiet import import_tensorflow_quietly

_PROGRAMS = "tfmodels.backend.kept_programs"


def import_backend() -> None:
    """Import the backend that `KERAS_BACKEND` names, TensorFlow without its start-up messages, and keep its programs.

    Programs that another process has compiled are read from the disk; `TFMODELS_PROGRAMS=off` compiles each anew.
    """
    with warnings.catch_warnings(record=True) as caught:
        if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
            import_tensorflow_quietly(_keep_programs)
        else:
            _keep_programs()
    for warning in caught:  # not before: TensorFlow's messages are held back, and these with them
        warnings.warn(warning.message, stacklevel=2)


def _keep_programs() -> None:
    from tfmodels.backend.kept_programs import keep_programs

    keep_programs()


def hand_over_programs() -> None:
    """Keep what has been compiled so far, for a process that ends at once."""
    kept = sys.modules.get(_PROGRAMS)
    if kept is not None:
        kept.hand_over_programs()

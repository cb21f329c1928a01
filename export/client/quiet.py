"""Import TensorFlow without its start-up messages, which it writes past Python and past `TF_CPP_MIN_LOG_LEVEL`."""

import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back all output to file descriptor 2, and show it if the block raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def import_tensorflow_quietly(before_first_operation: Callable[[], object] = lambda: None) -> None:
    """Import tensorflow; later imports find it loaded.

    Args:
        before_first_operation: called when it is imported and has read none of its settings yet.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        with _without_collection():
            import tensorflow
        before_first_operation()
        # The first op starts the device, which has messages of its own.
        tensorflow.constant(0)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python would look again and again through what an import makes and keeps: a fifth of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

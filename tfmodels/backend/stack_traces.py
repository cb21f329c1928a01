"""Short Python stacks in TensorFlow's graphs.

TensorFlow keeps with each operation the Python stack that made it, and copies all its frames for each operation when a
graph becomes a program of XLA. A train step has tens of thousands of operations under some fifty frames, nearly all of
them in Keras and TensorFlow.
"""

import contextlib
import functools
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras

_LIBRARIES = ("keras", "tensorflow", "tfmodels")
# What pip installs may lie inside the standard library's folder.
_INSTALLED = ("site-packages", "dist-packages")
# The frame of TensorFlow's own function, and of the one in its place.
_FRAMES_OF_EXTRACTION = 2


class _Scopes(threading.local):
    """How many scopes of `short_stacks` lie around the code of this thread."""

    count = 0


_scopes = _Scopes()


@contextlib.contextmanager
def short_stacks() -> Iterator[None]:
    """A scope whose TensorFlow operations keep the stack as far as the last line outside of the libraries.

    That line is the user's: a call of `fit`, or a line of a layer of one's own. Errors of an operation name it, without
    the frames that follow in Keras, TensorFlow and tfmodels. Other threads, and other backends, see no difference.

    >>> with short_stacks():
    ...     x = keras.ops.ones(3)
    """
    if keras.backend.backend() == "tensorflow":
        _install()
    _scopes.count += 1
    try:
        yield
    finally:
        _scopes.count -= 1


@functools.cache
def _install() -> None:
    """Put `_extraction` in the place of TensorFlow's function, once; without that function there is nothing to do."""
    from tensorflow.python.util import tf_stack

    if hasattr(tf_stack, "extract_stack"):
        tf_stack.extract_stack = _extraction(tf_stack.extract_stack)


def _extraction(extract_stack: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow's function, which is told how many of the innermost frames to leave out."""

    def extract(stacklevel: int = 1) -> Any:
        if not _scopes.count:
            return extract_stack(stacklevel + 1)
        frame, skipped = sys._getframe(1), _FRAMES_OF_EXTRACTION
        # The outermost frame stays: XLA reads the last frame of each stack, and ends the process where there is none.
        while frame.f_back is not None and _is_in_library(frame.f_code.co_filename):
            frame, skipped = frame.f_back, skipped + 1
        return extract_stack(skipped)

    return extract


@functools.cache
def _is_in_library(filename: str) -> bool:
    if filename.startswith(_library_folders()):
        return True
    return filename.startswith(sysconfig.get_paths()["stdlib"]) and not any(name in filename for name in _INSTALLED)


@functools.cache
def _library_folders() -> tuple[str, ...]:
    files = (getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES)
    return tuple(f"{Path(file).parent}{os.sep}" for file in files if file)

"""A lock between processes, which the system takes back from one that is killed."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_WAIT_SECONDS = 0.2


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file."""
    try:
        import fcntl

        with path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return True
    return False


@contextmanager
def locked(path: Path, poll: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file, and wait for it before; `poll` is called while it waits.

    Warns:
        UserWarning: a file system without locks: then nothing keeps two processes apart.

    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp(), "a.lock"), lambda: None):
    ...     pass
    """
    try:
        import fcntl
    except ImportError:  # no POSIX system: finished stores are whole there, too, as they take their name at once
        yield
        return
    with path.open("a") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                poll()
                time.sleep(_WAIT_SECONDS)
            except OSError as error:
                warnings.warn(f"{path.parent} has no locks: start one process at a time ({error})", stacklevel=3)
                break
        # The file stays: were it removed, a process that waits for it and one that makes it anew would both hold it.
        yield

"""Writing versions of a served model: a numbered folder for each, whole or absent."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.client.version_folders import version_folders
from tfmodels.utils.files import PARTIAL, written_whole

_LOCK = ".export.lock"


def next_version(folder: Path) -> int:
    """The number above the highest version in a folder.

    >>> next_version(Path("no such folder"))
    1
    """
    return max((int(version.name) for version in version_folders(folder)), default=0) + 1


def check_is_new(target: Path) -> None:
    """Raise `FileExistsError` for a version that exists."""
    if target.exists():
        raise FileExistsError(f"path must not exist. Received: path={os.fspath(target)}")


@contextmanager
def new_version(target: Path, keep: int | None = None) -> Iterator[Path]:
    """Give a folder to write to, which takes the name `target` when the block ends without an exception.

    Leftovers of killed exports are removed, and with `keep` in the end all older versions but so many.
    One export at a time writes into a folder.

    Raises:
        FileExistsError: the version exists.
        BlockingIOError: another export is writing there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / _LOCK).open("w") as lock:
        try:
            # The lock is the process's: a killed one no longer holds it.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BlockingIOError(
                f"path must be in a folder that no other export writes to. Received: {target}"
            ) from None
        for left in target.parent.glob(f"{PARTIAL}*/"):
            shutil.rmtree(left, ignore_errors=True)
        check_is_new(target)
        with written_whole(target) as partial:
            partial.mkdir()
            yield partial
        if keep is not None:
            remove_old_versions(target.parent, target, keep)


def remove_old_versions(folder: Path, newest: Path, keep: int) -> list[Path]:
    """Remove all versions below `newest` but the `keep` highest of them; return the removed folders."""
    older = [version for version in version_folders(folder) if int(version.name) < int(newest.name)]
    removed = older[: max(len(older) - keep, 0)]
    for version in removed:
        # First out of the server's sight, whole, then away.
        hidden = version.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{version.name}")
        version.rename(hidden)
        shutil.rmtree(hidden)
    return removed

"""Files written whole or not at all: beside their final name, then renamed."""

import json
import math
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A name that no pattern for finished files matches, and no number.
PARTIAL = ".partial-"
_DEEPEST = 50


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, file or folder, which takes the name `path` when the block ends without an exception.

    A file replaces an earlier one; a folder must not exist yet. After an exception nothing is left; the remains of a
    killed process have names that start with `.partial-`.

    Raises:
        OSError: an unwritable folder around `path`, or an existing folder at `path`.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp(), "hello.txt")
    >>> with written_whole(target) as partial:
    ...     _ = partial.write_text("hello")
    >>> target.read_text()
    'hello'
    """
    target = Path(path)
    partial = target.with_name(f"{PARTIAL}{uuid.uuid4().hex}-{target.name}")
    try:
        yield partial
        os.replace(partial, target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def final_name(path: Path) -> str:
    """The name of a file or folder, of one that `written_whole` gave the one that it will get.

    >>> final_name(Path("out/model")), final_name(Path("out/.partial-0a1b-my-model"))
    ('model', 'my-model')
    """
    name = path.resolve().name
    return name.removeprefix(PARTIAL).partition("-")[2] if name.startswith(PARTIAL) else name


def sync_folder(path: str | os.PathLike[str]) -> None:
    """Bring the names in a folder, or the content of a file, to the disk."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def nearest_existing(path: Path) -> Path:
    """The path itself if it exists, else the nearest folder above it that does.

    >>> nearest_existing(Path("/no/such/folder"))
    PosixPath('/')
    """
    while not path.exists():
        path = path.parent
    return path


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file whose top level is an object.

    Raises:
        ValueError: a file that is no JSON object in UTF-8; the path is named.
        OSError: an unreadable file.

    Warns:
        UserWarning: a repeated key of an object; the last one counts, as for every reader.
    """
    repeated: dict[str, None] = {}

    def of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            names = [name for name, _ in pairs]
            repeated.update(dict.fromkeys(name for name in values if names.count(name) > 1))
        return values

    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=of_pairs)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of too many digits
        raise ValueError(f"path must be a JSON file in UTF-8. Received: path={os.fspath(path)} ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"path must hold a JSON object. Received: path={os.fspath(path)} with {type(values).__name__}")
    if repeated:
        listed = ", ".join(f"{name!r:.80}" for name in repeated)
        warnings.warn(f"{os.fspath(path)} has keys that stand twice, and the last counts: {listed}", stacklevel=2)
    return values


def write_json(path: str | os.PathLike[str], values: Any) -> None:
    """Write `values` as a JSON file, whole or not at all.

    Raises:
        ValueError: a NaN or an infinity, for which JSON has no notation; its place is named.
    """
    try:
        text = json.dumps(values, indent=2, sort_keys=True, allow_nan=False)
    except ValueError:
        offenders = "; ".join(_not_finite(values, ()))
        raise ValueError(
            f"values must be such as JSON has, no NaN and no infinity. Received: {offenders or 'a circle'}, for {path}"
        ) from None
    with written_whole(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _not_finite(values: Any, place: tuple[str, ...]) -> Iterator[str]:
    """The place and value of each NaN and infinity, as "place=value"."""
    if isinstance(values, float) and not math.isfinite(values):
        yield f"{'.'.join(place) or 'the value'}={values}"
    elif len(place) < _DEEPEST and isinstance(values, (dict, list, tuple)):
        pairs = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in pairs:
            yield from _not_finite(value, (*place, str(key)))

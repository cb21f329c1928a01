"""What a token store is made of, and the key that says whether two stores are the same."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmodels.utils.checks import check_at_least, check_rate
from tfmodels.utils.files import read_json_object, write_json
from training.data.rows import PARTS
from training.tasks.base import Task

FORMAT = 1
"""Grows with every change of the files or of their content."""

_DIGESTS = "digests.json"
_BLOCK_BYTES = 1 << 22
# A file that was changed just now may change once more within its time stamp's resolution.
_SETTLED_NANOSECONDS = 2_000_000_000

Poll = Callable[[], None]


@dataclass(frozen=True)
class StoreRequest:
    """The files, what is read of them, and how it becomes tokens.

    Args:
        task: what the tokens are for.
        tokenizer: makes them.
        train, validation, test: files, from `find_files`. Own files take the place of a part's share of `train`.
        fields: by the task's field, its name in the files; fields that are not named have the task's names.
        group: the field whose value keeps rows in one part; None to place each row by its first text.
        hold_out: the shares of the training files' groups that are held out for validation and for testing.
        max_bad_rows: as many rows that cannot be used may be left out.

    Raises:
        ValueError: no training file, a file in two parts, names of fields that the task does not have, or shares that
            leave nothing to train on.
    """

    task: Task
    tokenizer: Any
    train: tuple[Path, ...]
    validation: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    fields: tuple[tuple[str, str], ...] | Mapping[str, str] = ()
    group: str | None = None
    hold_out: tuple[float, float] = (0.05, 0.05)
    max_bad_rows: int = 0

    def __post_init__(self) -> None:
        if not self.train and not self.test:
            raise ValueError("data.train must name at least one file. Received: none")
        for error in shared_files(self.files):
            raise ValueError(error)
        others = set(dict(self.fields)) - set(self.task.fields)
        if others:
            raise ValueError(f"data.fields must name fields of {self.task.fields}. Received: {sorted(others)}")
        for argument, share in zip(("validation", "test"), self.hold_out, strict=True):
            check_rate(f"data.hold_out ({argument})", share)
        if sum(self.hold_out) >= 1:
            raise ValueError(
                f"data.hold_out must be below 1 in sum, so that something is left to train on. "
                f"Received: {self.hold_out}"
            )
        check_at_least("data.max_bad_rows", self.max_bad_rows, 0)

    @property
    def files(self) -> dict[str, tuple[Path, ...]]:
        """The files of each part."""
        return {"train": tuple(self.train), "validation": tuple(self.validation), "test": tuple(self.test)}

    @property
    def columns(self) -> dict[str, str]:
        """By the task's field, its name in the files."""
        return field_names(self.task.fields, dict(self.fields))

    @property
    def shares(self) -> tuple[float, float]:
        """The shares of the training files that are held out: none for a part with own files."""
        return held_out_shares(self.files, self.hold_out)


def shared_files(files: Mapping[str, Sequence[Path]]) -> list[str]:
    """An error for each file of two parts: a model must not be measured on texts that it has learned.

    >>> shared_files({"train": [Path("a.csv")], "test": [Path("a.csv")]})
    ['data.test must share no file with data.train. Received: a.csv']
    """
    parts: dict[Path, str] = {}
    errors = []
    for part, paths in files.items():
        for path in paths:
            earlier = parts.setdefault(path.resolve(), part)
            if earlier != part:
                errors.append(f"data.{part} must share no file with data.{earlier}. Received: {path}")
    return errors


def field_names(fields: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """By the task's field, its name in the files.

    >>> field_names(("document", "summary"), {"summary": "highlights"})
    {'document': 'document', 'summary': 'highlights'}
    """
    return {name: name for name in fields} | dict(renamed)


def held_out_shares(files: Mapping[str, Sequence[Path]], hold_out: tuple[float, float]) -> tuple[float, float]:
    """The shares of the training files that are held out for validation and testing: none for a part with own files.

    >>> held_out_shares({"validation": [Path("a.csv")], "test": []}, (0.05, 0.1))
    (0.0, 0.1)
    """
    validation, test = hold_out
    return (0.0 if files["validation"] else validation, 0.0 if files["test"] else test)


def store_key(request: StoreRequest, cache: Path | None = None, poll: Poll | None = None) -> str:
    """The name of the store of a request: a digest of all that its content depends on, and of nothing else.

    These are the bytes of the files and of the tokenizer, the task's settings, the fields and the shares. Neither paths
    nor the names of modules are among them.

    Args:
        request: the request.
        cache: the folder that keeps digests of files, so that a file that stays as it is is read once.
        poll: called again and again while files are read.

    Raises:
        OSError: a file that cannot be read.
    """
    settings = {
        "format": FORMAT,
        "task": [type(request.task).__name__, request.task.settings()],
        "fields": list(request.columns.items()),
        "group": request.group,
        "hold_out": list(request.shares),
    }
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    tokenizer = request.tokenizer
    whole.update(json.dumps(request.task.facts(tokenizer), sort_keys=True).encode())
    for name, content in sorted(tokenizer.to_files().items()):
        whole.update(json.dumps([name, len(content), hashlib.sha256(content).hexdigest()]).encode())
    for part, files in file_digests(request, cache, poll).items():
        for file in files:
            whole.update(json.dumps([part, file["bytes"], file["sha256"]]).encode())
    return whole.hexdigest()


def file_digests(
    request: StoreRequest, cache: Path | None = None, poll: Poll | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Name, bytes and sha256 of the files of each part; the arguments are those of `store_key`."""
    digests = _Digests(cache)
    files: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for part in PARTS:
        for path in request.files[part]:
            size, digest = digests.of(path, poll)
            files[part].append({"name": path.name, "bytes": size, "sha256": digest})
    digests.keep()
    return files


def stamps(request: StoreRequest) -> list[tuple[int, int]]:
    """Size and time of each file: the same afterwards, or the file was changed while it was read."""
    stats = [path.stat() for part in PARTS for path in request.files[part]]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


class _Digests:
    """sha256 of files, kept by path, size, time and inode: a shortcut that changes no digest."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / _DIGESTS
        self._known: dict[str, Any] = {}
        self._is_changed = False
        if self._path is not None and self._path.is_file():
            try:
                self._known = read_json_object(self._path)
            except (ValueError, OSError):
                self._known = {}

    def of(self, path: Path, poll: Poll | None) -> tuple[int, str]:
        stat = path.stat()
        name, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = self._known.get(name)
        if isinstance(known, list) and len(known) == 4 and known[:3] == stamp:
            return stat.st_size, str(known[3])
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                if poll is not None:
                    poll()
        if time.time_ns() - stat.st_mtime_ns > _SETTLED_NANOSECONDS:
            self._known[name] = [*stamp, digest.hexdigest()]
            self._is_changed = True
        return stat.st_size, digest.hexdigest()

    def keep(self) -> None:
        if self._path is not None and self._is_changed:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._known)

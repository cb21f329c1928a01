"""The token store: a user's files as tokens in a cache folder, built once, in shards, and memory-mapped.

CACHE/KEY/            columns.json, bad_rows.jsonl, train/, validation/, test/ with the arrays of `columns.py`
CACHE/KEY.building/   the shards of a build that goes on, or was killed and goes on at its last whole shard
CACHE/KEY.lock        held by the process that builds
CACHE/digests.json    digests of files that stay as they are
"""

import errno
import json
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfmodels.utils.files import PARTIAL, read_json_object, sync_folder, written_whole
from training.data.columns import TokenStore, problem_of, write_manifest
from training.data.locks import is_locked, locked
from training.data.plain_tokenizer import tokenizer_recipe
from training.data.request import StoreRequest, stamps, store_key
from training.data.rows import PARTS, BadRow, BadRows, Row, part_of, read_rows
from training.data.shards import ShardWriter, join_shards, whole_shards
from training.data.sources import short_names
from training.data.workers import FlatColumn, InProcess, Pool, WorkerPool, usual_count

__all__ = ["BuildReport", "Parts", "StoreRequest", "TokenStore", "build_store", "store_key"]

HELD_OUT = ("validation", "test")

_BAD_ROWS = "bad_rows.jsonl"
# A chunk goes to one process at once; few enough characters that its tokens take megabytes, not gigabytes.
_CHUNK_ROWS = 256
_CHUNK_CHARACTERS = 2**20
_AHEAD_CHARACTERS = 2**25
_OLD_SECONDS = 14 * 24 * 3600
_POLL_ROWS = 64
_POLL_SECONDS = 0.2

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        rows: the rows of each part.
        tokenized, reused: rows that were tokenized now, and that an earlier build had tokenized.
        bad: rows that were left out.
        messages: the first of them, each with file, line and problem.
        seconds: the time it took.
    """

    rows: dict[str, int]
    tokenized: int
    reused: int
    bad: int
    messages: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Parts:
    """The tokens of all parts; a part without rows is an empty store."""

    train: TokenStore
    validation: TokenStore
    test: TokenStore
    report: BuildReport

    @property
    def stores(self) -> dict[str, TokenStore]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def build_store(
    request: StoreRequest,
    cache: str | os.PathLike[str],
    workers: int | None = None,
    on_progress: Progress | None = None,
    poll: Callable[[], None] | None = None,
    rejected: str | os.PathLike[str] | None = None,
) -> Parts:
    """Open the tokens of a request, and make them before if the cache does not hold them.

    A build that is killed, at any moment, goes on at its last whole shard when it is called again. Two processes may
    call this for the same request: the second waits for the first.

    Args:
        request: what to tokenize.
        cache: the folder of all stores; made if it is missing.
        workers: processes that tokenize; 0 for this one alone, None for one for each core where there is enough to do.
        on_progress: called with the rows that are read, the bytes of the files that are read, and the files' bytes.
        poll: called many times a minute; what it raises ends the build, whose whole shards stay.
        rejected: a file to write the rows to that cannot be used, as lines of JSON with `file`, `line` and `problem`.

    Raises:
        ValueError: too many rows that cannot be used, a file without a field, no row to train on, or files that change
            while they are read.
        RuntimeError: a process that tokenizes ended, as when memory runs out.
        OSError: no room on the disk, or a file that cannot be read.

    Warns:
        UserWarning: a store in the cache that is not whole; it is built anew.
    """
    start = time.monotonic()
    if workers is not None and (isinstance(workers, bool) or workers < 0):
        raise ValueError(f"workers must be None or at least 0. Received: workers={workers}")
    build = _Build(request, Path(cache), workers, on_progress or _ignore, poll or _ignore)
    tokenized, reused, bad = build.run()
    names = build.names
    stores = {part: TokenStore(build.folder / part, names) for part in PARTS}
    if rejected is not None:
        _write_rejected(build.folder / _BAD_ROWS, Path(rejected), names)
    rows = {part: len(store) for part, store in stores.items()}
    messages = tuple(bad.messages())
    report = BuildReport(rows, tokenized, reused, bad.count, messages, time.monotonic() - start)
    return Parts(**stores, report=report)


class _Build:
    """One call of `build_store`."""

    def __init__(
        self,
        request: StoreRequest,
        cache: Path,
        workers: int | None,
        on_progress: Progress,
        poll: Callable[[], None],
    ) -> None:
        self.request, self._cache, self._workers = request, cache, workers
        self._on_progress, self._poll = on_progress, poll
        self.files = [path for part in PARTS for path in request.files[part]]
        self.names = short_names(self.files)
        cache.mkdir(parents=True, exist_ok=True)
        self._stamps = stamps(request)
        self._key = store_key(request, cache, poll)
        self.folder = cache / self._key
        self._building = cache / f"{self._key}.building"
        self._shards = self._building / "shards"
        self._bytes_total = sum(size for size, _ in self._stamps)
        self._dtypes = request.task.dtypes(request.tokenizer)
        self._rows_read = self._bytes_read = self._tokenized = 0

    def run(self) -> tuple[int, int, BadRows]:
        """Rows that were tokenized and reused, and the bad ones."""
        with locked(self._cache / f"{self._key}.lock", self._poll):
            if self.folder.exists():
                problem = problem_of(self.folder, self._key)
                if not problem:
                    rows = read_json_object(self.folder / "columns.json")["parts"].values()
                    return 0, sum(part["rows"] for part in rows), self._known_bad_rows()
                warnings.warn(f"{self.folder} is no whole store and is built anew: {problem}", stacklevel=3)
                shutil.rmtree(self.folder)
            try:
                return self._make()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise self._disk_is_full(error) from error
                raise

    def _make(self) -> tuple[int, int, BadRows]:
        for remains in self._cache.glob(f"{PARTIAL}*-{self._key}"):
            shutil.rmtree(remains)
        _forget_old_builds(self._cache)
        self._shards.mkdir(parents=True, exist_ok=True)
        shards = whole_shards(self._shards)
        reused = sum(shard["rows"] for shard in shards)
        with (self._building / _BAD_ROWS).open("w", encoding="utf-8") as stream:
            bad = BadRows(self.names, self.request.max_bad_rows, stream)
            self._tokenize(reused, len(shards), bad)
            bad.check()
        self._check_unchanged()
        self._join(bad)
        shutil.rmtree(self._building)
        return self._tokenized, reused, bad

    def _tokenize(self, reused: int, shard: int, bad: BadRows) -> None:
        writer = ShardWriter(self._shards, shard, self._dtypes, self.request.task.fields, HELD_OUT)
        with closing(writer), closing(self._rows(bad)) as rows:  # type: ignore[type-var]
            for _ in range(reused):
                if next(rows, None) is None:
                    raise ValueError(
                        f"The files must hold the {reused} rows that are tokenized already. Received: fewer"
                    )
            with closing(_LazyPool(self.request, self._count_of_workers())) as pool:
                for chunk, columns in self._encoded(rows, pool):
                    self._write(writer, chunk, columns)
                    self._tokenized += len(chunk)
            writer.finish()

    def _write(self, writer: ShardWriter, chunk: list[tuple[Row, str]], columns: dict[str, FlatColumn]) -> None:
        """Append a chunk, in pieces where a shard ends within it."""
        start = 0
        while start < len(chunk):
            stop = min(len(chunk), start + writer.room())
            writer.add(chunk[start:stop], {name: _piece(column, start, stop) for name, column in columns.items()})
            self._poll()
            start = stop

    def _rows(self, bad: BadRows) -> Iterator[tuple[Row, str]]:
        first, before = 0, 0
        for part in PARTS:
            files = self.request.files[part]
            rows = read_rows(files, self.request.columns, self.request.group, bad, self._seen(before), first)
            with closing(rows):  # type: ignore[type-var]
                for row in rows:
                    self._rows_read += 1
                    if self._rows_read % _POLL_ROWS == 0:
                        self._poll()
                        self._on_progress(self._rows_read, self._bytes_read, self._bytes_total)
                    yield row, part_of(row, self.request.shares) if part == "train" else part
            first += len(files)
            before += sum(path.stat().st_size for path in files)
        self._bytes_read = self._bytes_total

    def _seen(self, before: int) -> Callable[[int], None]:
        def on_bytes(count: int) -> None:
            self._bytes_read = before + count

        return on_bytes

    def _encoded(
        self, rows: Iterator[tuple[Row, str]], pool: "_LazyPool"
    ) -> Iterator[tuple[list[tuple[Row, str]], dict[str, FlatColumn]]]:
        """Chunks of rows with their columns, in order, with a look-ahead bounded in chunks and characters."""
        waiting: deque[tuple[list[tuple[Row, str]], int, Future[dict[str, FlatColumn]]]] = deque()
        ahead = 0
        for chunk, characters in _chunks(rows):
            while waiting and (len(waiting) > 2 * pool.size or ahead + characters > _AHEAD_CHARACTERS):
                done, size, future = waiting.popleft()
                yield done, self._result(future, done)
                ahead -= size
            waiting.append((chunk, characters, pool.submit([row.texts for row, _ in chunk])))
            ahead += characters
            self._poll()
        while waiting:
            done, _, future = waiting.popleft()
            yield done, self._result(future, done)
        self._on_progress(self._rows_read, self._bytes_read, self._bytes_total)

    def _result(self, future: "Future[dict[str, FlatColumn]]", chunk: list[tuple[Row, str]]) -> dict[str, FlatColumn]:
        self._on_progress(self._rows_read, self._bytes_read, self._bytes_total)
        while True:
            self._poll()
            try:
                return future.result(timeout=_POLL_SECONDS)
            except NotYet:
                if future.done():  # an error of the same class in the process
                    raise
            except RuntimeError as error:
                first, last = (f"{self.names[row.file]}:{row.line}" for row, _ in (chunk[0], chunk[-1]))
                raise RuntimeError(f"{error}\nIt had the rows from {first} to {last}.") from error

    def _count_of_workers(self) -> int:
        return usual_count(self._bytes_total) if self._workers is None else self._workers

    def _join(self, bad: BadRows) -> None:
        shards = whole_shards(self._shards)
        rows = {part: sum(shard["parts"][part] for shard in shards) for part in PARTS}
        if self.request.train and not rows["train"]:
            raise ValueError(
                f"data.train must hold at least one usable row to train on. Received: {sum(rows.values())} rows in "
                f"validation and test, {bad.count} bad rows"
            )
        needed = sum(size for shard in shards for size in shard["sizes"].values())
        if shutil.disk_usage(self._cache).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._cache))
        fields = self.request.task.fields
        with written_whole(self.folder) as target:
            sizes = join_shards(self._shards, shards, target, self._dtypes, fields, HELD_OUT, self._poll)
            shutil.copyfile(self._building / _BAD_ROWS, target / _BAD_ROWS)
            write_manifest(
                target,
                {
                    "key": self._key,
                    "columns": self._dtypes,
                    "fields": list(fields),
                    "facts": self.request.task.facts(self.request.tokenizer),
                    "files": self.names,
                    "parts": {part: {"rows": rows[part], "holds_texts": part in HELD_OUT} for part in PARTS},
                    "bad": bad.count,
                    "sizes": sizes | {_BAD_ROWS: (target / _BAD_ROWS).stat().st_size},
                },
            )
            sync_folder(target)
        sync_folder(self._cache)

    def _known_bad_rows(self) -> BadRows:
        """The bad rows of a store that is there; more of them than are allowed now are an error again."""
        bad = BadRows(self.names, self.request.max_bad_rows)
        with (self.folder / _BAD_ROWS).open(encoding="utf-8") as stream:
            for line in stream:
                bad.add(BadRow(**json.loads(line)))
        bad.check()
        return bad

    def _check_unchanged(self) -> None:
        after = stamps(self.request)
        changed = [path for path, old, new in zip(self.files, self._stamps, after, strict=True) if old != new]
        if changed:
            shutil.rmtree(self._building)
            raise ValueError(f"The data must stay as it is while it is read. Received: {changed[0]}, which has changed")

    def _disk_is_full(self, error: OSError) -> OSError:
        written = sum(path.stat().st_size for path in self._shards.rglob("*") if path.is_file())
        share = max(self._bytes_read, 1) / max(self._bytes_total, 1)
        # The shards stay until the arrays are written.
        needed = int(written / min(share, 1.0) * 2) - written
        free = shutil.disk_usage(self._cache).free
        return OSError(
            error.errno,
            f"data.cache must have room for the tokens: about {needed:,} more bytes are needed, {free:,} are free. "
            f"What is tokenized stays: free some space and start again, or name another data.cache",
            str(self._cache),
        )


class _LazyPool:
    """A pool that starts with its first chunk: a build that has all its shards needs no process."""

    def __init__(self, request: StoreRequest, count: int) -> None:
        self._request, self._count = request, count
        self._pool: Pool | None = None
        self.size = max(1, count)

    def submit(self, texts: list[tuple[str, ...]]) -> "Future[dict[str, FlatColumn]]":
        if self._pool is None:
            task, tokenizer = self._request.task, self._request.tokenizer
            is_alone = self._count == 0
            self._pool = (
                InProcess(task, tokenizer) if is_alone else WorkerPool(self._count, task, tokenizer_recipe(tokenizer))
            )
        return self._pool.submit(texts)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()


def _chunks(rows: Iterator[tuple[Row, str]]) -> Iterator[tuple[list[tuple[Row, str]], int]]:
    """Rows in order, together with the number of their characters."""
    chunk: list[tuple[Row, str]] = []
    characters = 0
    for row in rows:
        size = sum(map(len, row[0].texts))
        if chunk and (len(chunk) == _CHUNK_ROWS or characters + size > _CHUNK_CHARACTERS):
            yield chunk, characters
            chunk, characters = [], 0
        chunk.append(row)
        characters += size
    if chunk:
        yield chunk, characters


def _piece(column: FlatColumn, start: int, stop: int) -> FlatColumn:
    flat, sizes, true_sizes = column
    first, count = int(sizes[:start].sum()), int(sizes[start:stop].sum())
    return flat[first : first + count], sizes[start:stop], true_sizes[start:stop]


def _forget_old_builds(cache: Path) -> None:
    """Remove what builds left that were killed and never went on, as their data or their settings have changed."""
    for building in cache.glob("*.building"):
        is_old = time.time() - max(path.stat().st_mtime for path in (building, *building.iterdir())) > _OLD_SECONDS
        if is_old and not is_locked(building.with_suffix(".lock")):
            shutil.rmtree(building, ignore_errors=True)


def _write_rejected(bad_rows: Path, target: Path, names: list[str]) -> None:
    """Copy the bad rows, with the files' names in place of their indices."""
    with (
        bad_rows.open(encoding="utf-8") as lines,
        written_whole(target) as partial,
        partial.open("w", encoding="utf-8") as stream,
    ):
        for line in lines:
            row = json.loads(line)
            stream.write(json.dumps(row | {"file": names[row["file"]]}, ensure_ascii=False) + "\n")


def _ignore(*values: Any) -> None:
    pass

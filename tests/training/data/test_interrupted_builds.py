"""A build that is killed, stopped or out of memory or room goes on, and its store has the same bytes."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from stores import TASK, WORDS, Stop, stopping_after, stored

from tfmodels import LEDTokenizer
from training.data import shards, store
from training.data.plain_tokenizer import tokenizer_recipe
from training.data.store import build_store, store_key
from training.data.workers import WorkerPool

# Another process, which starts in a blink without Keras.
CHILD = """
import os, pickle, signal, sys
from pathlib import Path
from training.data.worker import leave_out_keras
leave_out_keras()
from training.data import shards, store
from training.data.plain_tokenizer import tokenizer_from_recipe
from training.tasks.summarize import Summarize
folder, cache, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
tokenizer = tokenizer_from_recipe(pickle.loads((folder / "recipe").read_bytes()))
request = store.StoreRequest(Summarize(16, 6), tokenizer, (folder / "train.jsonl",))
"""
KILLED = """
shards.SHARD_ROWS, store._CHUNK_ROWS = 100, 32
finish, count = shards.ShardWriter.finish, 0
def finish_and_die(self):
    global count
    finish(self)
    count += 1
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
shards.ShardWriter.finish = finish_and_die
store.build_store(request, cache, workers)
"""
MEASURED = """
parts = store.build_store(request, cache, workers)
print(*[line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""


def in_a_process(code, folder, tokenizer, cache, workers):
    (folder / "recipe").write_bytes(pickle.dumps(tokenizer_recipe(tokenizer)))
    command = [sys.executable, "-c", CHILD + code, folder, cache, str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[2])}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_build_that_was_killed_goes_on_at_its_last_whole_shard(tmp_path, request_of, tokenizer, workers):
    request = request_of()
    killed = in_a_process(KILLED, request.train[0].parent, tokenizer, tmp_path / "killed", workers)
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    parts = build_store(request, tmp_path / "killed", workers=0)
    assert (parts.report.reused, parts.report.tokenized) == (300, 300)
    assert stored(parts) == stored(build_store(request, tmp_path / "whole", workers=0))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("workers", [0, 2])
def test_memory_does_not_grow_with_the_data(tmp_path, tokenizer, workers):
    peaks = []
    for megabytes in (15, 60):
        folder = tmp_path / str(megabytes)
        folder.mkdir()
        line = json.dumps({"document": " ".join(WORDS * 500), "summary": "a long document"}) + "\n"
        (folder / "train.jsonl").write_text(line * (megabytes * 1_000_000 // len(line)))
        done = in_a_process(MEASURED, folder, tokenizer, folder / "cache", workers)
        peaks.append(int(done.stdout) // 1000)
    assert peaks[1] < peaks[0] + 20, peaks


@pytest.mark.skipif(sys.platform != "linux", reason="names of open files are read from /proc")
def test_all_files_of_a_store_and_its_folders_are_forced_to_the_disk(tmp_path, request_of, synced):
    cache = tmp_path / "cache"
    folder = build_store(request_of(), cache, workers=0).train.folder.parent
    names = {path.rpartition(f"-{folder.name}/")[2] for path in synced}
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "bad_rows.jsonl"}
    assert files <= names
    assert str(cache) in synced


@pytest.mark.parametrize("count", [0, 3, 20, 45])
def test_a_build_may_be_stopped_anywhere_and_goes_on(tmp_path, request_of, count):
    with pytest.raises(Stop):
        build_store(request_of(), tmp_path / "cache", workers=0, poll=stopping_after(count))
    parts = build_store(request_of(), tmp_path / "cache", workers=0)
    assert parts.report.reused + parts.report.tokenized == 600
    assert stored(parts) == stored(build_store(request_of(), tmp_path / "other", workers=0))


def test_a_stop_ends_the_processes(tmp_path, request_of, monkeypatch):
    pools = []

    class Seen(WorkerPool):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            pools.append(self)

    monkeypatch.setattr(store, "WorkerPool", Seen)
    with pytest.raises(Stop):
        build_store(request_of(), tmp_path / "cache", workers=2, poll=stopping_after(20))
    for process_id in pools[0].process_ids():
        with pytest.raises(ProcessLookupError):
            os.kill(process_id, 0)


def test_a_process_that_dies_is_an_error_that_says_how():
    tokenizer = LEDTokenizer.train_from_iterator(WORDS, 300)
    pool = WorkerPool(1, TASK, tokenizer_recipe(tokenizer))
    try:
        pool.submit([("a", "b")]).result()
        os.kill(pool.process_ids()[0], signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"Received: it was killed \(SIGKILL\), as systems do when memory"):
            pool.submit([("a", "b")]).result()
    finally:
        pool.close()


def test_a_process_that_dies_in_a_build_is_told_with_its_rows_and_whole_shards_stay(tmp_path, request_of, monkeypatch):
    pools = []

    class Seen(WorkerPool):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            pools.append(self)

    monkeypatch.setattr(store, "WorkerPool", Seen)

    def kill(rows, *others):
        if rows >= 400 and pools:
            os.kill(pools.pop().process_ids()[0], signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"SIGKILL(?s:.*)It had the rows from train.jsonl:\d+ to train.jsonl:\d+"):
        build_store(request_of(), tmp_path / "cache", workers=1, on_progress=kill)
    assert build_store(request_of(), tmp_path / "cache", workers=0).report.reused >= 100


def test_an_error_in_a_process_is_told():
    pool = WorkerPool(1, TASK, tokenizer_recipe(LEDTokenizer.train_from_iterator(WORDS, 300)))
    try:
        with pytest.raises(RuntimeError, match="A process that tokenizes met an error:\n(?s:.*)IndexError"):
            pool.submit([("no summary",)]).result()
        assert len(pool.submit([("a", "b")]).result()["source"][0])
    finally:
        pool.close()


def damaged_shard(folder):
    (folder / "000001" / "train.source").write_bytes(b"")


def missing_manifest(folder):
    (folder / "000002" / "shard.json").unlink()


@pytest.mark.parametrize(("damage", "reused"), [(damaged_shard, 100), (missing_manifest, 200)])
def test_a_shard_that_is_not_whole_is_made_again_with_all_behind_it(tmp_path, request_of, damage, reused):
    request, cache = request_of(), tmp_path / "cache"
    with pytest.raises(Stop):
        build_store(request, cache, workers=0, poll=stopping_after(45))
    damage(cache / f"{store_key(request)}.building" / "shards")
    parts = build_store(request, cache, workers=0)
    assert parts.report.reused == reused
    assert stored(parts) == stored(build_store(request, tmp_path / "other", workers=0))


def test_a_second_process_waits_for_the_first(tmp_path, request_of):
    cache, reports = tmp_path / "cache", []

    def build():
        reports.append(build_store(request_of(), cache, workers=0, poll=lambda: time.sleep(0.002)).report)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.tokenized for report in reports) == [0, 0, 600]
    assert stored(build_store(request_of(), cache, workers=0)) == stored(build_store(request_of(), tmp_path / "b"))


def test_a_stop_reaches_a_process_that_waits(tmp_path, request_of):
    from training.data.locks import locked

    (tmp_path / "cache").mkdir()
    with (
        locked(tmp_path / "cache" / f"{store_key(request_of())}.lock", lambda: None),
        pytest.raises(Stop),
    ):
        build_store(request_of(), tmp_path / "cache", poll=stopping_after(2))


def test_a_build_that_never_went_on_is_removed_after_weeks(tmp_path, request_of):
    cache = tmp_path / "cache"
    with pytest.raises(Stop):
        build_store(request_of(group="book"), cache, workers=0, poll=stopping_after(45))
    [left] = cache.glob("*.building")
    build_store(request_of(), cache, workers=0)
    assert left.is_dir()
    for path in (left, *left.iterdir()):
        os.utime(path, (0, 0))
    build_store(request_of(group="book", hold_out=(0, 0)), cache, workers=0)
    assert not left.exists()


def test_files_that_change_while_they_are_read_are_refused(tmp_path, request_of):
    path = request_of().train[0]

    def change(rows, *others):
        if rows == 600:
            path.write_bytes(path.read_bytes() + b" \n")

    with pytest.raises(ValueError, match="The data must stay as it is while it is read. Received: .*train.jsonl"):
        build_store(request_of(), tmp_path / "cache", workers=0, on_progress=change)
    assert build_store(request_of(), tmp_path / "cache", workers=0).report.tokenized == 600


def test_a_full_disk_is_an_error_with_figures_and_what_is_done_stays(tmp_path, request_of, monkeypatch):
    finish, count = shards.ShardWriter.finish, iter(range(100))

    def full(self):
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        finish(self)

    monkeypatch.setattr(shards.ShardWriter, "finish", full)
    with pytest.raises(OSError, match=r"data.cache must have room .* about [\d,]+ more bytes are needed, [\d,]+ are"):
        build_store(request_of(), tmp_path / "cache", workers=0)
    monkeypatch.undo()
    assert build_store(request_of(), tmp_path / "cache", workers=0).report.reused == 200
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match=r"about [\d,]+ more bytes are needed, 10 are free"):
        build_store(request_of(), tmp_path / "other", workers=0)

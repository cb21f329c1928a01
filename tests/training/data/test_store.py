"""A store has the same bytes however it was built, is never built twice, and is never read when it is not whole."""

import dataclasses
import errno
import hashlib
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

import numpy as np
import pytest

from tfmodels import LEDTokenizer
from training.data import shards, store, workers
from training.data.columns import TokenStore
from training.data.plain_tokenizer import tokenizer_from_recipe, tokenizer_recipe
from training.data.store import StoreRequest, build_store, store_key
from training.data.workers import WorkerPool
from training.tasks.summarize import Summarize

WORDS = ["a", "long", "document", "about", "nothing", "größe"]
TASK = Summarize(source_length=16, target_length=6)


@pytest.fixture(scope="module")
def tokenizer():
    return LEDTokenizer.train_from_iterator([" ".join(WORDS)], 300)


def row(index):
    words = [WORDS[(index * 7 + place) % len(WORDS)] for place in range(1 + index % 23)]
    return {"document": f"{index} " + " ".join(words), "summary": " ".join(words[:4]), "book": f"b{index % 60}"}


def write(path, count=600, first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row(index), ensure_ascii=False) + "\n" for index in range(first, first + count))
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def request_of(tmp_path, tokenizer):
    path = write(tmp_path / "data" / "train.jsonl")

    def make(**changes):
        return StoreRequest(**{"task": TASK, "tokenizer": tokenizer, "train": (path,), **changes})

    return make


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 100)
    monkeypatch.setattr(store, "_CHUNK_ROWS", 32)


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """Paths that are forced to the disk, which takes seconds where others write."""
    paths = []

    def note(descriptor):
        if sys.platform == "linux":
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", note)
    return paths


def content(folder):
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def stored(parts):
    return content(parts.train.folder.parent)


def test_every_row_is_in_one_part_with_its_tokens_place_and_texts(tmp_path, request_of, tokenizer):
    parts = build_store(request_of(hold_out=(0.2, 0.1)), tmp_path / "cache", workers=0)
    assert parts.report.rows == {name: len(part) for name, part in parts.stores.items()}
    assert sum(parts.report.rows.values()) == parts.report.tokenized == 600
    assert min(parts.report.rows.values()) > 30
    places = set()
    for name, part in parts.stores.items():
        for index in range(len(part)):
            place = part.place(index)
            places.add(place)
            expected = row(int(place.removeprefix("train.jsonl:")) - 1)
            ids = tokenizer([expected["document"]], max_length=16)["input_ids"][0]
            assert part.values("source", index).tolist() == ids[ids != tokenizer.pad_token_id].tolist()
            assert part.true_sizes("source")[index] == len(tokenizer.encode(expected["document"]))
            if name != "train":
                assert part.texts(index) == (expected["document"], expected["summary"])
    assert len(places) == 600


def test_a_batch_of_a_store_is_the_tokenizers_call(tmp_path, request_of, tokenizer):
    part = build_store(request_of(hold_out=(0.2, 0.1)), tmp_path / "cache", workers=0).validation
    batch = TASK.batch(part, range(8), 16, fill_to=8)
    documents, summaries = zip(*(part.texts(index) for index in range(8)), strict=True)
    expected = tokenizer(list(documents), text_target=list(summaries), max_length=16, max_target_length=6)
    for name, array in expected.items():
        np.testing.assert_array_equal(batch[name], array, name)


def test_a_store_is_built_once(tmp_path, request_of):
    first = build_store(request_of(), tmp_path / "cache", workers=0)
    second = build_store(request_of(), tmp_path / "cache", workers=0)
    assert (second.report.tokenized, second.report.reused) == (0, 600)
    assert second.report.rows == first.report.rows
    assert not list((tmp_path / "cache").glob("*.building"))


def test_processes_make_the_same_bytes_as_none_and_import_neither_keras_nor_tensorflow(tmp_path, request_of):
    alone = build_store(request_of(), tmp_path / "alone", workers=0)
    others = build_store(request_of(), tmp_path / "others", workers=2)
    assert stored(alone) == stored(others)
    pool = WorkerPool(1, TASK, tokenizer_recipe(request_of().tokenizer))
    try:
        pool.submit([("a", "b")]).result()
        modules = pool.modules()
    finally:
        pool.close()
    assert "tokenizers" in modules
    assert not {"keras", "tensorflow", "jax", "torch"} & set(modules)


def test_a_tokenizer_built_from_its_recipe_makes_the_same_ids(tokenizer):
    from tfmodels.auto import FAMILIES

    for family in FAMILIES.values():
        one = family.tokenizer.train_from_iterator([" ".join(WORDS)], 300)
        one.add_tokens(["<sep>"])
        other = tokenizer_from_recipe(pickle.loads(pickle.dumps(tokenizer_recipe(one))))
        assert other.encode("a <sep>long größe") == one.encode("a <sep>long größe")
        assert other.spec == one.spec


def test_the_key_depends_on_content_alone(tmp_path, request_of, tokenizer):
    request = request_of()
    key = store_key(request)
    moved = tmp_path / "elsewhere" / "other.jsonl"
    moved.parent.mkdir()
    shutil.copy(request.train[0], moved)
    assert store_key(request_of(train=(moved,))) == key
    assert store_key(request_of(tokenizer=pickle.loads(pickle.dumps(tokenizer)))) == key
    assert store_key(request_of(max_bad_rows=5)) == key
    assert store_key(request_of(fields={"document": "document"})) == key
    other = LEDTokenizer.train_from_iterator([" ".join(WORDS)], 300)
    other.add_tokens(["<x>"])
    same_length = moved.with_name("b.jsonl")
    same_length.write_bytes(moved.read_bytes().replace(b"nothing", b"nothinG", 1))
    empty = moved.with_name("c.jsonl")
    empty.write_bytes(b"")
    changed = [
        request_of(tokenizer=other),
        request_of(train=(same_length,)),
        request_of(task=dataclasses.replace(TASK, source_length=17)),
        request_of(task=dataclasses.replace(TASK, target_length=7)),
        request_of(group="book"),
        request_of(hold_out=(0.05, 0.1)),
        request_of(fields={"document": "book"}),
        request_of(train=(moved, same_length)),
        request_of(train=(same_length, moved)),
        request_of(test=(same_length,)),
        request_of(validation=(same_length,)),
        request_of(validation=(empty,)),
    ]
    assert len({key, *map(store_key, changed)}) == len(changed) + 1


def test_a_kept_digest_is_used_only_for_the_same_file(tmp_path, request_of):
    request, cache = request_of(), tmp_path / "cache"
    path = request.train[0]
    os.utime(path, (1_000_000_000, 1_000_000_000))
    key = store_key(request, cache)
    kept = json.loads((cache / "digests.json").read_text())
    assert list(kept) == [str(path)]
    (cache / "digests.json").write_text(json.dumps({str(path): [*kept[str(path)][:3], "0" * 64]}))
    assert store_key(request, cache) != key
    write(path, 601)
    assert store_key(request, cache) == store_key(request)
    (cache / "digests.json").write_text("{broken")
    assert store_key(request, cache) == store_key(request)


def test_own_files_take_the_place_of_the_hash(tmp_path, request_of):
    own = write(tmp_path / "own" / "v.jsonl", 30, first=1000)
    plain = build_store(request_of(hold_out=(0.2, 0.1)), tmp_path / "cache", workers=0)
    parts = build_store(request_of(hold_out=(0.2, 0.1), validation=(own,)), tmp_path / "cache", workers=0)
    assert {parts.validation.place(index) for index in range(30)} == {f"v.jsonl:{line}" for line in range(1, 31)}
    # The share of the test part is the same rows as without own files.
    assert [parts.test.texts(i) for i in range(len(parts.test))] == [
        plain.test.texts(i) for i in range(len(plain.test))
    ]
    assert len(parts.train) == len(plain.train) + len(plain.validation)


def test_a_group_stays_in_one_part(tmp_path, request_of):
    parts = build_store(request_of(group="book", hold_out=(0.2, 0.2)), tmp_path / "cache", workers=0)
    books = {
        name: {row(int(part.place(i).split(":")[1]) - 1)["book"] for i in range(len(part))}
        for name, part in parts.stores.items()
    }
    assert all(books.values())
    assert sum(map(len, books.values())) == 60


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


class Stop(Exception):
    pass


def stopping_after(count):
    calls = iter(range(count))

    def poll():
        if next(calls, None) is None:
            raise Stop

    return poll


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


def truncated(folder):
    path = folder / "train" / "source.npy"
    path.write_bytes(path.read_bytes()[:-2])


def foreign(folder):
    path = folder / "train" / "source.npy"
    path.write_bytes(b"x" * path.stat().st_size)


def foreign_offsets(folder):
    path = folder / "test" / "target_offsets.npy"
    np.save(path, np.zeros_like(np.load(path)))


def lost(folder):
    (folder / "test" / "text_document.npy").unlink()


def no_manifest(folder):
    (folder / "columns.json").write_text("[]")


def another(folder):
    manifest = json.loads((folder / "columns.json").read_text())
    (folder / "columns.json").write_text(json.dumps({**manifest, "key": "0"}))


@pytest.mark.parametrize("damage", [truncated, foreign, foreign_offsets, lost, no_manifest, another])
def test_a_store_that_is_not_whole_is_built_anew_with_a_warning(tmp_path, request_of, damage):
    parts = build_store(request_of(), tmp_path / "cache", workers=0)
    before = stored(parts)
    damage(parts.train.folder.parent)
    with pytest.warns(UserWarning, match="is no whole store and is built anew: "):
        again = build_store(request_of(), tmp_path / "cache", workers=0)
    assert again.report.tokenized == 600
    assert stored(again) == before


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


def test_files_of_one_name_are_told_apart(tmp_path, request_of):
    other = write(tmp_path / "more" / "train.jsonl", 20, first=700)
    parts = build_store(request_of(train=(*request_of().train, other), hold_out=(0, 0)), tmp_path / "c", workers=0)
    assert parts.train.place(605) == f"{other}:6"


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


def test_bad_rows_are_counted_written_and_known_again(tmp_path, request_of):
    path = write(tmp_path / "data" / "bad.jsonl", 50)
    path.write_bytes(path.read_bytes() + b"nothing\n" * 3)
    with pytest.raises(ValueError, match="Received: 3 bad rows:\n  bad.jsonl:51: the line must be a JSON object"):
        build_store(request_of(train=(path,)), tmp_path / "cache", workers=0)
    rejected = tmp_path / "rejected.jsonl"
    for _ in range(2):
        request = request_of(train=(path,), max_bad_rows=3)
        report = build_store(request, tmp_path / "cache", workers=0, rejected=rejected).report
        assert (report.bad, len(report.messages)) == (3, 3)
        lines = [json.loads(line) for line in rejected.read_text().splitlines()]
        assert [(line["file"], line["line"]) for line in lines] == [("bad.jsonl", n) for n in (51, 52, 53)]
    with pytest.raises(ValueError, match="max_bad_rows=2 bad rows. Received: 3 bad rows"):
        build_store(request_of(train=(path,), max_bad_rows=2), tmp_path / "cache", workers=0)


def test_files_that_change_while_they_are_read_are_refused(tmp_path, request_of):
    path = request_of().train[0]

    def change(rows, *others):
        if rows == 600:
            path.write_bytes(path.read_bytes() + b" \n")

    with pytest.raises(ValueError, match="The data must stay as it is while it is read. Received: .*train.jsonl"):
        build_store(request_of(), tmp_path / "cache", workers=0, on_progress=change)
    assert build_store(request_of(), tmp_path / "cache", workers=0).report.tokenized == 600


def test_progress_goes_up_to_all_bytes(tmp_path, request_of):
    seen = []
    build_store(request_of(), tmp_path / "cache", workers=0, on_progress=lambda *values: seen.append(values))
    total = request_of().train[0].stat().st_size
    assert seen == sorted(seen)
    assert seen[-1] == (600, total, total)


def test_no_row_to_train_on_is_refused(tmp_path, request_of):
    empty = tmp_path / "empty.jsonl"
    empty.write_bytes(b"\n")
    with pytest.raises(ValueError, match="data.train must hold at least one usable row to train on. Received: 0 rows"):
        build_store(request_of(train=(empty,)), tmp_path / "cache", workers=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ()}, "data.train must name at least one file"),
        ({"test": "same"}, "data.test must share no file with data.train"),
        ({"fields": {"text": "x"}}, r"data.fields must name fields of .* Received: \['text'\]"),
        ({"hold_out": (0.5, 0.5)}, "data.hold_out must be below 1 in sum"),
        ({"hold_out": (-0.1, 0.5)}, r"data.hold_out \(validation\) must be in"),
        ({"max_bad_rows": -1}, "data.max_bad_rows must be an integer of at least 0"),
    ],
)
def test_a_request_that_cannot_be_is_refused(request_of, changes, message):
    if changes.get("test") == "same":
        changes = {"test": request_of().train}
    with pytest.raises(ValueError, match=message):
        request_of(**changes)


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


def test_a_store_is_pickled_by_its_folder_and_answers_the_same(tmp_path, request_of):
    part = build_store(request_of(), tmp_path / "cache", workers=0).train
    pickled = pickle.dumps(part)
    assert len(pickled) < 1000
    other = pickle.loads(pickled)
    assert other.values("target", 3).tolist() == part.values("target", 3).tolist()
    assert (other.place(3), other.key, len(other)) == (part.place(3), part.key, len(part))
    np.testing.assert_array_equal(other.sizes("source"), [len(part.values("source", i)) for i in range(len(part))])


def test_what_a_store_does_not_hold_is_refused(tmp_path, request_of):
    part = build_store(request_of(hold_out=(0.0, 0.0)), tmp_path / "cache", workers=0).train
    with pytest.raises(ValueError, match="texts are kept of held-out parts alone"):
        part.texts(0)
    with pytest.raises(ValueError, match="column must be one of"):
        part.values("labels", 0)
    with pytest.raises(IndexError, match="row must be from 0 to 599"):
        part.values("source", 600)
    empty = TokenStore(part.folder.parent / "test")
    assert len(empty) == 0
    assert empty.sizes("source").tolist() == empty.true_sizes("target").tolist() == []


def test_few_bytes_need_no_process():
    assert workers.usual_count(10_000) == 0
    assert workers.usual_count(10**9) >= 1

"""A store has the same bytes however it was built, is built once, and is never read when it is not whole."""

import dataclasses
import json
import os
import pickle
import shutil

import numpy as np
import pytest
from stores import TASK, WORDS, row, stored, write

from tfmodels import LEDTokenizer
from training.data import workers
from training.data.columns import TokenStore
from training.data.plain_tokenizer import tokenizer_from_recipe, tokenizer_recipe
from training.data.store import build_store, store_key
from training.data.workers import WorkerPool


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


def test_files_of_one_name_are_told_apart(tmp_path, request_of):
    other = write(tmp_path / "more" / "train.jsonl", 20, first=700)
    parts = build_store(request_of(train=(*request_of().train, other), hold_out=(0, 0)), tmp_path / "c", workers=0)
    assert parts.train.place(605) == f"{other}:6"


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

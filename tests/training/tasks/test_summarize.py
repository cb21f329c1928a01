"""A task's batches are the arrays of the tokenizer's call, from stored integers alone."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest

from tfmodels.auto import FAMILIES
from training.tasks.summarize import Summarize, id_dtype

DOCUMENTS = ["a long document about nothing", "one", "two words", "a long long long document </s>", "end </s>"]
SUMMARIES = ["nothing at all, really", "1", "two", "long </s> text", "</s>"]
TASK = Summarize(source_length=9, target_length=5)


@pytest.fixture(scope="module", params=list(FAMILIES))
def tokenizer(request):
    return FAMILIES[request.param].tokenizer.train_from_iterator(DOCUMENTS + SUMMARIES, 300)


def store_of(tokenizer, task=TASK):
    columns = task.encode(list(zip(DOCUMENTS, SUMMARIES, strict=True)), tokenizer)
    return SimpleNamespace(facts=task.facts(tokenizer), values=lambda column, row: columns[column].values[row])


def test_batches_equal_the_tokenizers_call(tokenizer):
    batch = TASK.batch(store_of(tokenizer), range(5), length=9)
    expected = tokenizer(DOCUMENTS, text_target=SUMMARIES, max_length=9, max_target_length=5)
    assert batch.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(batch[name], array, name)
        assert batch[name].dtype == array.dtype


def test_a_batch_may_be_longer_than_its_rows_and_hold_them_in_any_order(tokenizer):
    batch = TASK.batch(store_of(tokenizer), np.array([2, 1]), length=12)
    expected = tokenizer([DOCUMENTS[2], DOCUMENTS[1]], max_length=12)
    np.testing.assert_array_equal(batch["input_ids"], expected["input_ids"])


def test_rows_that_fill_up_repeat_the_first_without_labels(tokenizer):
    batch = TASK.batch(store_of(tokenizer), [3, 1], length=9, fill_to=5)
    assert {len(array) for array in batch.values()} == {5}
    for name in ("input_ids", "attention_mask", "global_attention_mask"):
        if name in batch:
            np.testing.assert_array_equal(batch[name][2:], np.repeat(batch[name][:1], 3, axis=0))
    assert (batch["labels"][2:] == -100).all()
    assert (batch["labels"][:2, 0] != -100).all()


def test_true_sizes_are_those_without_a_length(tokenizer):
    columns = TASK.encode(list(zip(DOCUMENTS, SUMMARIES, strict=True)), tokenizer)
    assert columns["source"].true_sizes.tolist() == [len(tokenizer.encode(text)) for text in DOCUMENTS]
    assert columns["target"].true_sizes.tolist() == [len(tokenizer.encode(text)) for text in SUMMARIES]
    assert max(map(len, columns["source"].values)) == 9


def test_what_a_batch_cannot_hold_is_refused(tokenizer):
    store = store_of(tokenizer)
    for rows, fill_to in (([], 2), ([0, 1, 2], 2), ([], None)):
        with pytest.raises(ValueError, match="rows must be at least 1 and at most fill_to"):
            TASK.batch(store, rows, length=9, fill_to=fill_to)
    with pytest.raises(ValueError, match="length must hold all rows. Received: length=4"):
        TASK.batch(store, [0], length=4)


def test_lengths_have_room_for_a_token_and_the_end():
    for lengths in ((1, 8), (8, 1), (True, 8), (8.0, 8)):
        with pytest.raises(ValueError, match="_length must be an integer of at least 2"):
            Summarize(*lengths)


def test_a_task_is_pickled_by_its_lengths():
    assert pickle.loads(pickle.dumps(TASK)) == TASK


def test_ids_have_the_smallest_type_that_holds_them():
    assert [id_dtype(size) for size in (300, 65_536, 65_537)] == ["uint16", "uint16", "uint32"]

"""Held-out rows are measured in batches bounded by tokens, in their order, and a signal ends it between two of them."""

import keras
import numpy as np
import pytest

from training.run.evaluation import HeldOut, sample_rows

SIZES = np.array([3, 9, 4, 16, 2, 11, 1, 30, 5, 8])


class _Store:
    def sizes(self, column):
        return SIZES


class _Task:
    """Labels are the row's number, once for each token of a document."""

    length_column = "source"

    def batch(self, store, rows, length, fill_to):
        labels = np.full((fill_to, 32), -100, "int32")
        for place, row in enumerate(rows):
            labels[place, : SIZES[row]] = row
        return {"input_ids": np.zeros((fill_to, length), "int32"), "labels": labels}


class _Model:
    """Its loss is the mean label; it writes the numbers of its rows."""

    dtype_policy = keras.DTypePolicy("float32")

    def __init__(self):
        self.shapes, self.variables, self.built = [], [], True

    def __call__(self, inputs, training):
        labels = keras.ops.cast(inputs["labels"], "float32")
        counted = keras.ops.cast(labels >= 0, "float32")
        return {"loss": keras.ops.sum(labels * counted) / keras.ops.sum(counted)}

    def generate(self, input_ids, jit_compile, **settings):
        self.shapes.append(input_ids.shape)
        return np.arange(len(input_ids)) + 100 * len(self.shapes)


class _Tokenizer:
    def batch_decode(self, ids):
        return [str(each) for each in ids]


def held_out(rows, model=None, poll=lambda: None):
    return HeldOut(model or _Model(), _Task(), _Store(), rows, (4, 16), 32, False, poll)


@pytest.mark.parametrize("rows", [range(10), [7, 0, 3], [5]])
def test_the_loss_is_the_mean_over_all_labels_however_they_are_batched(rows):
    wanted = np.average(list(rows), weights=SIZES[list(rows)])
    assert held_out(rows).loss() == pytest.approx(wanted, rel=1e-6)


def test_batches_hold_no_more_tokens_than_allowed_and_few_rows_do_not_fill_one():
    model = _Model()
    held_out([0, 2, 1], model).texts(_Tokenizer())
    assert sorted(model.shapes) == [(1, 16), (2, 4)]
    model = _Model()
    held_out(range(10), model).texts(_Tokenizer())
    assert all(rows * length <= 32 for rows, length in model.shapes)


def test_texts_are_in_the_order_of_the_rows():
    texts = held_out([1, 0, 3, 2]).texts(_Tokenizer())
    assert texts == ["200", "100", "201", "101"]  # two short rows in the first batch, two long ones in the second


def test_a_signal_ends_it_before_the_next_batch():
    calls = []

    def poll():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    model = _Model()
    with pytest.raises(KeyboardInterrupt):
        held_out(range(10), model, poll).texts(_Tokenizer())
    assert len(model.shapes) == 1


@pytest.mark.parametrize(("count", "most"), [(10, 3), (3, 10), (1, 1), (0, 5), (1000, 400)])
def test_a_sample_is_spread_over_all_rows_without_repetition(count, most):
    rows = sample_rows(count, most)
    assert len(rows) == len(set(rows.tolist())) == min(count, most)
    assert all(0 <= row < count for row in rows)
    if count > most > 1:
        assert rows.max() >= count * (most - 1) // most

"""Batches from any number on, whose shapes are not guessed."""

import numpy as np
import pytest

from training.data.feed import _Numbered, feed


def batches(number):
    return {"input_ids": np.full((1 + number % 2, 3 + number), number, "int32")}


def numbers_of(data):
    return [int(batch["input_ids"][0, 0]) for batch in data]


def test_a_feed_begins_at_any_batch_and_ends_after_the_count():
    assert numbers_of(feed(batches, 4, 3)) == [4, 5, 6]


def test_shapes_are_free_even_where_the_first_batches_are_alike():
    data = feed(lambda number: batches(0), 0, 2)
    assert data.element_spec["input_ids"].shape.as_list() == [None, None]
    assert [batch["input_ids"].shape for batch in feed(batches, 0, 2)] == [(1, 3), (2, 4)]


def test_backends_without_tf_data_get_the_same_batches():
    data = _Numbered(batches, 4, 3)
    assert numbers_of(data[index] for index in range(len(data))) == [4, 5, 6]


def test_a_batch_that_cannot_be_made_ends_the_run():
    def broken(number):
        if number == 1:
            raise RuntimeError("a damaged row")
        return batches(number)

    with pytest.raises(Exception, match="a damaged row"):
        numbers_of(feed(broken, 0, 3))

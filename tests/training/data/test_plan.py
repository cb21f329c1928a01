"""The order of batches: every row once an epoch, a function of seed and number alone, the same in every release."""

import itertools

import numpy as np
import pytest

from training.data.plan import Plan, splitmix64

SIZES = np.array([3, 9, 4, 16, 2, 11, 1, 30, 5, 8])
LENGTHS = (4, 16)


def plan_of(seed=5, **changes):
    return Plan(**{"sizes": SIZES, "lengths": LENGTHS, "batch_tokens": 32, "seed": seed, **changes})


def rows_of(plan, epoch):
    return [plan.batch(epoch * len(plan) + index).rows.tolist() for index in range(len(plan))]


@pytest.mark.parametrize("seed", [0, 7, None])
def test_every_row_is_read_once_in_every_epoch(seed):
    plan = plan_of(seed)
    for epoch in range(4):
        assert sorted(itertools.chain(*rows_of(plan, epoch))) == list(range(len(SIZES)))


def test_epochs_have_orders_of_their_own_and_the_same_number_of_batches():
    plan = plan_of()
    assert rows_of(plan, 0) != rows_of(plan, 1)
    assert all(plan.batch(number).rows.size for number in range(3 * len(plan)))


def test_a_batch_is_a_function_of_seed_and_number():
    plan, numbers = plan_of(), range(30)
    forwards = [plan.batch(number).rows.tolist() for number in numbers]
    other = plan_of()
    backwards = [other.batch(number).rows.tolist() for number in reversed(numbers)]
    assert forwards == backwards[::-1]
    assert forwards != [plan_of(6).batch(number).rows.tolist() for number in numbers]


def test_the_order_is_the_same_in_every_release():
    assert int(splitmix64(0)) == 0xE220A8397B1DCDAF  # the published generator's first number from seed 0
    assert int(splitmix64(2**32 - 1, 7, 9)) == 0x3A86CBAE315F5640
    plan = plan_of(batch_tokens=16)
    assert plan.digest() == 125665155
    batches = [plan.batch(number) for number in range(7)]
    assert [batch.rows.tolist() for batch in batches] == [[7], [8], [5], [1], [9], [3], [2, 4, 6, 0]]


def test_the_order_does_not_depend_on_numpys_generators():
    np.random.seed(1)
    first = rows_of(plan_of(), 0)
    np.random.seed(2)
    assert rows_of(plan_of(), 0) == first


def test_rows_go_to_the_smallest_length_that_holds_them_and_longer_ones_to_the_largest():
    plan = plan_of()
    for batch in map(plan.batch, range(len(plan))):
        sizes = np.minimum(SIZES[batch.rows], LENGTHS[-1])
        assert batch.length == min(length for length in LENGTHS if length >= sizes.max())
        assert len(batch.rows) <= batch.fill_to == 32 // batch.length


@pytest.mark.parametrize("multiple", [1, 3, 4])
def test_rows_of_a_batch_are_a_multiple(multiple):
    shapes = plan_of(rows_multiple=multiple).shapes
    assert [rows % multiple for rows, _ in shapes] == [0, 0]
    assert all(rows >= 32 // length for rows, length in shapes)


def test_a_document_longer_than_the_batch_has_a_batch_of_its_own():
    assert plan_of(batch_tokens=2).shapes == [(1, 4), (1, 16)]


@pytest.mark.parametrize("changes", [{"seed": 6}, {"sizes": SIZES[:-1]}, {"batch_tokens": 64}, {"lengths": (8, 16)}])
def test_another_order_has_another_digest(changes):
    assert plan_of().digest() == plan_of().digest()
    assert plan_of(**changes).digest() != plan_of().digest()


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least one row. Received: none"):
        plan_of(sizes=SIZES[:0])

"""An interval holds the mean, shrinks with the rows, and is one for one seed."""

import numpy as np
import pytest

from training.metrics import bootstrap_interval


def test_one_seed_has_one_interval_on_every_machine():
    assert bootstrap_interval([1.0, 2.0, 4.0, 8.0], seed=3) == pytest.approx((1.5, 7.0))
    assert bootstrap_interval([1.0, 2.0, 4.0, 8.0], seed=4, samples=10) != bootstrap_interval(
        [1.0, 2.0, 4.0, 8.0], 5, 10
    )


def test_the_interval_is_that_of_a_normal_mean_for_many_rows():
    scores = np.random.default_rng(0).normal(30, 10, 2000)
    low, high = bootstrap_interval(scores)
    error = 1.96 * scores.std() / np.sqrt(2000)
    assert (low, high) == (
        pytest.approx(scores.mean() - error, abs=0.06),
        pytest.approx(scores.mean() + error, abs=0.06),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": []}, "scores must hold at least one row"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"level": 1.0}, "level must be above 0 and below 1. Received: level=1.0"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**{"scores": [1.0], **arguments})

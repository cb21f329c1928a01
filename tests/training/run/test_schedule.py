"""Every step has one learning rate, above 0 at first and never above the peak."""

import math

import pytest

from training.run.schedule import SCHEDULES, learning_rate_at, usable_warmup


def rates(schedule, steps=range(9), total=8, peak=1.0, warmup=3, floor=0.0):
    return [learning_rate_at(step, total, peak, schedule, warmup, floor) for step in steps]


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]),
        ("cosine", [0.5 + 0.5 * math.cos(math.pi * done / 5) for done in range(6)]),
        ("inverse_sqrt", [math.sqrt(4 / step) for step in range(4, 10)]),
        ("constant", [1.0] * 6),
    ],
)
def test_a_linear_warm_up_precedes_each_schedule(schedule, after):
    assert rates(schedule) == pytest.approx([0.25, 0.5, 0.75, *after])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, 5, 40])
@pytest.mark.parametrize("total", [1, 7, 30])
def test_rates_are_above_zero_in_the_run_and_never_above_the_peak(schedule, warmup, total):
    found = rates(schedule, range(total), total, 3e-5, warmup)
    assert min(found) > 0
    assert max(found) <= 3e-5
    if warmup < total:
        assert found[warmup] == 3e-5


@pytest.mark.parametrize("schedule", ["linear", "cosine", "inverse_sqrt"])
def test_rates_fall_to_the_floor_and_stay(schedule):
    found = rates(schedule, (8, 100, 10**6), floor=0.1)
    assert found[1:] == pytest.approx([0.19900744 if schedule == "inverse_sqrt" else 0.1, 0.1], rel=1e-6)
    assert min(found) >= 0.1


def test_a_warm_up_is_shortened_with_a_word_when_it_takes_most_of_the_run():
    assert usable_warmup(25, 100) == (25, None)
    assert usable_warmup(0, 1) == (0, None)
    shortened, warning = usable_warmup(1_000, 200)
    assert shortened == 50
    assert warning == "a warm-up of 1,000 steps is more than 25% of the 200 steps of this run: it is shortened to 50"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "step"}, "schedule must be one of linear, cosine, inverse_sqrt, constant"),
        ({"steps": (-1,)}, "step must be at least 0. Received: step=-1"),
        ({"total": 0}, "total must be at least 1"),
        ({"warmup": -1}, "warmup must be at least 0"),
        ({"floor": 2.0}, "floor must be from 0 to peak=1.0. Received: floor=2.0"),
    ],
)
def test_arguments_out_of_range_raise(change, message):
    with pytest.raises(ValueError, match=message):
        rates(**{"schedule": "linear", **change})


def test_a_warm_up_of_no_run_raises():
    with pytest.raises(ValueError, match="total must be at least 1"):
        usable_warmup(1, 0)
    with pytest.raises(ValueError, match="warmup must be at least 0"):
        usable_warmup(-1, 1)

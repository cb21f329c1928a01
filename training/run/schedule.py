"""The learning rate as a pure function of the step: a resumed run has the rates of one that was never stopped."""

import math

SCHEDULES = ("linear", "cosine", "inverse_sqrt", "constant")

# A run that warms up for longer than this fraction of its steps hardly sees its peak.
_LONGEST_WARMUP = 0.25


def learning_rate_at(step: int, total: int, peak: float, schedule: str, warmup: int, floor: float = 0.0) -> float:
    """The learning rate of one step, after a linear warm-up.

    Step k of the warm-up, from 0, has (k + 1) / (warmup + 1) of the peak, so that the first rate is above 0 and step
    `warmup` is the first with the peak itself. From there "linear" and "cosine" (Loshchilov and Hutter, 2017, section
    3, one cycle) fall to the floor, which the step after the last would have. "inverse_sqrt" (Raffel et al., 2020,
    section 3.1.2) falls with the root of the step since the start, whatever the length of the run.

    Args:
        step: the step, from 0. Steps beyond the last have the last rate of "linear" and "cosine", the floor.
        total: the steps of the run.
        peak: the largest rate.
        schedule: one of `SCHEDULES`.
        warmup: the steps before the peak.
        floor: the smallest rate after the warm-up.

    Raises:
        ValueError: an unknown schedule, negative steps, no steps in all, or a floor above the peak.

    >>> [learning_rate_at(step, total=5, peak=1.0, schedule="linear", warmup=1) for step in range(6)]
    [0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    _check(step, total, peak, schedule, warmup, floor)
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if schedule == "constant":
        return peak
    if schedule == "inverse_sqrt":
        return max(floor, peak * math.sqrt((warmup + 1) / (step + 1)))
    done = min((step - warmup) / max(total - warmup, 1), 1.0)
    left = 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return floor + (peak - floor) * left


def usable_warmup(warmup: int, total: int) -> tuple[int, str | None]:
    """A warm-up that leaves most of the run to the schedule, and what to say if it is another than the given.

    Args:
        warmup: the steps that are wanted before the peak.
        total: the steps of the run.

    Raises:
        ValueError: negative steps, or no steps in all.

    >>> usable_warmup(10, 100)
    (10, None)
    >>> usable_warmup(500, 100)[0]
    25
    """
    if warmup < 0:
        raise ValueError(f"warmup must be at least 0. Received: warmup={warmup}")
    if total < 1:
        raise ValueError(f"total must be at least 1. Received: total={total}")
    longest = int(total * _LONGEST_WARMUP)
    if warmup <= longest:
        return warmup, None
    return longest, (
        f"a warm-up of {warmup:,} steps is more than {_LONGEST_WARMUP:.0%} of the {total:,} steps of this run: "
        f"it is shortened to {longest:,}"
    )


def _check(step: int, total: int, peak: float, schedule: str, warmup: int, floor: float) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}. Received: schedule={schedule!r}")
    for name, value, least in (("step", step, 0), ("total", total, 1), ("warmup", warmup, 0)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}. Received: {name}={value}")
    if not 0 <= floor <= peak:
        raise ValueError(f"floor must be from 0 to peak={peak}. Received: floor={floor}")

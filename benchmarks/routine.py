"""A job that is ready to run, whichever side it is on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Routine(NamedTuple):
    """prepare: arrays -> what `run` takes, on the device. run: does the job and returns once it is done.
    device_peak_bytes: the device's peak memory, or None where that is the process's own. start: takes what `run` takes
    and does the job as far as its first step; None where the job has no steps."""

    prepare: Callable[[Arrays], Any]
    run: Callable[[Any], Any]
    device_peak_bytes: Callable[[], int | None]
    start: Callable[[Any], Any] | None = None

"""Steps without a finite loss or gradient: the device leaves their updates out, and a few in a row end the run."""

import json
import math
from pathlib import Path
from typing import Any

from tfmodels.utils.files import written_whole

MOST_IN_A_ROW = 3


class Diverged(RuntimeError):
    """Several steps in a row had no finite loss or gradient."""


def is_finite_step(loss: float, gradient_norm: float, is_scaled: bool) -> bool:
    """Whether a step counts as a good one.

    A loss scale makes gradients infinite on purpose, until it has found its size: then the loss alone counts.

    >>> is_finite_step(1.0, math.inf, is_scaled=True), is_finite_step(1.0, math.inf, is_scaled=False)
    (True, False)
    """
    return math.isfinite(loss) and (is_scaled or math.isfinite(gradient_norm))


def write_bad_rows(folder: Path, batches: list[tuple[int, list[int]]], task: Any, store: Any) -> list[str]:
    """Keep the rows of bad steps as `rows.jsonl`: step, file and line, and ids. Return their places.

    Args:
        folder: created when missing.
        batches: the number of each bad step with the rows of its batches.
        task, store: where the rows come from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places = []
    with written_whole(folder / "rows.jsonl") as partial, open(partial, "w", encoding="utf-8") as stream:
        for step, rows in batches:
            for row in rows:
                place = store.place(row)
                ids = {column: store.values(column, row).tolist() for column in task.columns}
                stream.write(json.dumps({"step": step, "place": place, **ids}) + "\n")
                places.append(place)
    return places

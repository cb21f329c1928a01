"""What counts as a bad step, and what is kept of its rows."""

import json
import math

import numpy as np
import pytest

from training.run.guard import is_finite_step, write_bad_rows


class _Store:
    def place(self, row):
        return f"train.jsonl:{row + 1}"

    def values(self, column, row):
        return np.arange(row + 1, dtype="uint16")


class _Task:
    columns = ("source", "target")


@pytest.mark.parametrize(
    ("loss", "norm", "is_scaled", "expected"),
    [
        (1.0, 2.0, False, True),
        (math.nan, 2.0, False, False),
        (1.0, math.inf, False, False),
        (1.0, math.nan, False, False),
        (1.0, math.inf, True, True),
        (math.nan, math.inf, True, False),
        (math.inf, 1.0, False, False),
    ],
)
def test_a_step_counts_when_its_loss_and_its_gradient_are_numbers(loss, norm, is_scaled, expected):
    assert is_finite_step(loss, norm, is_scaled) is expected


def test_the_rows_of_bad_steps_are_kept_with_place_and_ids(tmp_path):
    places = write_bad_rows(tmp_path / "bad-batch", [(7, [0, 2]), (8, [1])], _Task(), _Store())
    lines = [json.loads(line) for line in (tmp_path / "bad-batch" / "rows.jsonl").read_text().splitlines()]
    assert places == ["train.jsonl:1", "train.jsonl:3", "train.jsonl:2"]
    assert [(line["step"], line["place"]) for line in lines] == list(zip([7, 7, 8], places, strict=True))
    assert lines[1]["source"] == lines[1]["target"] == [0, 1, 2]

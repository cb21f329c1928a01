"""Statistics are of tokens before cutting, and say what is lost."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from training.data.statistics import print_statistics, statistics_of


def store(source, target):
    sizes = {"source": np.array(source, "int32"), "target": np.array(target, "int32")}
    return SimpleNamespace(true_sizes=sizes.__getitem__)


STORES = {"train": store([4, 8, 8, 20], [2, 2, 3, 4]), "validation": store([5], [2]), "test": store([], [])}


def test_counts_are_exact():
    statistics = statistics_of(STORES, (4, 10), 3)
    train, validation, test = statistics.sizes[:3]
    assert (train.rows, train.tokens, train.median, train.percentile_90, train.longest) == (4, 40, 8, 20, 20)
    assert (validation.rows, validation.longest, test.rows, test.longest) == (1, 5, 0, 0)
    assert [(cut.column, cut.length, cut.rows, cut.tokens) for cut in statistics.cuts] == [
        ("source", 4, 0.75, 24 / 40),
        ("source", 10, 0.25, 10 / 40),
        ("target", 3, 0.25, 1 / 11),
    ]
    assert [(bucket.length, bucket.rows) for bucket in statistics.buckets] == [(4, 1), (10, 3)]
    assert [bucket.padding for bucket in statistics.buckets] == pytest.approx([0, 1 - 26 / 30])


def test_warnings_are_of_what_is_cut_for_good():
    assert len(statistics_of(STORES, (4, 10), 3).warnings) == 2
    assert statistics_of(STORES, (4, 20), 4).warnings == ()
    assert statistics_of(STORES, (4, 10), 3).warnings[0].startswith("25.0 % of the rows have a source of more than 10")


def test_lengths_ascend():
    for lengths in ((), (8, 4), (0, 4)):
        with pytest.raises(ValueError, match="source_lengths must be positive and ascending"):
            statistics_of(STORES, lengths, 3)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_tables_can_be_printed_on_any_terminal(encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_statistics(Console(file=stream, width=80), statistics_of(STORES, (4, 10), 3))
    stream.flush()
    printed = stream.buffer.getvalue().decode(encoding)
    assert "rows cut" in printed
    assert max(map(len, printed.splitlines())) <= 80

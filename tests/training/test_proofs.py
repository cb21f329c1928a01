"""The long proofs, run small: each is a program of its own, whose docstring has the command."""

import pytest

from tests.training import full_disk, kill, large, signals

pytestmark = pytest.mark.slow
MODEL = "longt5-tglobal-tiny"


def test_a_killed_run_ends_as_a_whole_one(tmp_path):
    assert "skipped 0, repeated 0" in kill.prove(MODEL, False, 5, tmp_path)


def test_a_signal_loses_nothing_at_any_moment(tmp_path):
    table = signals.prove(MODEL, False, tmp_path)
    assert table.count("\n") == len(signals.MOMENTS) + 1


def test_a_full_disk_ends_a_run_with_a_whole_checkpoint(tmp_path):
    assert "status 4" in full_disk.prove(MODEL, tmp_path)


def test_memory_does_not_grow_with_the_data(tmp_path):
    assert "0 tokenized now" in large.prove(0.05, tmp_path)

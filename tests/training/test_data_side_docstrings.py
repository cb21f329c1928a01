"""The examples in the public docstrings run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["examples", "docstrings", "corpus", "data", "batches", "metrics", "baselines"])
def test_the_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(f"training.{name}"))
    assert result.attempted > 0
    assert result.failed == 0

"""The snippets of docs/distribution.md run in order, and so do the examples of `tfmodels.distribution`, under JAX."""

import doctest
import re
from pathlib import Path

import keras
import pytest
from backends import IS_JAX
from tiny import make_config, make_inputs_for, one_layer

import tfmodels.distribution.layout
import tfmodels.distribution.length

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "distribution.md"


@pytest.mark.skipif(not IS_JAX, reason="about JAX")
def test_every_snippet_of_the_document_runs():
    config, batch = make_config("led", **one_layer("led")), make_inputs_for("led", "ForConditionalGeneration")
    names = {"config": config, "batch": batch}
    try:
        for snippet in re.findall(r"```py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(snippet, DOCUMENT.name, "exec"), names)
    finally:
        keras.distribution.set_distribution(None)
    assert names["encoded"]["last_hidden_state"].shape == (3, 29, 32)
    assert names["logits"].shape[:2] == (3, 7)


@pytest.mark.skipif(not IS_JAX, reason="under TensorFlow the test of all examples runs them")
def test_every_example_runs():
    for module in (tfmodels.distribution.layout, tfmodels.distribution.length):
        assert not doctest.testmod(module).failed

"""Weights that are stored smaller answer almost the same, and the model itself keeps its own."""

import numpy as np
import pytest
import tensorflow as tf
from exported import exported
from routines import as_numpy

from export import export_saved_model
from export.client.saved_model_client import load_saved_model
from export.stored_weights import StoredWeights


@pytest.mark.parametrize(("dtype", "most_bytes", "most_error"), [("bfloat16", 0.6, 0.02), ("int8", 0.4, 0.05)])
def test_smaller_weights_encode_almost_the_same(dtype, most_bytes, most_error, tmp_path):
    served = exported("led")
    inputs = served.tokenizer(["def area(width, height): return width * height"], max_length=64)
    expected = as_numpy(served.model.generate(**inputs))
    export_saved_model(
        served.model,
        served.tokenizer,
        tmp_path / "1",
        (64,),
        signatures=("serving_default", "encode"),
        warm_up=False,
        weights_dtype=dtype,
    )
    sizes = [
        sum(file.stat().st_size for file in folder.glob("variables/variables.data*"))
        for folder in (tmp_path / "1", served.folder / "1")
    ]
    assert sizes[0] < most_bytes * sizes[1]
    loaded = load_saved_model(tmp_path / "1")
    actual = loaded.signatures["encode"](**{name: tf.constant(value) for name, value in inputs.items()})
    hidden = as_numpy(served.model.encode(**inputs)["last_hidden_state"])
    error = np.sqrt(np.mean((as_numpy(actual["last_hidden_state"]) - hidden) ** 2) / np.mean(hidden**2))
    assert 0 < error < most_error
    # What was compiled for the export reads the smaller weights, and nothing else does.
    np.testing.assert_array_equal(served.model.generate(**inputs), expected)


def test_int8_keeps_each_number_within_half_a_step_of_its_groups_largest():
    model = exported("longt5-local").model
    with StoredWeights(model, "int8").read():
        restored = [np.asarray(variable.value) for variable in model.variables]
    changed = 0
    for variable, actual in zip(model.variables, restored, strict=True):
        values = as_numpy(variable.value)
        changed += (actual != values).any()
        assert np.abs(actual - values).max() <= np.abs(values).max() / 254 * 1.001, variable.path
    assert changed > 10

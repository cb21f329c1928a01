"""A model has the same numbers whatever kind of device it is compiled for."""

import pytest
from backends import direct
from routines import as_numpy, assert_close, randomise
from tiny import KINDS, make_inputs, make_labels, make_model, one_layer

from tfmodels.backend import devices
from tfmodels.backend.devices import compiling_for


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_has_the_same_numbers_on_every_kind_of_device(kind, monkeypatch):
    model = make_model(kind, **one_layer(kind))
    randomise(model)
    inputs = {**make_inputs(kind, 61, lengths=(61, 40, 9)), "labels": make_labels()}
    wanted = as_numpy(direct(model, inputs))
    for device in ("gpu", "tpu"):
        with compiling_for(device):
            assert_close(as_numpy(direct(model, inputs)), wanted, 1e-5)
    # As if the batch were too large for the heads together.
    monkeypatch.setitem(devices._SCORE_BYTES, "tpu", 1)
    with compiling_for("tpu"):
        assert_close(as_numpy(direct(model, inputs)), wanted, 1e-5)

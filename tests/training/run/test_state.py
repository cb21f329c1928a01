"""The state of a run comes back from its file as it was."""

import dataclasses
import json

import pytest

from training.run.state import TrainerState, versions


def test_a_state_comes_back_as_it_was(tmp_path):
    state = TrainerState(7, 48, True, -41.2, 5, 2, None, 30, 5, 1, 1, 2, 0.1 + 0.2, 10**12, 2**32 - 1, "key")
    state.settings, state.versions = {"seed": 0, "lengths.source": [32, 128]}, versions()
    state.write(tmp_path / "state.json")
    assert TrainerState.read(tmp_path / "state.json") == state


def test_a_state_of_other_fields_is_refused(tmp_path):
    values = dataclasses.asdict(TrainerState())
    (tmp_path / "state.json").write_text(json.dumps({**values, "extra": 1}))
    with pytest.raises(ValueError, match=r"must hold .*'step'.*Received: .*'extra'"):
        TrainerState.read(tmp_path / "state.json")


def test_a_new_state_is_at_the_start():
    assert TrainerState().step == 0
    assert TrainerState().total is None


def test_the_versions_name_what_decides_about_the_numbers():
    assert {"python", "keras", "numpy", "safetensors"} <= set(versions())

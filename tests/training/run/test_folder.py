"""A folder belongs to one run and one process, and a run goes on with its settings alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.config import Config, Data, Optim, flat, replaced
from training.run.checkpoints import Checkpoints
from training.run.folder import FINISHED, RUNNING, RunFolder, check_same_settings
from training.run.state import TrainerState

CONFIG = Config("led-tiny", Path("out"), data=Data(train="größe mit spaces.csv"), optim=Optim(learning_rate=1e-3))

CHANGES_THAT_MAY_BE = {
    "steps.max_steps": 9,
    "steps.epochs": 5,
    "steps.keep": 1,
    "steps.patience": 2,
    "logging.seconds": 1.0,
    "evaluation.rouge_rows": 2,
    "generation": {"num_beams": 4},
    "output": Path("moved"),
    "data.train": ("moved.csv",),
    "data.cache": Path("elsewhere"),
    "data.workers": 1,
    "data.max_bad_rows": 3,
}
CHANGES_THAT_MAY_NOT = {
    "seed": 1,
    "model": "longt5-local-tiny",
    "optim.learning_rate": 2e-3,
    "optim.accumulate": 2,
    "lengths.batch_tokens": 64,
    "lengths.source": (64,),
    "weights.precision": "mixed_bfloat16",
    "weights.lora_rank": 4,
    "weights.frozen": ("shared",),
    "data.hold_out": 0.1,
    "data.group": "book",
    "data.fields": {"document": "text"},
    "task": "other",
}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "out")
    folder.start(CONFIG)
    return folder


def test_the_settings_come_back_as_they_were(folder):
    assert flat(folder.read_config()) == flat(CONFIG)
    assert folder.read_config() == CONFIG
    assert folder.is_started
    assert folder.status == RUNNING


@pytest.mark.parametrize("name", CHANGES_THAT_MAY_BE)
def test_a_setting_that_leaves_the_steps_so_far_may_change(folder, name):
    folder.check_goes_on(replaced(CONFIG, {name: CHANGES_THAT_MAY_BE[name]}))


@pytest.mark.parametrize("name", CHANGES_THAT_MAY_NOT)
def test_any_other_changed_setting_is_named_with_both_values(folder, name):
    value = CHANGES_THAT_MAY_NOT[name]
    config = replaced(CONFIG, {name: value})
    with pytest.raises(ValueError, match="a run that goes on must keep its settings") as raised:
        folder.check_goes_on(config)
    received = f"{name}={flat(config)[name]!r} after {name}={flat(CONFIG)[name]!r}"
    assert received in str(raised.value)
    assert "--restart" in str(raised.value)


def test_every_setting_is_in_one_of_the_two_lists():
    groups = {name.partition(".")[0] for name in (*CHANGES_THAT_MAY_BE, *CHANGES_THAT_MAY_NOT)}
    assert groups == {name.partition(".")[0] for name in flat(CONFIG)}


def test_all_changed_settings_are_listed_together():
    with pytest.raises(ValueError, match=r"a=2 after a=1; b='y' after b='x'"):
        check_same_settings({"a": 1, "b": "x"}, {"a": 2, "b": "y"})


def test_a_finished_run_says_so_and_more_steps_go_on(folder):
    folder.write_status(FINISHED, steps=7)
    again = RunFolder(folder.path)
    with pytest.raises(ValueError, match="which has finished. More steps.epochs or steps.max_steps go on, --restart"):
        again.check_goes_on(CONFIG)
    again.check_goes_on(replaced(CONFIG, {"steps.max_steps": 99}))


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(FileExistsError, match=r"a new folder, or one of a run. Received: .*which holds thesis.tex"):
        RunFolder(tmp_path).check_usable()
    with pytest.raises(FileExistsError, match="must be a folder. Received: .*, a file"):
        RunFolder(tmp_path / "thesis.tex").check_usable()


def test_new_empty_and_own_folders_are_usable(tmp_path, folder):
    for path in (tmp_path / "a" / "b" / "new", folder.path):
        RunFolder(path).check_usable()
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").check_usable()


def test_what_a_process_leaves_that_was_killed_before_the_run_began_is_no_hindrance(tmp_path):
    for name in (".lock", "config.yaml", ".partial-1-run.json"):
        (tmp_path / name).write_text("")
    RunFolder(tmp_path).check_usable()


def test_a_folder_without_rights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="output must be a folder that can be written. Received: output="):
        RunFolder(tmp_path / "new").check_usable()


def test_only_one_process_trains_in_a_folder(folder):
    code = f"""
from pathlib import Path
from training.run.folder import RunFolder
try:
    with RunFolder(Path({str(folder.path)!r})).locked(): print("entered")
except RuntimeError as error: print(error)
"""

    def enter():
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with folder.locked():
        assert "where another trains" in enter()
    assert enter() == "entered\n"


def test_earlier_folders_are_kept_under_new_names(folder):
    first = folder.move_away()
    RunFolder(folder.path).start(CONFIG)
    second = folder.move_away()
    assert [first.name, second.name] == ["out.old-1", "out.old-2"]
    assert RunFolder(first).read_config() == CONFIG
    assert not folder.path.exists()


@pytest.mark.parametrize("content", ["model: [", "- a list", "nothing: 1\nunknown: {}", "model: led-tiny\nsteps: 3"])
def test_damaged_settings_are_named(folder, content):
    (folder.path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"config.yaml must be as the run wrote it"):
        folder.read_config()


def test_a_folder_of_no_run_cannot_go_on(tmp_path):
    with pytest.raises(ValueError, match="must be the folder of a run. Received: .*holds no config.yaml"):
        RunFolder(tmp_path).read_config()


def write_model(folder):
    (folder / "model").mkdir()
    (folder / "model" / "README.md").write_text(f"# {folder.parent.name}")
    (folder / "model" / "weights").write_text(folder.name.rpartition("step-")[2])


@pytest.mark.parametrize(("best", "expected"), [(1, "00000001"), (None, "00000002"), (9, "00000002")])
def test_the_model_is_the_best_or_else_the_newest(folder, best, expected):
    checkpoints = Checkpoints(folder.checkpoints)
    for step in (1, 2):
        checkpoints.save(step, write_model)
    for _ in range(2):
        folder.keep_model(checkpoints, TrainerState(step=2, best_step=best))
        assert (folder.model / "weights").read_text() == expected
    (checkpoints.path(2) / "model" / "weights").unlink()
    assert (folder.model / "weights").read_text() == expected


def test_the_card_of_the_run_gives_way_to_its_next_one_and_one_by_hand_stays(folder):
    checkpoints = Checkpoints(folder.checkpoints)
    for step in (1, 2):
        checkpoints.save(step, write_model)
    card = folder.model / "README.md"
    for step in (1, 2):
        folder.keep_model(checkpoints, TrainerState(step=2, best_step=step))
        assert card.read_text() == folder.saved_card(step)
        assert folder.write_card(f"scores of {step}", step)
        assert card.read_text() == folder.card.read_text() == f"scores of {step}"
    card.write_text("by hand")
    folder.keep_model(checkpoints, TrainerState(step=2, best_step=1))
    assert not folder.write_card("scores of 1", 1)
    assert card.read_text() == "by hand"
    assert folder.card.read_text() == "scores of 1"
    assert (folder.model / "weights").read_text() == "00000001"
    assert folder.saved_card(1) == folder.saved_card(2) == "# checkpoints"
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".partial-")]


def test_files_of_the_model_that_are_edited_in_place_leave_the_checkpoint_whole(folder, monkeypatch):
    monkeypatch.setattr("training.run.folder._LINKED_BYTES", 9)
    checkpoints = Checkpoints(folder.checkpoints)
    checkpoints.save(1, write_model)
    folder.keep_model(checkpoints, TrainerState(step=1))
    with (folder.model / "weights").open("a") as file:
        file.write("changed")
    assert checkpoints.newest_whole() == 1
    # A large file, which nobody edits, is there once.
    assert (folder.model / "README.md").samefile(checkpoints.path(1) / "model" / "README.md")


def test_a_model_is_copied_where_files_have_no_second_names(folder, monkeypatch):
    def no_links(source, target):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr("training.run.folder._LINKED_BYTES", 0)
    checkpoints = Checkpoints(folder.checkpoints)
    checkpoints.save(1, write_model)
    folder.keep_model(checkpoints, TrainerState(step=1))
    assert (folder.model / "weights").read_text() == "00000001"

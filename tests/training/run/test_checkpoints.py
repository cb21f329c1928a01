"""Checkpoints are whole or absent, the newest whole one is found, and a full disk costs a warning first."""

import errno
import os

import pytest

from training.run import checkpoints as module
from training.run.checkpoints import MANIFEST, Checkpoints, SavingFailed, check_space, find_damage, free_bytes


def write(folder, content=b"weights"):
    (folder / "model").mkdir()
    (folder / "model" / "model.safetensors").write_bytes(content)
    (folder / "state.json").write_text("{}")


def full_disk(folder):
    (folder / "half").write_bytes(b"h")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.save(1, write)
    assert checkpoints.save(2, write)
    return checkpoints


def test_a_checkpoint_is_whole_with_sizes_and_checksums_of_all_files(saved):
    assert saved.steps() == [1, 2]
    assert sorted(path.name for path in saved.path(2).rglob("*")) == [
        MANIFEST, "model", "model.safetensors", "state.json",
    ]  # fmt: skip
    assert find_damage(saved.path(2)) is None


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("no numbers")])
def test_one_that_fails_is_absent_and_leaves_nothing(saved, error):
    def fail(folder):
        write(folder)
        raise error

    if isinstance(error, OSError):
        with pytest.warns(UserWarning, match="could not be written"):
            assert not saved.save(3, fail)
    else:
        with pytest.raises(type(error)):
            saved.save(3, fail)
    assert sorted(path.name for path in saved.folder.iterdir()) == ["step-00000001", "step-00000002"]


def damage_byte(folder):
    path = folder / "model" / "model.safetensors"
    path.write_bytes(b"w" + b"x" + path.read_bytes()[2:])


def damage_size(folder):
    os.truncate(folder / "model" / "model.safetensors", 3)


def damage_manifest(folder):
    (folder / MANIFEST).write_text('{"files": ')


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damage_byte, "model/model.safetensors is damaged"),
        (damage_size, "has 3 bytes instead of 7"),
        (damage_manifest, "its manifest cannot be read"),
        (lambda folder: (folder / "state.json").unlink(), "state.json is missing"),
        (lambda folder: (folder / MANIFEST).unlink(), "its manifest cannot be read"),
    ],
)
def test_a_damaged_newest_one_gets_another_name_and_the_one_before_counts(saved, damage, problem):
    damage(saved.path(2))
    with pytest.warns(UserWarning, match=problem):
        assert saved.newest_whole() == 1
    assert saved.steps() == [1]
    assert len(list(saved.folder.glob("damaged-00000002-*"))) == 1
    assert saved.newest_whole() == 1


def test_without_a_whole_one_there_is_none(tmp_path, saved):
    assert Checkpoints(tmp_path / "nothing").newest_whole() is None
    for step in (1, 2):
        damage_byte(saved.path(step))
    with pytest.warns(UserWarning, match="is left out"):
        assert saved.newest_whole() is None


def test_a_failed_save_tells_the_bytes_and_training_goes_on(saved):
    with pytest.warns(UserWarning, match=r"step 3 .*[\d,]+ bytes are free, 9 needed. Training goes on"):
        assert not saved.save(3, full_disk)
    assert saved.save(4, write)
    assert saved.failures == 0


def test_the_fourth_failure_in_a_row_ends_the_run(saved):
    for step in (3, 4, 5):
        with pytest.warns(UserWarning, match="Training goes on"):
            saved.save(step, full_disk)
    with pytest.raises(SavingFailed, match="4th in a row"):
        saved.save(6, full_disk)
    assert saved.newest_whole() == 2


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 7):
        checkpoints.save(step, write, best_step=2 if step >= 2 else None)
    assert checkpoints.steps() == [2, 5, 6]


def test_old_ones_are_removed_only_after_the_new_one_is_whole(saved):
    def look(folder):
        assert saved.steps() == [1, 2]
        write(folder)

    saved.save(3, look)
    assert saved.steps() == [2, 3]


def test_the_remains_of_a_killed_process_are_removed(saved):
    (saved.folder / ".partial-123-step-00000003").mkdir()
    saved.newest_whole()
    assert not list(saved.folder.glob(".partial-*"))


def test_a_step_that_is_saved_is_not_written_again(saved):
    assert saved.save(2, full_disk)


def test_other_names_are_no_checkpoints(saved):
    for name in ("step-3", "step-00000003.old", "notes"):
        (saved.folder / name).mkdir()
    assert saved.steps() == [1, 2]


def test_files_and_folders_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    events = []
    replace = os.replace
    monkeypatch.setattr(module, "sync_folder", lambda path: events.append(path.name))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append(f"rename {os.path.basename(b)}"), replace(a, b)))
    Checkpoints(tmp_path / "checkpoints").save(1, write)
    rename = events.index("rename step-00000001")
    assert {"model.safetensors", "state.json", "model", MANIFEST} <= set(events[:rename])
    assert events[rename + 1 :] == ["checkpoints"]


def test_room_for_the_checkpoints_is_needed_from_the_start(tmp_path):
    check_space(tmp_path / "not" / "yet", 10, 3)
    received = r"room for 4 checkpoints, [\d,]+ bytes. Received: output=.* with [\d,]+ bytes free"
    with pytest.raises(OSError, match=received):
        check_space(tmp_path, free_bytes(tmp_path), 4)

"""A version is whole or not there, whenever its export is killed, and old versions leave as they came."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from exported import exported

from export.client.version_folders import version_folders
from export.versions import new_version, next_version, remove_old_versions

WRITES = ["--lengths", "16", "--signatures", "serving_default", "--max-new-tokens", "4"]


def test_versions_are_counted_as_numbers(tmp_path):
    for name in ("9", "10", "notes", ".partial-1-11"):
        (tmp_path / name).mkdir()
    assert [version.name for version in version_folders(tmp_path)] == ["9", "10"]
    assert next_version(tmp_path) == 11


def test_the_newest_are_kept_and_only_older_ones_removed(tmp_path):
    for name in ("1", "2", "3", "7", "8"):
        (tmp_path / name).mkdir()
    removed = remove_old_versions(tmp_path, tmp_path / "7", keep=1)
    assert [version.name for version in removed] == ["1", "2"]
    assert [version.name for version in version_folders(tmp_path)] == ["3", "7", "8"]


def test_a_failed_export_leaves_nothing_and_what_a_killed_one_left_is_removed(tmp_path):
    (tmp_path / ".partial-of-a-killed-export").mkdir()
    with pytest.raises(FileNotFoundError), new_version(tmp_path / "1") as partial:
        (partial / "nowhere" / "half").write_text("")
    assert [child.name for child in tmp_path.iterdir()] == [".export.lock"]


def test_one_export_at_a_time_writes_into_a_folder(tmp_path):
    with (
        new_version(tmp_path / "1"),
        pytest.raises(BlockingIOError, match="no other export"),
        new_version(tmp_path / "2"),
    ):
        pass
    with pytest.raises(FileExistsError), new_version(tmp_path / "1"):
        pass


def _kill_at(command, folder, seconds):
    """Starts the export, and kills it so many seconds after it began to write (or, below 0, to run)."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while seconds >= 0 and not list(folder.glob(".partial-*")) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(abs(seconds))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("moments", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_an_export_killed_at_any_moment_leaves_no_half_version_and_the_next_one_works(moments, tmp_path):
    served, folder = exported("led"), tmp_path / "served"
    served.model.save_pretrained(tmp_path / "model")
    served.tokenizer.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "export", "--model", tmp_path / "model", "--output", folder, *WRITES]
    command = [str(part) for part in command]
    generator = random.Random(0)
    for _ in range(moments):
        _kill_at(command, folder, generator.uniform(-3, 12) if moments > 1 else 1.0)
        for version in version_folders(folder):
            assert (version / "manifest.json").is_file()
            assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    before = len(version_folders(folder))
    done = subprocess.run([*command, "--keep", "0"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [version.name for version in version_folders(folder)] == [str(before + 1)]
    assert not list(folder.glob(".partial-*"))

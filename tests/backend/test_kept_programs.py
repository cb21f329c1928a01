"""Programs that one process has compiled serve the next one; what is damaged, partial or another machine's does not."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from backends import IS_JAX

from tfmodels.backend import kept_programs
from tfmodels.backend.kept_programs import KeptPrograms, keep_programs

# Prints the result of a small compiled program, and how many programs were found and how many compiled.
PROGRAM = """
import sys
import keras
import tfmodels
from tfmodels.backend.kept_programs import keep_programs, _kept
from tfmodels.backend.compile import compiled

folder = keep_programs(sys.argv[1])
working = next(path for path in folder.glob(".in-use-*"))
found = len(list(working.iterdir()))
layer = keras.layers.Dense(3, kernel_initializer="ones")
layer.build((None, 2))
run = compiled(lambda x: keras.ops.tanh(layer(x)) * 3.0, layer, jit_compile=True)
value = float(keras.ops.sum(run(keras.ops.ones((2, 2)))))
print(round(value, 4), found, len(list(working.iterdir())) - found)
"""


def stored(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.parent.name.startswith("."))


def run(folder):
    arguments = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    value, found, compiled = done.stdout.split()
    return float(value), int(found), int(compiled)


def test_a_second_process_compiles_nothing_and_a_damaged_program_is_compiled_again(tmp_path):
    value, found, compiled = run(tmp_path)
    assert found == 0
    assert compiled > 0
    first = stored(tmp_path)
    assert run(tmp_path) == (value, compiled, 0)
    damaged = max(first, key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    assert run(tmp_path) == (value, compiled - 1, 1)
    assert not list(tmp_path.rglob(".in-use-*"))
    assert {path.name[33:] for path in stored(tmp_path)} == {path.name[33:] for path in first}


def add(programs, name, content):
    (programs.working / name).write_bytes(content)


def seen(folder, most_bytes=1000):
    programs = KeptPrograms(folder, most_bytes)
    return {path.name: path.read_bytes() for path in programs.working.iterdir()}


def test_a_process_sees_what_others_have_handed_over_and_not_what_they_are_writing(tmp_path):
    programs = KeptPrograms(tmp_path)
    add(programs, "a-step", b"one")
    assert seen(tmp_path) == {}
    programs.hand_over()
    assert seen(tmp_path) == {"a-step": b"one"}
    add(programs, "another", b"two")
    programs.close()
    assert seen(tmp_path) == {"a-step": b"one", "another": b"two"}
    assert not programs.working.exists()


@pytest.mark.parametrize("content", [b"", b"on", b"onE", b"one and more"])
def test_a_file_of_another_content_than_its_name_says_is_removed(tmp_path, content):
    programs = KeptPrograms(tmp_path)
    add(programs, "step", b"one")
    programs.close()
    (path,) = stored(tmp_path)
    path.write_bytes(content)
    assert seen(tmp_path) == {}
    assert not path.exists()


def test_of_two_programs_of_one_name_one_is_kept(tmp_path):
    both = KeptPrograms(tmp_path), KeptPrograms(tmp_path)
    for programs, content in zip(both, (b"one", b"two"), strict=True):
        add(programs, "step", content)
        programs.close()
    assert seen(tmp_path)["step"] in (b"one", b"two")
    assert len(stored(tmp_path)) == 1


def test_the_oldest_programs_go_when_there_are_too_many_bytes(tmp_path):
    programs = KeptPrograms(tmp_path, most_bytes=5)
    for number, name in enumerate(("first", "second", "third")):
        add(programs, name, b"xx")
        programs.hand_over()
        for path in tmp_path.glob(f"*-{name}"):
            os.utime(path, (number, number))
    programs.close()
    assert set(seen(tmp_path, most_bytes=5)) == {"second", "third"}


def test_the_remains_of_a_killed_process_are_removed_and_not_those_of_a_running_one(tmp_path):
    running = KeptPrograms(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = running.working.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")
    (tmp_path / name).mkdir()
    assert seen(tmp_path) == {}
    assert running.working.exists()
    assert not (tmp_path / name).exists()


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links")

    monkeypatch.setattr(os, "link", refuse)
    programs = KeptPrograms(tmp_path)
    add(programs, "step", b"one")
    programs.close()
    assert seen(tmp_path) == {"step": b"one"}


@pytest.fixture
def nothing_kept(monkeypatch):
    """These tests keep programs themselves."""
    monkeypatch.setattr(kept_programs, "_kept", None)


def test_it_can_be_turned_off_and_a_folder_of_the_users_own_stays(tmp_path, monkeypatch, nothing_kept):
    monkeypatch.setenv("TFMODELS_PROGRAMS", "off")
    assert keep_programs() is None
    monkeypatch.delenv("TFMODELS_PROGRAMS")
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/mine")
    if not IS_JAX:
        assert keep_programs(tmp_path) is None
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, nothing_kept):
    monkeypatch.setattr(kept_programs, "_has_own_folder", lambda: False)
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="compiled programs are not kept"):
        assert keep_programs(tmp_path / "file") is None


@pytest.mark.tensorflow
def test_a_tensorflow_that_has_begun_is_a_warning(tmp_path, nothing_kept):
    before = os.environ.get("TF_XLA_FLAGS")
    with pytest.warns(UserWarning, match="TensorFlow has begun already"):
        assert keep_programs(tmp_path) is None
    assert os.environ.get("TF_XLA_FLAGS") == before


@pytest.mark.parametrize("change", ["version", "flags", "cores", "processor"])
def test_other_versions_flags_and_processors_have_other_folders(change, monkeypatch):
    before = kept_programs._circumstances()
    assert before.startswith(keras.backend.backend())
    assert before == kept_programs._circumstances()
    if change == "version":
        monkeypatch.setattr(kept_programs.importlib.metadata, "version", lambda name: "0.0")
    elif change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    elif change == "cores":
        monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    else:
        monkeypatch.setattr(kept_programs, "_processor", lambda: "another")
    assert kept_programs._circumstances() != before


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells what a processor can do")
def test_the_abilities_of_a_processor_are_part_of_what_it_is():
    assert "flags" in kept_programs._processor() or "Features" in kept_programs._processor()

"""A SavedModel answers a C program, which has the loader and session of TensorFlow Serving and no Python."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
from exported import ANSWERER, CLASSIFIER, QUESTIONS, TEXTS, exported
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc or gcc)")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "ask_saved_model"
    libraries = Path(tf.sysconfig.get_lib())
    command = [COMPILER, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", tf.sysconfig.get_include()]
    command += [Path(__file__).with_name("ask_saved_model.c"), "-o", path]
    command += [*libraries.glob("libtensorflow_cc.so.?"), *libraries.glob("libtensorflow_framework.so.?")]
    if shutil.which("ld.gold"):
        # The library has more than 1 GB; the other linker takes ten seconds to look at them.
        command.append("-fuse-ld=gold")
    subprocess.run([*map(str, command), f"-Wl,-rpath,{libraries}"], check=True)
    return path


def ask(program, version, signature="serving_default", first="text", **inputs):
    """Answers of the output `first`; the others are asked for as well."""
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    definition = saved.meta_graphs[0].signature_def[signature]
    folder = Path(importlib.util.find_spec("tensorflow_text").origin).parent
    command = [program, version]
    for library in sorted(folder.glob("python/ops/_*.so")):
        command += ["--library", library]
    for name, rows in inputs.items():
        for row in rows:
            command += ["--input", f"{definition.inputs[name].name}={row}"]
    for name in sorted(definition.outputs, key=lambda name: (name != first, name)):
        command += ["--output", definition.outputs[name].name]
    return subprocess.run([str(part) for part in command], capture_output=True, timeout=60)


def strings(printed):
    answers = []
    while printed:
        size, _, rest = printed.partition(b"\n")
        answers.append(rest[: int(size)].decode())
        printed = rest[int(size) + 1 :]
    return answers


@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_the_c_program_answers_as_the_python_pipeline(program, kind):
    served = exported(kind)
    done = ask(program, served.folder / "1", text=TEXTS)
    assert done.returncode == 0, done.stderr.decode()
    assert strings(done.stdout) == served.summaries(TEXTS)


def test_the_c_program_classifies_as_the_python_pipeline(program):
    served = exported("longt5-tglobal", CLASSIFIER)
    done = ask(program, served.folder / "1", first="label", text=TEXTS)
    assert done.returncode == 0, done.stderr.decode()
    assert strings(done.stdout) == served.labels(TEXTS)


def test_the_c_program_answers_questions_as_the_python_pipeline(program):
    served = exported("led", ANSWERER)
    done = ask(program, served.folder / "1", question=QUESTIONS, text=TEXTS)
    assert done.returncode == 0, done.stderr.decode()
    assert strings(done.stdout) == served.spans(QUESTIONS, TEXTS)[1]


def test_the_c_program_says_what_is_wrong(program, tmp_path):
    done = subprocess.run([program, tmp_path, "--output", "a:0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Could not find SavedModel" in done.stderr

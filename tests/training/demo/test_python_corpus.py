"""The embedded corpus is complete and free of tests and duplicates."""

import importlib.util
import sys

import pytest

from training.demo.docstrings import examples_from_source
from training.demo.examples import Example
from training.demo.python_corpus import build_corpus


@pytest.fixture(scope="module")
def stdlib() -> list[Example]:
    return build_corpus(["stdlib"])


def _write_package(folder, monkeypatch, files: dict[str, str], name: str = "sample_package") -> str:
    for path, text in files.items():
        target = folder / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return name


def _function(name: str, sentence: str, value: int = 0) -> str:
    return f'def {name}():\n    """{sentence}"""\n    return {value}\n'


def test_the_standard_library_gives_about_seven_thousand_pairs(stdlib):
    lengths = [len(example.document) for example in stdlib]
    assert 6_000 < len(stdlib) < 9_000
    assert 10e6 < sum(lengths) < 20e6
    assert 150_000 < max(lengths) < 300_000


def test_a_package_of_the_standard_library_is_read_whole(stdlib):
    source = importlib.util.find_spec("json.encoder").loader.get_source("json.encoder")
    expected = [
        example.name for example in examples_from_source(source, "json.encoder") if len(example.summary.split()) >= 4
    ]
    assert [example.name for example in build_corpus(["json"]) if example.module == "json.encoder"] == expected
    assert "JSONEncoder.default" in expected
    assert {example.module for example in stdlib} >= {"json", "json.encoder", "asyncio.events", "argparse"}


def test_the_summary_does_not_occur_in_the_document(stdlib):
    for example in stdlib:
        assert example.summary not in " ".join(example.document.split()), (example.module, example.name)


def test_every_target_has_four_words_and_every_document_text(stdlib):
    for example in stdlib:
        assert len(example.summary.split()) >= 4
        assert example.document.strip()
        assert example.name
        assert example.module


def test_no_tests_and_no_installed_packages_are_in_the_standard_library(stdlib):
    for example in stdlib:
        parts = example.module.split(".")
        assert not {"test", "tests", "idle_test", "site-packages", "conftest"} & set(parts)
        assert not any(part.startswith("test_") or part.endswith("_test") for part in parts)
    assert not {"pip", "setuptools", "numpy", "keras"} & {example.module.split(".")[0] for example in stdlib}


def test_no_document_and_no_named_summary_occurs_twice(stdlib):
    assert len({example.document for example in stdlib}) == len(stdlib)
    assert len({(example.name, example.summary) for example in stdlib}) == len(stdlib)


def test_the_same_installation_gives_the_same_corpus():
    assert build_corpus(["json", "email"]) == build_corpus(["json", "email"])


def test_tests_generated_files_and_broken_files_are_left_out(tmp_path, monkeypatch):
    kept = {
        "a.py": _function("first", "Keep this first one.", 1),
        "sub/b.py": _function("second", "Keep this other one.", 2),
    }
    left_out = [
        "tests/c.py",
        "test/c.py",
        "sub/test_c.py",
        "c_test.py",
        "conftest.py",
        "sub/kernel_tests/c.py",
        "_tf_keras/c.py",
        "_api/v2/c.py",
        "not-a-module/c.py",
        "c_pb2.py",
        "data.txt",
    ]
    others = {
        path: _function(f"name{index}", f"Leave this number {index} out.", index + 9)
        for index, path in enumerate(left_out)
    }
    broken = {"old.py": "print 'Python 2'\n", "zero.py": '"""A null byte here."""\n\0'}
    name = _write_package(tmp_path, monkeypatch, {**kept, **others, **broken})
    (tmp_path / name / "latin.py").write_bytes(b'"""Not UTF-8: \xff is here."""\nx = 1\n')
    assert [(example.module, example.name) for example in build_corpus([name])] == [
        (f"{name}.a", "first"),
        (f"{name}.sub.b", "second"),
    ]


def test_packages_are_read_and_never_imported(tmp_path, monkeypatch):
    source = '"""A package that refuses."""\nraise RuntimeError\n'
    name = _write_package(tmp_path, monkeypatch, {"__init__.py": source}, "refusing_package")
    [example] = build_corpus([name])
    assert example == Example("raise RuntimeError", "A package that refuses.", name, name)
    assert name not in sys.modules


def test_copies_and_re_exports_are_kept_once(tmp_path, monkeypatch):
    files = {
        "a.py": _function("area", "Return the area of it.", 1),
        "b.py": _function("area", "Return the area of it.", 2),
        "c.py": _function("area", "Another sentence, same code.", 1),
        "d.py": _function("size", "Return the area of it.", 1),
    }
    name = _write_package(tmp_path, monkeypatch, files, "copied_package")
    assert [(example.module, example.name) for example in build_corpus([name])] == [
        (f"{name}.a", "area"),
        (f"{name}.d", "size"),
    ]


@pytest.mark.parametrize(
    ("packages", "message"),
    [
        ([], "packages must name at least one package"),
        ("json", "packages must be a sequence of names"),
        (["json", "no_such_package_here"], "Received: 'no_such_package_here'"),
        (["os.path"], "Received: 'os.path'"),
        (["math"], "Received: 'math'"),
    ],
)
def test_packages_that_cannot_be_read_raise(packages, message):
    with pytest.raises(ValueError, match=message):
        build_corpus(packages)

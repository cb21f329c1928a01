"""The embedded corpus is complete, free of tests and duplicates, and split so that no module leaks."""

import gc
import importlib.util
import itertools
import json
import sys

import pytest

from training.demo import python_corpus as corpus
from training.demo.docstrings import examples_from_source
from training.demo.python_corpus import build_corpus, corpus_summary, split_by_module, write_jsonl
from training.examples import Example


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


def test_no_module_is_in_two_parts(stdlib):
    split = split_by_module(stdlib)
    modules = [{example.module for example in part} for part in (split.train, split.validation, split.test)]
    assert all(modules)
    assert sum(map(len, modules)) == len(set.union(*modules))
    assert len(split.train) + len(split.validation) + len(split.test) == len(stdlib)


def test_the_split_depends_on_the_module_alone(stdlib):
    split = split_by_module(stdlib)
    backwards = split_by_module(stdlib[::-2])
    assert {e.module for e in backwards.test} <= {e.module for e in split.test}
    assert {e.module for e in backwards.validation} <= {e.module for e in split.validation}
    # Fixed across runs and machines: Python's own hash is not.
    [example] = [e for e in stdlib if e.name == "JSONEncoder.default"]
    assert example in split.train


def test_examples_without_a_module_are_split_by_document():
    examples = [Example(f"document {index}", "summary") for index in range(1000)]
    split = split_by_module(examples, validation=0.1, test=0.2)
    assert 60 < len(split.validation) < 140
    assert 160 < len(split.test) < 240


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"validation": -0.1}, r"validation must be at least 0 and below 1. Received: validation=-0.1"),
        ({"test": 1.0}, r"test must be at least 0 and below 1. Received: test=1.0"),
        ({"validation": 0.5, "test": 0.5}, r"validation \+ test must be below 1"),
    ],
)
def test_shares_out_of_range_raise(shares, message):
    with pytest.raises(ValueError, match=message):
        split_by_module([], **shares)


def test_written_examples_are_one_json_object_a_line(tmp_path):
    examples = [Example("a\nb\u2028ü\udc80", "the summary", "name", "module"), Example("c", "d")]
    write_jsonl(examples, tmp_path / "corpus.jsonl")
    lines = (tmp_path / "corpus.jsonl").read_bytes().split(b"\n")
    assert lines[-1] == b""
    assert [Example(**json.loads(line)) for line in lines[:-1]] == examples


def test_a_write_that_fails_leaves_the_former_file(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("before")

    def failing():
        yield Example("a", "b")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_jsonl(failing(), path)
    gc.collect()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_summary_counts_every_example_once(stdlib):
    split = split_by_module(stdlib)
    summary = corpus_summary(split)
    assert [part.name for part in summary.parts] == ["train", "validation", "test"]
    assert sum(part.examples for part in summary.parts) == summary.total.examples == len(stdlib)
    assert sum(part.modules for part in summary.parts) == summary.total.modules
    assert sum(bin.count for bin in summary.histogram) == len(stdlib)
    assert summary.total.longest == max(len(example.document) for example in stdlib)


def test_the_bins_of_the_histogram_join_without_gaps():
    lengths = [0, 1, 2, 3, 4, 100, 127, 128]
    summary = corpus_summary(corpus.Split([Example("x" * length, "s") for length in lengths], [], []))
    bins = summary.histogram
    assert all(first.high == second.low for first, second in itertools.pairwise(bins))
    for bin in bins:
        assert bin.count == sum(bin.low <= length < bin.high for length in lengths)
    assert corpus_summary(corpus.Split([], [], [])).histogram == ()
    assert corpus_summary(corpus.Split([], [], [])).total.examples == 0

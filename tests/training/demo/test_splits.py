"""A corpus is split so that no module leaks, counted, and written whole."""

import gc
import json

import pytest

from training.demo.examples import Example
from training.demo.python_corpus import build_corpus
from training.demo.splits import split_by_module, write_jsonl


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return build_corpus(["stdlib"])


def test_no_module_is_in_two_parts(examples):
    split = split_by_module(examples)
    modules = [{example.module for example in part} for part in (split.train, split.validation, split.test)]
    assert all(modules)
    assert sum(map(len, modules)) == len(set.union(*modules))
    assert len(split.train) + len(split.validation) + len(split.test) == len(examples)


def test_the_split_depends_on_the_module_alone(examples):
    split = split_by_module(examples)
    backwards = split_by_module(examples[::-2])
    assert {e.module for e in backwards.test} <= {e.module for e in split.test}
    assert {e.module for e in backwards.validation} <= {e.module for e in split.validation}
    # Fixed across runs and machines: Python's own hash is not.
    [example] = [e for e in examples if e.name == "JSONEncoder.default"]
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

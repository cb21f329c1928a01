"""No row to train on is, or is like, a held-out one."""

import importlib
import json

import pytest

from training.demo.corpus import distinct, make_corpus
from training.demo.examples import Example
from training.demo.likeness import HeldOut
from training.demo.splits import split_by_module

LINES = "\n".join(f"    total = total * {number} + value_{number}" for number in range(40))


def test_a_copy_with_another_name_is_like_the_held_out_one():
    held_out = HeldOut([Example(f"def first(total):\n{LINES}", "One.", "first")])
    assert held_out.holds(Example(f"def second(total, other):\n{LINES}\n    return other", "Two.", "second"))
    assert not held_out.holds(Example("def third(total):\n    return total", "Three.", "third"))


def test_one_sentence_is_used_three_times_at_most():
    examples = [Example(f"def f{number}(): ...", "Do it all now.", f"f{number}") for number in range(5)]
    assert len(distinct(examples)) == 3


@pytest.fixture
def package(tmp_path, monkeypatch) -> str:
    folder = tmp_path / "sample_package"
    folder.mkdir()
    for number in range(60):
        (folder / f"module{number}.py").write_text(
            f'def compute_number_{number}_of_all(a, b):\n    """Compute number {number} of the two values."""\n'
            f"    # Here comes the sum number {number} of both\n    return a + {number} * b\n"
        )
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return "sample_package"


def test_rows_to_train_on_come_from_modules_that_are_not_held_out(package, tmp_path, monkeypatch):
    import training.demo.corpus as corpus

    of_package = corpus.build_corpus([package])
    monkeypatch.setattr(corpus, "build_corpus", lambda *names: of_package)
    counts = make_corpus(tmp_path / "corpus", [package])
    parts = {name: _modules(tmp_path / "corpus" / f"{name}.jsonl") for name in counts}
    split = split_by_module(of_package)
    assert parts["test"] == {example.module for example in split.test}
    for name in ("train", "pretrain"):
        assert parts[name]
        assert not parts[name] & (parts["test"] | {example.module for example in split.validation})


def _modules(path) -> set[str]:
    return {json.loads(line)["module"] for line in path.read_text().splitlines()}

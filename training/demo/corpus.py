"""Files to train a small model on from the Python that is installed: `python -m training.demo.corpus --output corpus`.

Four files of JSON lines: `pretrain.jsonl`, parts that are cut out of source (see `denoising`); `train.jsonl` and
`validation.jsonl`, objects with the first sentence of their docstring, as a sentence (see `sentences`); and
`test.jsonl`, the held-out objects of the demonstration, as they are.
"""

import argparse
import importlib.metadata
import sys
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from training.demo.denoising import denoising_rows
from training.demo.examples import Example
from training.demo.likeness import HeldOut
from training.demo.python_corpus import STANDARD_LIBRARY, build_corpus, find_packages, source_files
from training.demo.sentences import plain_sentence
from training.demo.splits import split_by_module, write_jsonl

_MOST_REPEATS = 3
_MOST_CHARACTERS = 12_000


def make_corpus(output: Path, packages: Sequence[str] | None = None) -> dict[str, int]:
    """Write the files; return their numbers of rows.

    Args:
        output: a folder, made if it is missing.
        packages: top-level packages to read; None: the standard library and all that are installed.

    Raises:
        ValueError: a package that is not installed.
        OSError: a folder that cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    names = [STANDARD_LIBRARY, *find_packages()] if packages is None else list(packages)
    test = split_by_module(build_corpus()).test
    split = split_by_module(build_corpus(names))
    held_out = HeldOut([*test, *split.test, *split.validation])
    parts = {
        "train": distinct(example for example in sentences(split.train) if not held_out.holds(example)),
        "validation": distinct(sentences(split.validation)),
        "test": test,
        "pretrain": distinct(_denoising(names, held_out)),
    }
    for name, examples in parts.items():
        write_jsonl((_cut(example) for example in examples), output / f"{name}.jsonl")
    return {name: len(examples) for name, examples in parts.items()}


def sentences(examples: Iterable[Example]) -> Iterator[Example]:
    """The examples whose summary reads as a sentence, with that sentence.

    >>> [example.summary for example in sentences([Example("...", "add ``two`` large numbers")])]
    ['Add two large numbers.']
    """
    for example in examples:
        summary = plain_sentence(example.summary)
        if summary is not None:
            yield replace(example, summary=summary)


def distinct(examples: Iterable[Example]) -> list[Example]:
    """Leave out what differs from an earlier example in the objects around it alone, and sentences used all over.

    >>> twice = [Example("def f(a): ...", "Do it now.", f"{name}.f") for name in "AB"]
    >>> [example.name for example in distinct(twice)]
    ['A.f']
    """
    seen: set[tuple[str, str]] = set()
    uses: dict[str, int] = {}
    kept = []
    for example in examples:
        # Copies among classes have one method's name; rows without names have their document.
        key = (example.name.rsplit(".", 1)[-1] or example.document[:80], example.summary)
        if key in seen or uses.get(example.summary, 0) >= _MOST_REPEATS:
            continue
        seen.add(key)
        uses[example.summary] = uses.get(example.summary, 0) + 1
        kept.append(example)
    return kept


def _denoising(packages: Sequence[str], held_out: HeldOut) -> Iterator[Example]:
    for path, module in source_files(packages):
        if not split_by_module([Example("-", "-", "", module)]).train:
            continue
        try:
            with tokenize.open(path) as stream:
                rows = list(denoising_rows(stream.read(), module))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
            continue
        yield from (row for row in rows if not held_out.holds(row))


def _cut(example: Example) -> Example:
    return replace(example, document=example.document[:_MOST_CHARACTERS])


def versions() -> str:
    """Python and the installed distributions with their versions, a line each."""
    site = sysconfig.get_path("purelib")
    found = {(each.name, each.version) for each in importlib.metadata.distributions(path=[site])}
    lines = [f"python {sys.version.split()[0]}", *(f"{name} {version}" for name, version in sorted(found))]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, and what they are made of."""
    parser = argparse.ArgumentParser("python -m training.demo.corpus", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    parser.add_argument("--packages", nargs="+", help="packages to read (default: all that are installed)")
    options = parser.parse_args(arguments)
    counts = make_corpus(options.output, options.packages)
    (options.output / "versions.txt").write_text(versions(), encoding="utf-8")
    print(", ".join(f"{name}.jsonl: {count:,} rows" for name, count in counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The embedded corpus: the documented Python objects of the standard library and of installed packages.

For each module, class and function with a docstring, the document is its source without that docstring and the summary
is the docstring's first sentence. Files are found and parsed, never imported.
"""

import hashlib
import importlib.util
import os
import statistics
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from export.client.strict_json import dumped
from tfmodels.utils.files import written_whole
from training.demo.docstrings import examples_from_source
from training.examples import Example

STANDARD_LIBRARY = "stdlib"
MIN_SUMMARY_WORDS = 4

_TEST_FOLDERS = frozenset({"test", "tests", "idle_test", "testdata"})
# Generated folders that import every public name once more.
_GENERATED_FOLDERS = frozenset({"_tf_keras", "_api"})
_CACHE_FOLDER = "__pycache__"


@dataclass(frozen=True)
class Split:
    """Examples in three parts that share no module."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]


@dataclass(frozen=True)
class PartSummary:
    """Count and document lengths (in characters) of one part. `longest` and `median` are 0 for an empty part."""

    name: str
    examples: int
    modules: int
    characters: int
    median: int
    longest: int


@dataclass(frozen=True)
class LengthBin:
    """How many documents have a length in characters with `low <= length < high`."""

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class CorpusSummary:
    """What `corpus_summary` counts: one entry per part, then all of them together, and the histogram of lengths."""

    parts: tuple[PartSummary, ...]
    total: PartSummary
    histogram: tuple[LengthBin, ...]


def build_corpus(packages: Sequence[str] = (STANDARD_LIBRARY, "keras", "numpy", "tensorflow")) -> list[Example]:
    """Read the documented objects of installed packages, without their tests and generated files.

    Targets of fewer than four words are left out, and so are documents that still hold their target elsewhere. Of
    examples with the same document, or with the same name and summary, only the first is kept, in the order of
    `packages` and of the sorted file paths. The result depends on the installed versions alone.

    Args:
        packages: names of installed top-level packages; `"stdlib"` is the standard library.

    Returns:
        the examples, in a fixed order.

    Raises:
        ValueError: no packages, or a package that is not installed.

    >>> examples = build_corpus(["json"])
    >>> sorted({example.module for example in examples})
    ['json', 'json.decoder', 'json.encoder', 'json.tool']
    """
    if isinstance(packages, str):
        raise ValueError(f"packages must be a sequence of names, not one string. Received: packages={packages!r}")
    if not packages:
        raise ValueError(f"packages must name at least one package. Received: packages={packages!r}")
    # All are located before any is read, so that a missing one is known at once.
    roots = [(name, _locate(name)) for name in packages]
    examples: list[Example] = []
    documents: set[str] = set()
    named_summaries: set[tuple[str, str]] = set()
    for name, root in roots:
        for path, module in _source_files(root, "" if name == STANDARD_LIBRARY else name):
            for example in _read_examples(path, module):
                named_summary = (example.name, example.summary)
                if example.document in documents or named_summary in named_summaries:
                    continue
                documents.add(example.document)
                named_summaries.add(named_summary)
                examples.append(example)
    return examples


def split_by_module(examples: Iterable[Example], validation: float = 0.05, test: float = 0.05) -> Split:
    """Split by a hash of the module's name, so that no module is in two parts and the parts never change.

    An example without a module is placed by its document. A part can be empty when there are few modules.

    Args:
        examples: the examples; their order is kept within each part.
        validation: the share of modules for validation, from 0 to 1.
        test: the share of modules for testing, from 0 to 1.

    Raises:
        ValueError: a share that is not between 0 and 1, or shares that leave nothing to train on.

    >>> split = split_by_module([Example("def f(): pass", "Do nothing at all.", "f", "m")])
    >>> len(split.train) + len(split.validation) + len(split.test)
    1
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} must be at least 0 and below 1. Received: {name}={share}")
    if validation + test >= 1:
        raise ValueError(
            f"validation + test must be below 1, so that something is left to train on. "
            f"Received: validation={validation}, test={test}"
        )
    split = Split([], [], [])
    for example in examples:
        position = _position(example.module or example.document)
        if position < test:
            split.test.append(example)
        elif position < test + validation:
            split.validation.append(example)
        else:
            split.train.append(example)
    return split


def write_jsonl(examples: Iterable[Example], path: str | os.PathLike) -> None:
    """Write one JSON object a line with the fields of `Example`; the file takes its name only when it is whole.

    Raises:
        OSError: a folder that does not exist or cannot be written.
    """
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as stream:
        for example in examples:
            stream.write(dumped(asdict(example)) + "\n")


def corpus_summary(split: Split) -> CorpusSummary:
    """Count examples, modules and characters per part, and document lengths over bins that double in width.

    >>> corpus_summary(Split([Example("x" * 100, "Some text.")], [], [])).histogram
    (LengthBin(low=64, high=128, count=1),)
    """
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    everything = [example for part in parts.values() for example in part]
    lengths = [len(example.document) for example in everything]
    return CorpusSummary(
        parts=tuple(_part_summary(name, part) for name, part in parts.items()),
        total=_part_summary("total", everything),
        histogram=_histogram(lengths),
    )


def _locate(name: str) -> Path:
    if name == STANDARD_LIBRARY:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"packages must name installed top-level packages. Received: {name!r}, which is not one")
    return Path(next(iter(spec.submodule_search_locations)))


def _source_files(root: Path, package: str) -> Iterator[tuple[Path, str]]:
    """The files of importable modules below `root` with their module names, sorted, tests left out."""
    for folder, subfolders, files in os.walk(root):
        # A folder whose name is no identifier cannot be imported: this leaves out site-packages and the like.
        subfolders[:] = sorted(name for name in subfolders if name.isidentifier() and not _is_left_out_folder(name))
        inside = Path(folder).relative_to(root).parts
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if suffix != ".py" or not stem.isidentifier() or _is_left_out_file(stem):
                continue
            parts = [*([package] if package else []), *inside, *([] if stem == "__init__" else [stem])]
            if parts:
                yield Path(folder) / file, ".".join(parts)


def _is_left_out_folder(folder: str) -> bool:
    return folder in _TEST_FOLDERS | _GENERATED_FOLDERS or folder.endswith("_tests") or folder == _CACHE_FOLDER


def _is_left_out_file(stem: str) -> bool:
    is_test = stem in ("conftest", "test", "tests") or stem.startswith("test_") or stem.endswith("_test")
    # Protocol buffer modules are generated, all with one docstring.
    return is_test or stem.endswith(("_pb2", "_pb2_grpc"))


def _read_examples(path: Path, module: str) -> list[Example]:
    try:
        # tokenize.open honours the file's coding line and folds line ends.
        with tokenize.open(path) as stream:
            source = stream.read()
        examples = examples_from_source(source, module)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return []
    return [example for example in examples if _is_usable(example)]


def _is_usable(example: Example) -> bool:
    if not example.document or len(example.summary.split()) < MIN_SUMMARY_WORDS:
        return False
    # A module and its main class may share a docstring: what is to be written would stand in what is read.
    return example.summary not in " ".join(example.document.split())


def _position(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _part_summary(name: str, examples: Sequence[Example]) -> PartSummary:
    lengths = [len(example.document) for example in examples]
    return PartSummary(
        name=name,
        examples=len(examples),
        modules=len({example.module for example in examples}),
        characters=sum(lengths),
        median=int(statistics.median(lengths)) if lengths else 0,
        longest=max(lengths, default=0),
    )


def _histogram(lengths: Sequence[int]) -> tuple[LengthBin, ...]:
    if not lengths:
        return ()
    counts: dict[int, int] = {}
    for length in lengths:
        exponent = max(length.bit_length() - 1, 0)
        counts[exponent] = counts.get(exponent, 0) + 1
    exponents = range(min(counts), max(counts) + 1)
    # The bin of exponent 0 also takes documents of length 0.
    return tuple(LengthBin(2**e if e else 0, 2 ** (e + 1), counts.get(e, 0)) for e in exponents)

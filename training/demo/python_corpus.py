"""The embedded corpus: the documented Python objects of the standard library and of installed packages.

For each module, class and function with a docstring, the document is its source without that docstring and the summary
is the docstring's first sentence. Files are found and parsed, never imported.
"""

import contextlib
import importlib.util
import os
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.demo.docstrings import examples_from_source
from training.demo.examples import Example

STANDARD_LIBRARY = "stdlib"
MIN_SUMMARY_WORDS = 4

_TEST_FOLDERS = frozenset({"test", "tests", "idle_test", "testdata"})
# Generated folders that import every public name once more.
_GENERATED_FOLDERS = frozenset({"_tf_keras", "_api"})
_CACHE_FOLDER = "__pycache__"
_OWN_PACKAGES = frozenset({"tfmodels", "training", "export"})


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
    examples: list[Example] = []
    documents: set[str] = set()
    named_summaries: set[tuple[str, str]] = set()
    for path, module in source_files(packages):
        for example in _read_examples(path, module):
            named_summary = (example.name, example.summary)
            if example.document in documents or named_summary in named_summaries:
                continue
            documents.add(example.document)
            named_summaries.add(named_summary)
            examples.append(example)
    return examples


def find_packages() -> list[str]:
    """The names of all top-level packages in the folder of installed packages, sorted; this project is none of them.

    >>> {"keras", "numpy"} <= set(find_packages())
    True
    """
    found = []
    for path in sorted(Path(sysconfig.get_path("purelib")).iterdir()):
        if path.is_dir() and path.name.isidentifier() and path.name not in {_CACHE_FOLDER, *_OWN_PACKAGES}:
            with contextlib.suppress(ValueError):  # a folder without Python
                _locate(path.name)
                found.append(path.name)
    return found


def source_files(packages: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """The Python files of packages with their modules' names, as `build_corpus` reads them.

    Raises:
        ValueError: a package that is not installed.
    """
    # All are located before any is read, so that a missing one is known at once.
    roots = [(name, _locate(name)) for name in packages]
    for name, root in roots:
        yield from _source_files(root, "" if name == STANDARD_LIBRARY else name)


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
    # A module and its main class may share a docstring: the document would hold its summary.
    return example.summary not in " ".join(example.document.split())

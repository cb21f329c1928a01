"""Counts on how many texts the two paths of a tokenizer and transformers differ.

The texts are fuzzed strings, bytes that are not all UTF-8, texts of a million characters, and the whole demo corpus.

python tests/text/exactness.py
python tests/text/exactness.py --count 200000 --megabytes 5
"""

import argparse
import dataclasses
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import tensorflow as tf
from fuzzing import batches, fuzz_bytes, fuzz_texts, long_text

from tfmodels import LEDTokenizer, LongT5Tokenizer

_WANTED = 256


@dataclasses.dataclass
class Counts:
    """Texts compared, and on how many of them something differs from the Python path."""

    texts: int = 0
    graph_ids: int = 0
    graph_texts: int = 0
    first_ids: int = 0
    reference_ids: int = 0
    round_trip: int = 0

    @property
    def differences(self) -> int:
        """All of them."""
        return self.graph_ids + self.graph_texts + self.first_ids + self.reference_ids + self.round_trip


def compare(tokenizer: Any, texts: Iterable[str | bytes], reference: Any = None) -> Counts:
    """Compares ids and decoded texts of the Python path with the graph's, and ids with those of transformers.

    The first ids of a text must be the same where the graph reads no further than `_WANTED` tokens. Byte-level BPE must
    give back every text without special tokens, too. Bytes are compared with the string that Python decodes them to.
    """
    counts, graph = Counts(), tokenizer.in_graph()
    for batch in batches(iter(texts)):
        strings = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in batch]
        expected = tokenizer._encode_texts(strings)
        actual = graph.encode(tf.constant(batch, tf.string))
        decoded = tokenizer.batch_decode(expected)
        first = graph.encode_up_to(tf.constant(batch, tf.string), _WANTED).to_list()
        in_graph = [text.decode() for text in graph.decode(actual.to_tensor(default_value=-100)).numpy()]
        rows = list(zip(strings, expected, actual.to_list(), decoded, in_graph, strict=True))
        counts.texts += len(rows)
        counts.graph_ids += sum(ids != graph_ids for _, ids, graph_ids, _, _ in rows)
        counts.first_ids += sum(_wanted(row) != _wanted(ids) for row, ids in zip(first, expected, strict=True))
        counts.graph_texts += sum(text != graph_text for *_, text, graph_text in rows)
        if isinstance(tokenizer, LEDTokenizer):
            plain = [row for row in rows if not any(token in row[0] for token in tokenizer.special_tokens)]
            counts.round_trip += sum(text != again for text, _, _, again, _ in plain)
        if reference is not None:
            theirs = _reference_ids(reference, strings)
            counts.reference_ids += sum(ids != other for ids, other in zip(expected, theirs, strict=True))
    return counts


def _wanted(ids: list[int]) -> tuple[list[int], bool]:
    """What padding to `_WANTED` takes of a row: its first ids, without the last in place of which there may be eos."""
    return (ids[: _WANTED - 1], True) if len(ids) > _WANTED else (ids, False)


def _reference_ids(reference: Any, texts: list[str]) -> list[list[int]]:
    if reference.is_fast:
        return reference(texts)["input_ids"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This sequence already has")
        return [reference.encode(text) for text in texts]


def _families(examples: list[Any]) -> Iterator[tuple[Any, Any]]:
    import transformers

    from training.demo.splits import split_by_module
    from training.run.build import vocabulary_texts

    logging.getLogger("transformers").setLevel(logging.ERROR)
    train = split_by_module(examples).train
    learnt_from = vocabulary_texts((example.document, example.summary) for example in train)
    for family, peer in ((LEDTokenizer, "LEDTokenizerFast"), (LongT5Tokenizer, "T5Tokenizer")):
        tokenizer = family.train_from_iterator(learnt_from, 4096)
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            yield tokenizer, getattr(transformers, peer).from_pretrained(folder)


def main() -> int:
    """Prints the counts; returns 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000, help="fuzzed texts (default: 200000)")
    parser.add_argument("--megabytes", type=int, default=5, help="texts of a million characters (default: 5)")
    options = parser.parse_args()
    from training.demo.python_corpus import build_corpus

    examples = build_corpus()
    sets = {
        "fuzzed strings": lambda: fuzz_texts(options.count, seed=1),
        "fuzzed bytes": lambda: fuzz_bytes(options.count // 10, seed=1),
        "a million characters": lambda: (long_text(1_000_000, seed) for seed in range(options.megabytes)),
        "a million of ASCII": lambda: (long_text(1_000_000, seed, True) for seed in range(options.megabytes)),
        "demo corpus": lambda: (example.document for example in examples),
    }
    differences = 0
    for tokenizer, reference in _families(examples):
        for name, texts in sets.items():
            start = time.monotonic()
            counts = compare(tokenizer, texts(), reference)
            differences += counts.differences
            print(f"{type(tokenizer).__name__}, {name}: {counts}, {time.monotonic() - start:.0f} s", flush=True)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())

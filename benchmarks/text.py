"""`python -m benchmarks text`: how fast the tokenizers are in the graph and in Python, and what memory is kept."""

import functools
import random
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from rich.console import Console

import tfmodels
from benchmarks.memory import reset_peak
from benchmarks.models import FAMILIES
from benchmarks.report import make_table
from benchmarks.timing import median_seconds, seconds

_PREFIXES = dict.fromkeys(family.class_prefix for family in FAMILIES.values())
TOKENIZERS: dict[str, Any] = {prefix.lower(): getattr(tfmodels, f"{prefix}Tokenizer") for prefix in _PREFIXES}
VOCABULARY = 4096
BATCH = 64
MAX_LENGTH = 4096
LONG_TEXT = 5_000_000
_WORDS_A_BATCH = 10_000
# Allocators fill up at first: what is kept later is kept for good.
_WARM_UP_SHARE = 0.2
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Speed:
    """Megabytes of text a second, the median of all rounds; what of a text need not be read is counted, too."""

    graph: float
    python: float


@dataclass(frozen=True)
class Memory:
    """Megabytes that the process held after the first words and after all; None where the system does not say."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class LongTexts:
    """Seconds of one text of `LONG_TEXT` bytes in the graph, from words and from a single word."""

    words: float
    word: float


@dataclass(frozen=True)
class Figures:
    """All of a family."""

    speed: Speed
    memory: Memory
    long_texts: LongTexts


def corpus_documents(megabytes: float) -> list[str]:
    """Documents of the demo corpus, evenly spread over it, of about that size together."""
    from training.demo.examples import spread
    from training.demo.python_corpus import build_corpus

    examples = build_corpus()
    size = sum(len(example.document) for example in examples) / _MEGABYTE
    return [example.document for example in spread(examples, max(1, int(len(examples) * megabytes / size)))]


def measure_speed(tokenizer: Any, documents: Sequence[str], rounds: int) -> Speed:
    """Both paths in turn, from texts to padded arrays of `MAX_LENGTH`."""
    layer = tokenizer.as_layer(MAX_LENGTH)
    size = sum(len(document.encode()) for document in documents) / _MEGABYTE
    batches = [list(documents[start : start + BATCH]) for start in range(0, len(documents), BATCH)]
    # As a training pipeline runs it: a batch on each core.
    dataset = tf.data.Dataset.from_tensor_slices(list(documents)).batch(BATCH).map(layer, num_parallel_calls=2)
    # Each makes what it runs through before the clock starts: an iterator instantiates the graph once an epoch.
    paths: dict[str, Callable[[], Iterator[Any]]] = {
        "graph": lambda: iter(dataset),
        "python": lambda: (tokenizer(batch, max_length=MAX_LENGTH) for batch in batches),
    }
    taken: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(1 + rounds):
        for name, make in paths.items():
            taken[name].append(seconds(functools.partial(deque, make(), maxlen=0)))
    # The first round warms up.
    return Speed(**{name: size / statistics.median(times[1:]) for name, times in taken.items()})


def distinct_words(count: int) -> Iterator[list[str]]:
    """`count` words of which no two are equal, in batches."""
    generator = random.Random(0)
    for start in range(0, count, _WORDS_A_BATCH):
        yield [
            "".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=6)) + str(number)
            for number in range(start, min(start + _WORDS_A_BATCH, count))
        ]


def measure_memory(tokenizer: Any, count: int) -> Memory:
    """Streams distinct words through the graph: a table that grew with each new word would show."""
    graph, before = tokenizer.in_graph(), None
    warm_up = int(count * _WARM_UP_SHARE)
    seen = 0
    for batch in distinct_words(count):
        if before is None and seen >= warm_up:
            before = reset_peak()
        graph.encode(tf.constant(batch))
        seen += len(batch)
    after = reset_peak()
    return Memory(*(None if held is None else held / _MEGABYTE for held in (before, after)))


def measure_long_texts(tokenizer: Any, documents: Sequence[str], rounds: int) -> LongTexts:
    """What one request of much text costs: where it has no spaces it is read to its end."""
    run = tf.function(tokenizer.as_layer(MAX_LENGTH))
    words = " ".join(documents)
    texts = (words, "".join(words.split()))
    filled = [tf.constant([(text * (LONG_TEXT // len(text) + 1))[:LONG_TEXT]]) for text in texts]
    return LongTexts(*(median_seconds(functools.partial(run, text), rounds) for text in filled))


def run_text(console: Console, megabytes: float, rounds: int, words: int) -> dict[str, Figures]:
    """Measures both families and prints a table."""
    documents = corpus_documents(megabytes)
    results = {}
    for name, tokenizer_class in TOKENIZERS.items():
        tokenizer = tokenizer_class.train_from_iterator(documents[: len(documents) // 2 + 1], VOCABULARY)
        results[name] = Figures(
            measure_speed(tokenizer, documents, rounds),
            measure_memory(tokenizer, words),
            measure_long_texts(tokenizer, documents, rounds),
        )
    long = f"{LONG_TEXT / _MEGABYTE:g} MB"
    headings = ("graph MB/s", "Python MB/s", "MB held before", "MB held after", f"{long}, ms", f"{long}, one word, ms")
    table = make_table(console, f"Text to ids: {megabytes:g} MB of source, {words:,} distinct words", "", headings)
    for name, figures in results.items():
        speed, memory, long_texts = figures.speed, figures.memory, figures.long_texts
        held = [("-" if value is None else f"{value:.0f}") for value in (memory.before, memory.after)]
        waited = [f"{value * 1e3:.1f}" for value in (long_texts.words, long_texts.word)]
        table.add_row(name, f"{speed.graph:.2f}", f"{speed.python:.2f}", *held, *waited)
    console.print(table)
    return results

"""Vocabularies for source code and prose in which the words of identifiers are the words of sentences."""

import io
import json
import re
import string
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from tfmodels import LEDTokenizer, LongT5Tokenizer
from tfmodels.text.t5_tokens import SENTINEL_COUNT, TRAINER_SETTINGS

_HEAD_CHARACTERS = 400
_MOST_TEXTS = 160_000
# The words of identifiers, and what stands between them. Of white space before a word the last character is the word's.
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|_+|[^\w\s]+|\s+(?=\s)")
_BEHIND_SPACE = re.compile(r"(?<= )(?:[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|_+|[^\w\s]+)")
_SPACE = "\u0120"
_UNSPACED_SHARE = 0.6


def train_longt5_tokenizer(rows: Iterable[tuple[str, str]], vocab_size: int) -> LongT5Tokenizer:
    """A unigram vocabulary whose normalization makes spaces of underscores, and parts camel case.

    `get_fooBar` is read as `get foo bar`: the pieces that a sentence has as well.

    Args:
        rows: documents and summaries.
        vocab_size: pieces, the sentinels among them.

    >>> rows = [("def read_fileName(): ...", "Read the file name.")] * 20
    >>> tokenizer = train_longt5_tokenizer(rows, 240)
    >>> tokenizer.decode(tokenizer.encode("read_fileName"))
    'read file name'
    """
    import sentencepiece

    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "rules.tsv")
        rules.write_text("".join(f"{_codes(old)}\t{_codes(new)}\n" for old, new in _rules()), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(" ".join(text.split()) for text in _texts(rows)),
            model_writer=model,
            vocab_size=vocab_size - SENTINEL_COUNT,
            normalization_rule_tsv=str(rules),
            required_chars="".join(sorted(set(string.printable) - set(string.whitespace) - {"_"})),
            max_sentence_length=1 << 16,
            split_digits=True,
            **TRAINER_SETTINGS,
        )
    return LongT5Tokenizer(model.getvalue())


def _rules() -> Iterator[tuple[str, str]]:
    yield from ((character, " ") for character in "_\t\r\n")
    for before in string.ascii_lowercase + string.digits:
        for capital in string.ascii_uppercase:
            yield before + capital, f"{before} {capital.lower()}"


def _codes(text: str) -> str:
    return " ".join(f"{ord(character):X}" for character in text)


def train_led_tokenizer(rows: Iterable[tuple[str, str]], vocab_size: int) -> LEDTokenizer:
    """A byte-level vocabulary whose merges stay within the words of identifiers, with and without a leading space.

    First merges are learnt from words alone, with `fooBar` as two, and then for the most frequent of the learnt words
    one more merge each with the space before it: " name" and "name" are a piece each.

    Args:
        rows: documents and summaries.
        vocab_size: pieces at most.

    >>> rows = [("def read_fileName(): ...", "Read the file name.")] * 20
    >>> tokenizer = train_led_tokenizer(rows, 460)
    >>> [tokenizer.decode([index]) for index in tokenizer.encode("read_fileName name", add_special_tokens=False)]
    ['read', '_', 'file', 'Name', ' name']
    """
    parts: list[str] = []
    spaced: Counter[str] = Counter()
    for text in _texts(rows):
        parts += _PARTS.findall(text)
        spaced.update(_BEHIND_SPACE.findall(text))
    files = LEDTokenizer.train_from_iterator(parts, int(_UNSPACED_SHARE * vocab_size)).to_files()
    vocabulary: dict[str, int] = json.loads(files["vocab.json"])
    merges: list[tuple[str, str]] = []
    for line in files["merges.txt"].decode().splitlines():
        left, _, right = line.partition(" ")
        if right and not line.startswith("#version"):
            merges.append((left, right))
    for word, _ in sorted(spaced.items(), key=lambda item: (-item[1], item[0])):
        if len(vocabulary) >= vocab_size:
            break
        if word in vocabulary and _SPACE + word not in vocabulary:
            vocabulary[_SPACE + word] = len(vocabulary)
            merges.append((_SPACE, word))
    return LEDTokenizer(vocabulary, merges)


def _texts(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Summaries and the heads of documents."""
    for document, summary in islice(rows, _MOST_TEXTS):
        yield from (text for text in (summary, document[:_HEAD_CHARACTERS]) if text.isascii())

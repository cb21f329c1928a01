"""Checks of a tokenizer's arguments."""

import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


def check_text(text: Any, name: str) -> str:
    """Return `text` when it is a `str` that UTF-8 can hold, or raise a `ValueError` naming the argument."""
    if not isinstance(text, str):
        raise ValueError(f"{name} must be a str. Received: {text!r} (of type {type(text).__name__})")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be valid Unicode without lone surrogates. Received: {text[error.start]!r} at {error.start}"
        ) from error
    return text


def check_texts(texts: Any, name: str) -> list[str]:
    """Return a str or a sequence of str as a non-empty list, or raise a `ValueError` naming the argument."""
    if isinstance(texts, str):
        return [check_text(texts, name)]
    if isinstance(texts, bytes) or not isinstance(texts, Sequence | np.ndarray):
        raise ValueError(f"{name} must be a str or a sequence of str. Received: {texts!r}")
    if len(texts) == 0:
        raise ValueError(f"{name} must hold at least one text. Received: {texts!r}")
    return [check_text(text, f"{name}[{index}]") for index, text in enumerate(texts)]


def check_as_many(texts: Any, name: str, sources: Sequence[str]) -> list[str]:
    """Return texts as a list, one for each of `sources`, or raise a `ValueError` naming the argument."""
    checked = check_texts(texts, name)
    if len(checked) != len(sources):
        raise ValueError(f"{name} must hold as many texts as texts. Received: {len(checked)} for {len(sources)} texts")
    return checked


def check_length(length: Any, name: str, minimum: int = 2) -> int:
    """Return `length` as an int of at least `minimum` (room for a token and the eos), or raise a `ValueError`."""
    try:
        value = operator.index(length)
    except TypeError:
        raise ValueError(f"{name} must be an integer. Received: {name}={length!r}") from None
    if isinstance(length, bool):
        raise ValueError(f"{name} must be an integer. Received: {name}={length!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}. Received: {name}={value}")
    return value


def check_lengths(max_length: Any, lengths: Any, minimum: int, name: str = "max_length") -> tuple[int, ...]:
    """Return the lengths that rows may have, ascending; none at all for rows of any length."""
    if lengths is None:
        return () if max_length is None else (check_length(max_length, name, minimum),)
    if max_length is not None:
        raise ValueError(f"lengths and {name} must not both be given. Received: {lengths=}, {name}={max_length}")
    if isinstance(lengths, str | bytes) or not isinstance(lengths, Sequence) or not lengths:
        raise ValueError(f"lengths must be a non-empty sequence of integers. Received: {lengths=}")
    return tuple(sorted({check_length(length, f"lengths[{i}]", minimum) for i, length in enumerate(lengths)}))


def check_vocab_size(vocab_size: Any, minimum: int, rule: str) -> int:
    """Return `vocab_size` when it is an int of at least `minimum`, or raise a `ValueError` that says the rule."""
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < minimum:
        raise ValueError(f"vocab_size must be at least {minimum} ({rule}). Received: vocab_size={vocab_size!r}")
    return vocab_size


def iterate_texts(texts: Iterable[str], name: str) -> Iterator[str]:
    """Yield the texts of a training corpus, each one checked."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise ValueError(f"{name} must be an iterable of str. Received: {type(texts).__name__}")
    for index, text in enumerate(texts):
        yield check_text(text, f"{name}[{index}]")


def as_id_list(ids: Any, name: str) -> list[int]:
    """Return one row of ids (list, array or tensor) as a list of Python ints."""
    values = np.asarray(ids)
    if values.ndim != 1 or (values.size and not np.issubdtype(values.dtype, np.integer)):
        raise ValueError(f"{name} must be one row of integer ids. Received: {ids!r}")
    return [int(value) for value in values]


def as_id_rows(sequences: Any, name: str) -> list[list[int]]:
    """Return a batch of ids (nested lists, array, tensor or ragged tensor) as lists of Python ints."""
    if hasattr(sequences, "to_list"):
        sequences = sequences.to_list()
    if not isinstance(sequences, list | tuple):
        sequences = np.asarray(sequences)
        if sequences.ndim != 2:
            raise ValueError(f"{name} must have two axes (batch, length). Received: shape={sequences.shape}")
    return [as_id_list(row, f"{name}[{index}]") for index, row in enumerate(sequences)]

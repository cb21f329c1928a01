"""Requests that run each program of an export once, and their answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from export.manifest import input_specs
from export.warmup import WarmUp

# Larger answers, such as a document's hidden states, are not kept.
_MOST_VALUES = 10_000
# A word of the samples, which every vocabulary has in few tokens.
_WORD = "the "


def sample_text(tokenizer: Any, length: int) -> str:
    """A text of almost `length` tokens, and not more.

    Args:
        tokenizer: a tokenizer of this package.
        length: in tokens, special ones included.
    """
    few, many = (len(tokenizer.encode(_WORD * words)) for words in (16, 32))
    words = max(int((length - 2) * 16 / (many - few)), 1)
    while words > 1 and len(tokenizer.encode(_WORD * words)) > length:
        words -= max(words // 64, 1)
    return (_WORD * words).strip()


def sample_requests(
    functions: Mapping[str, Any], tokenizer: Any, lengths: Sequence[int], batch_sizes: Sequence[int] | None
) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    """A request for each signature, length and batch size, so that each program runs once.

    Args:
        functions: concrete functions by signature name.
        tokenizer: the tokenizer.
        lengths, batch_sizes: see `Signatures`.
    """
    for length in lengths:
        text = sample_text(tokenizer, length)
        ids = tokenizer([text], max_length=length)
        for rows in batch_sizes or (1,):
            samples = {
                "text": [text] * rows,
                "question": [_WORD.strip()] * rows,
                "max_new_tokens": [1] * rows,
                "num_return_sequences": [1] * rows,
                **{name: value.repeat(rows, axis=0) for name, value in ids.items()},
            }
            for name, function in functions.items():
                specs = input_specs(function).items()
                yield name, {key: tf.constant(samples[key], spec.dtype) for key, spec in specs}


def answered(
    functions: Mapping[str, Any], requests: Iterator[tuple[str, dict[str, tf.Tensor]]], is_random: bool = False
) -> Iterator[WarmUp]:
    """The requests with the functions' answers, or where those are drawn without them."""
    for name, request in requests:
        found = functions[name](**request)
        answer = {
            key: value.numpy() for key, value in found.items() if tf.size(value) <= _MOST_VALUES and not is_random
        }
        yield WarmUp(name, {key: value.numpy() for key, value in request.items()}, answer)

"""Requests that run each program of an export once, and their answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from export.client.graphs import input_specs
from export.client.warmup import WarmUp

# Larger answers, such as a document's hidden states, are not kept.
_MOST_VALUES = 10_000
# A word of the samples, which every vocabulary has in few tokens.
_WORD = "the "


def sample_text(tokenizer: Any, length: int, question: str | None = None) -> str:
    """A text of almost `length` tokens, and not more.

    Args:
        tokenizer: a tokenizer of this package.
        length: in tokens, special ones included, and those of the question where there is one.
        question: what is asked of the text.
    """

    def count(words: int) -> int:
        pair = None if question is None else [_WORD * words]
        return tokenizer([question or _WORD * words], text_pair=pair)["input_ids"].shape[1]

    few, many = count(16), count(32)
    words = max(16 + int((length - few) * 16 / (many - few)), 1)
    while words > 1 and count(words) > length:
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
        for rows in batch_sizes or (1,):
            for name, function in functions.items():
                specs = input_specs(function)
                question = _WORD.strip() if "question" in specs else None
                text = sample_text(tokenizer, length, question)
                samples = {
                    "text": [text] * rows,
                    "question": [question or ""] * rows,
                    "max_new_tokens": [1] * rows,
                    "num_return_sequences": [1] * rows,
                    **tokenizer([text] * rows, max_length=length),
                }
                yield name, {key: tf.constant(samples[key], spec.dtype) for key, spec in specs.items()}


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

"""Requests that run each program of an export once, and their answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from export.client.graphs import input_specs
from export.client.warmup import WarmUp
from export.signatures.base import ExportSettings

# Larger answers, such as a document's hidden states, are not kept.
_MOST_VALUES = 10_000
# A word of the samples, which every vocabulary has in few tokens.
_WORD = "the "


def sample_text(tokenizer: Any, length: int, question: str | None = None) -> str:
    """A text of almost `length` tokens, and not more.

    Args:
        tokenizer: a tokenizer of this package.
        length: tokens, special ones and the question's included.
        question: a question about the text.
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
    functions: Mapping[str, Any], tokenizer: Any, settings: ExportSettings
) -> Iterator[tuple[str, dict[str, tf.Tensor]]]:
    """A request for each signature, length and batch size, so that each program runs once.

    Args:
        functions: concrete functions by signature name.
        tokenizer: the tokenizer.
        settings: lengths and batch sizes.
    """
    for length in settings.lengths:
        for rows in settings.batch_sizes or (1,):
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


def with_answers(
    functions: Mapping[str, Any], requests: Iterator[tuple[str, dict[str, tf.Tensor]]], is_random: bool = False
) -> Iterator[WarmUp]:
    """Pair each request with its answer; omit answers that are sampled at random."""
    for name, request in requests:
        outputs = functions[name](**request)
        answer = {
            key: value.numpy() for key, value in outputs.items() if tf.size(value) <= _MOST_VALUES and not is_random
        }
        yield WarmUp(name, {key: value.numpy() for key, value in request.items()}, answer)

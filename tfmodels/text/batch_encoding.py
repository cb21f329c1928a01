"""The Python call of a tokenizer, step by step: check, tokenize, truncate, pad, mark."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfmodels.text.arguments import check_as_many
from tfmodels.text.global_attention import (
    check_global_attention,
    check_global_spans,
    global_positions,
    mark_spans,
    refuse_global_spans,
)
from tfmodels.text.offsets import Spans, pad_offsets
from tfmodels.text.row_lengths import LengthArguments, RowLengths, read_row_lengths
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.template import EncodedRow, Template, fitting_length, mark_positions, pad_rows
from tfmodels.utils.labels import IGNORED_LABEL

Tokenize = Callable[[list[str]], list[list[int]]]
"""From texts to their ids, no special tokens around them."""
TokenizeWithOffsets = Callable[[list[str]], list[tuple[list[int], Spans]]]
"""From texts to the same ids and the characters of each."""


@dataclasses.dataclass(frozen=True)
class RequestedArrays:
    """The arrays that a call returns on request."""

    offsets: bool
    special_tokens_mask: bool
    segment_mask: bool


@dataclasses.dataclass(frozen=True)
class SourceArguments:
    """Arguments of `Tokenizer.__call__` for its source texts."""

    text_pair: Any
    global_attention: str | None
    global_spans: Any
    lengths: LengthArguments
    requested: RequestedArrays


def source_arrays(
    spec: TokenizerSpec,
    tokenize: Tokenize,
    tokenize_with_offsets: TokenizeWithOffsets,
    texts: list[str],
    arguments: SourceArguments,
) -> dict[str, np.ndarray]:
    """Encode the texts or pairs into the arrays that `Tokenizer.__call__` describes.

    Args:
        spec: the tokenizer's facts.
        tokenize, tokenize_with_offsets: the tokenizer's functions.
        texts: the texts, checked.
        arguments: the arguments of the call.
    """
    lengths = read_row_lengths(spec, arguments.lengths, is_pair=arguments.text_pair is not None)
    seconds = None if arguments.text_pair is None else check_as_many(arguments.text_pair, "text_pair", texts)
    is_pair = seconds is not None
    requested = arguments.requested
    name = check_global_attention(arguments.global_attention, spec.marks_global_token, is_pair)
    spans = None
    if arguments.global_spans is not None:
        if not spec.marks_global_token:
            raise refuse_global_spans()
        spans = check_global_spans(arguments.global_spans, seconds or texts)
    if requested.segment_mask and not is_pair:
        raise ValueError("return_segment_mask needs text_pair. Received: text_pair=None")

    def encode(some: list[str]) -> tuple[list[list[int]], list[Spans]]:
        if not (requested.offsets or spans is not None):
            return tokenize(some), []
        encoded = tokenize_with_offsets(some)
        return [ids for ids, _ in encoded], [offsets for _, offsets in encoded]

    first, first_offsets = encode(texts)
    second, second_offsets = (None, None) if seconds is None else encode(seconds)
    rows, width = _rows(spec.template, first, second, lengths)
    ids, mask = pad_rows(rows, width, spec.pad_token_id)
    segment = mark_positions(rows, width, lambda row: [row.second])
    content = mark_positions(rows, width, lambda row: [row.first, row.second])
    batch = {"input_ids": ids, "attention_mask": mask}
    if spec.marks_global_token:
        batch["global_attention_mask"] = mark_positions(rows, width, lambda row: global_positions(row, name))
    if first_offsets:
        offsets = pad_offsets(rows, width, first_offsets, second_offsets)
        if spans is not None:
            mark_spans(batch["global_attention_mask"], offsets, spans, segment if is_pair else content)
        if requested.offsets:
            batch["offsets"] = offsets
    if requested.special_tokens_mask:
        batch["special_tokens_mask"] = 1 - content
    if requested.segment_mask:
        batch["segment_mask"] = segment
    return batch


def label_arrays(
    spec: TokenizerSpec, tokenize: Tokenize, texts: Sequence[str], text_target: Any, lengths: LengthArguments
) -> dict[str, np.ndarray]:
    """Encode the targets into `labels`, int32 (B, T), -100 on padding. Nothing without targets.

    Args:
        spec: the tokenizer's facts.
        tokenize: the tokenizer's function.
        texts: the source texts, checked.
        text_target: the argument of the call.
        lengths: the arguments about the targets' lengths.
    """
    if text_target is None:
        if lengths.max_length is not None:
            raise ValueError(f"{lengths.name} needs text_target. Received: {lengths.name}={lengths.max_length}")
        return {}
    targets = check_as_many(text_target, "text_target", texts)
    row_lengths = read_row_lengths(spec, lengths, is_pair=False)
    rows, width = _rows(spec.template, tokenize(targets), None, row_lengths)
    return {"labels": pad_rows(rows, width, IGNORED_LABEL)[0]}


def _rows(
    template: Template, first: Sequence[list[int]], second: Sequence[list[int]] | None, lengths: RowLengths
) -> tuple[list[EncodedRow], int]:
    """The rows, and the width that they are to be padded to."""
    pairs = [(ids, None if second is None else second[index]) for index, ids in enumerate(first)]
    if not lengths.allowed:
        rows = [template.row(*pair) for pair in pairs]
        return rows, max(len(row.ids) for row in rows)
    counts = [template.count(*pair) for pair in pairs]
    width = fitting_length(max(counts), lengths.allowed)
    if lengths.kept is None and max(counts) > width:
        raise ValueError(
            f"truncation=False needs rows of at most {width} tokens. "
            f"Received: {max(counts)} tokens of text {counts.index(max(counts))}"
        )
    rows = [template.row(*pair, max_length=width, kept=lengths.kept) for pair in pairs]
    return rows, width if lengths.is_exact else max(len(row.ids) for row in rows)


def as_tensors(arrays: dict[str, np.ndarray], return_tensors: Any) -> dict[str, Any]:
    """Convert arrays to the kind that `return_tensors` names, or raise a `ValueError`."""
    # transformers has an enumeration of the same strings.
    kind = getattr(return_tensors, "value", return_tensors)
    if kind in (None, "np"):
        return arrays
    if kind != "tf":
        raise ValueError(
            f"return_tensors must be None or 'np' for NumPy arrays, or 'tf' for TensorFlow's tensors; other libraries "
            f"take NumPy arrays, as torch.from_numpy does. Received: return_tensors={kind!r}"
        )
    import tensorflow as tf

    return {name: tf.convert_to_tensor(array) for name, array in arrays.items()}

"""The Python call of a tokenizer, step by step: check, tokenize, truncate, pad, mark."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfmodels.text.arguments import check_as_many
from tfmodels.text.global_attention import check_global_attention, check_global_spans, global_places, mark_spans
from tfmodels.text.offsets import Spans, pad_offsets
from tfmodels.text.row_lengths import RowLengths, read_row_lengths
from tfmodels.text.template import Row, fitting_length, mark_places, pad_rows
from tfmodels.utils.labels import IGNORED_LABEL

if TYPE_CHECKING:
    from tfmodels.text.tokenizer import Tokenizer


# What a call returns when asked for.
_FURTHER_ARRAYS = ("offsets", "special_tokens_mask", "segment_mask")


def source_arrays(
    tokenizer: Tokenizer,
    sources: list[str],
    text_pair: Any,
    lengths: RowLengths,
    global_tokens: tuple[str | None, Any],
    asked: Sequence[bool],
) -> dict[str, np.ndarray]:
    """The arrays of the texts or pairs, as `Tokenizer.__call__` describes them.

    Args:
        tokenizer: Whose call it is.
        sources: the texts, checked.
        text_pair: as in the call.
        lengths: how long rows are.
        global_tokens: its `global_attention` and `global_spans`.
        asked: its `return_offsets`, `return_special_tokens_mask` and `return_segment_mask`.
    """
    returns = list(itertools.compress(_FURTHER_ARRAYS, asked))
    seconds = None if text_pair is None else check_as_many(text_pair, "text_pair", sources)
    is_pair = seconds is not None
    name = check_global_attention(global_tokens[0], tokenizer.marks_global_token, is_pair)
    spans = None
    if global_tokens[1] is not None:
        if not tokenizer.marks_global_token:
            raise ValueError("global_spans must be None: LongT5 has no global attention mask. Received: global_spans")
        spans = check_global_spans(global_tokens[1], seconds or sources)
    if "segment_mask" in returns and not is_pair:
        raise ValueError("return_segment_mask needs text_pair. Received: text_pair=None")

    with_offsets = "offsets" in returns or spans is not None
    first, first_offsets = _tokenize(tokenizer, sources, with_offsets)
    second, second_offsets = (None, None) if seconds is None else _tokenize(tokenizer, seconds, with_offsets)
    rows, width = _rows(tokenizer, first, second, lengths)
    ids, mask = pad_rows(rows, width, tokenizer.pad_token_id)
    batch = {"input_ids": ids, "attention_mask": mask}
    segment = mark_places(rows, width, lambda row: [row.second])
    content = mark_places(rows, width, lambda row: [row.first, row.second])
    offsets = pad_offsets(rows, width, first_offsets, second_offsets) if with_offsets else None
    if tokenizer.marks_global_token:
        batch["global_attention_mask"] = mark_places(rows, width, lambda row: global_places(row, name))
        if spans is not None and offsets is not None:
            mark_spans(batch["global_attention_mask"], offsets, spans, segment if is_pair else content)
    further = {"offsets": offsets, "special_tokens_mask": 1 - content, "segment_mask": segment}
    return {**batch, **{key: array for key, array in further.items() if key in returns and array is not None}}


def label_array(
    tokenizer: Tokenizer, text_target: Any, max_length: Any, sources: Sequence[str], fitting: tuple[Any, Any]
) -> dict[str, np.ndarray]:
    """`labels`: the ids of the targets, int32 (B, T), -100 on padding. Nothing without targets.

    Args:
        tokenizer: Whose call it is.
        text_target: as in the call.
        max_length: its `max_target_length`.
        sources: the texts, checked.
        fitting: its `padding` and `truncation`.
    """
    if text_target is None:
        if max_length is not None:
            raise ValueError(f"max_target_length needs text_target. Received: max_target_length={max_length}")
        return {}
    targets = check_as_many(text_target, "text_target", sources)
    lengths = read_row_lengths(tokenizer, (max_length, None), *fitting, False, "max_target_length")
    rows, width = _rows(tokenizer, tokenizer._tokenize(targets), None, lengths)
    return {"labels": pad_rows(rows, width, IGNORED_LABEL)[0]}


def _tokenize(tokenizer: Tokenizer, texts: list[str], with_offsets: bool) -> tuple[list[list[int]], list[Spans]]:
    if not with_offsets:
        return tokenizer._tokenize(texts), []
    found = tokenizer._tokenize_with_offsets(texts)
    return [ids for ids, _ in found], [spans for _, spans in found]


def _rows(
    tokenizer: Tokenizer, first: list[list[int]], second: list[list[int]] | None, lengths: RowLengths
) -> tuple[list[Row], int]:
    """The rows, and the width that they are to be padded to."""
    frame = tokenizer.frame
    pairs = [(ids, None if second is None else second[index]) for index, ids in enumerate(first)]
    if not lengths.allowed:
        rows = [frame.row(*pair) for pair in pairs]
        return rows, max(len(row.ids) for row in rows)
    counts = [frame.count(*pair) for pair in pairs]
    width = fitting_length(max(counts), lengths.allowed)
    if lengths.kept is None and max(counts) > width:
        raise ValueError(
            f"truncation=False needs rows of at most {width} tokens. "
            f"Received: {max(counts)} tokens of text {counts.index(max(counts))}"
        )
    rows = [frame.row(*pair, max_length=width, kept=lengths.kept) for pair in pairs]
    return rows, width if lengths.is_exact else max(len(row.ids) for row in rows)


def as_tensors(arrays: dict[str, np.ndarray], kind: Any) -> dict[str, Any]:
    """The arrays as `return_tensors` asks for them, else raise a `ValueError`."""
    kind = getattr(kind, "value", kind)
    if kind in (None, "np"):
        return arrays
    if kind != "tf":
        raise ValueError(
            f"return_tensors must be None or 'np' for NumPy arrays, or 'tf' for TensorFlow's tensors; other libraries "
            f"take NumPy arrays, as torch.from_numpy does. Received: return_tensors={kind!r}"
        )
    import tensorflow as tf

    return {name: tf.convert_to_tensor(array) for name, array in arrays.items()}

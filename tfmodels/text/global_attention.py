"""Global tokens, which attend to every token and are seen by every token (Beltagy et al. 2020, section 3.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfmodels.text.offsets import tokens_in_span
from tfmodels.text.template import EncodedRow

GLOBAL_ATTENTION = ("first", "question", "none")
"""The global tokens of a row: its first token; its first token and the first text of a pair; none."""


def check_global_attention(name: str | None, marks_global_tokens: bool, is_pair: bool) -> str:
    """Return the name, or the default for `None`, or raise a `ValueError`."""
    if not marks_global_tokens:
        if name is not None:
            raise ValueError(
                f"global_attention must be None: this tokenizer has no global tokens. "
                f"Received: global_attention={name!r}"
            )
        return "none"
    name = "first" if name is None else name
    if name not in GLOBAL_ATTENTION:
        raise ValueError(f"global_attention must be one of {GLOBAL_ATTENTION}. Received: global_attention={name!r}")
    if name == "question" and not is_pair:
        raise ValueError("global_attention='question' needs text_pair: the question is the first text of a pair")
    return name


def refuse_global_spans() -> ValueError:
    """The error of a call with `global_spans` on a tokenizer without global tokens."""
    return ValueError("global_spans must be None: this tokenizer has no global tokens. Received: global_spans")


def check_global_spans(spans: Any, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Return character spans by text, each string replaced by the spans of its occurrences, or raise a `ValueError`."""
    if isinstance(spans, str | bytes) or not isinstance(spans, Sequence) or len(spans) != len(texts):
        raise ValueError(f"global_spans must hold a list for each of {len(texts)} texts. Received: {spans!r}")
    return [
        _spans_of(row_spans, text, f"global_spans[{row}]")
        for row, (row_spans, text) in enumerate(zip(spans, texts, strict=True))
    ]


def _spans_of(spans: Any, text: str, name: str) -> list[tuple[int, int]]:
    if isinstance(spans, str | bytes) or not isinstance(spans, Sequence):
        raise ValueError(f"{name} must be a list of strings and (start, end) pairs. Received: {spans!r}")
    characters: list[tuple[int, int]] = []
    for index, span in enumerate(spans):
        if isinstance(span, str) and span:
            start = text.find(span)
            while start >= 0:
                characters.append((start, start + len(span)))
                start = text.find(span, start + 1)
            continue
        is_pair = isinstance(span, Sequence) and len(span) == 2 and all(isinstance(place, int) for place in span)
        if isinstance(span, str) or not is_pair or not 0 <= span[0] < span[1] <= len(text):
            raise ValueError(
                f"{name}[{index}] must be a non-empty string or (start, end) with 0 <= start < end <= {len(text)}, "
                f"the characters of the text. Received: {span!r}"
            )
        characters.append((span[0], span[1]))
    return characters


def global_positions(row: EncodedRow, name: str) -> list[slice]:
    """The positions of a row that are global under a name of `GLOBAL_ATTENTION`."""
    if name == "none":
        return []
    return [slice(0, 1), row.first] if name == "question" else [slice(0, 1)]


def mark_spans(
    mask: np.ndarray, offsets: np.ndarray, spans: Sequence[Sequence[tuple[int, int]]], document: np.ndarray
) -> None:
    """Set `mask` (B, L) to 1 on the tokens of `document` (B, L) that share a character with a span of their row.

    Args:
        mask: int32 (B, L), written to.
        offsets: int32 (B, L, 2), the characters of each token.
        spans: by row, (start, end) of characters.
        document: int32 (B, L), 1 on the tokens of the text that the spans count in.
    """
    for row, row_spans in enumerate(spans):
        for span in row_spans:
            mask[row, tokens_in_span(offsets[row], span) & (document[row] == 1)] = 1

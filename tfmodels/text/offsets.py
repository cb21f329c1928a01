"""From characters to tokens: the characters of each token, and the tokens of an answer."""

from collections.abc import Sequence

import numpy as np

from tfmodels.text.template import EncodedRow

Spans = list[tuple[int, int]]
"""Start and end of every token, in characters of its text."""


def pad_offsets(
    rows: Sequence[EncodedRow], width: int, first: Sequence[Spans], second: Sequence[Spans] | None
) -> np.ndarray:
    """int32 (B, width, 2): characters of each token in its own text, (0, 0) for special tokens and padding."""
    offsets: np.ndarray = np.zeros((len(rows), width, 2), dtype=np.int32)
    for index, row in enumerate(rows):
        for positions, spans in ((row.first, first[index]), (row.second, second[index] if second is not None else [])):
            kept = positions.stop - positions.start
            if kept:
                offsets[index, positions] = spans[:kept]
    return offsets


def tokens_in_span(offsets: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """bool (L,): the tokens with offsets (L, 2) that share a character with `span`."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    return (starts < ends) & (starts < span[1]) & (ends > span[0])


def answer_positions(
    offsets: np.ndarray, spans: Sequence[tuple[int, int] | None], segment_mask: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The first and the last token of each answer: the targets of question answering.

    An answer that is not wholly in its row, because the text was truncated, or that shares no character with a token,
    gets the row's length as both positions: the loss ignores positions beyond the inputs.

    Args:
        offsets: int32 (B, L, 2), of a call with `return_offsets=True`.
        spans: for each row the answer's characters (start, end) in its text, without white space around it, or `None`
            for no answer.
        segment_mask: int32 (B, L), 1 on the tokens of the text that holds the answers: of a call with `text_pair` and
            `return_segment_mask=True`. `None` for rows of one text.

    Returns:
        `start_positions` and `end_positions`, int32 (B,).

    Raises:
        ValueError: other shapes, another number of spans, or a span that does not end after it starts.

    Example:
        >>> import tfmodels
        >>> tokenizer = tfmodels.LEDTokenizer.train_from_iterator(["who where"], vocab_size=270)
        >>> batch = tokenizer("who", text_pair="where", return_offsets=True, return_segment_mask=True)
        >>> tfmodels.answer_positions(batch["offsets"], [(1, 3)], batch["segment_mask"])["start_positions"].dtype
        dtype('int32')
    """
    offsets = np.asarray(offsets)
    if offsets.ndim != 3 or offsets.shape[2] != 2:
        raise ValueError(f"offsets must have the shape (B, L, 2). Received: shape={offsets.shape}")
    rows, length = offsets.shape[:2]
    if len(spans) != rows:
        raise ValueError(f"spans must hold a span or None for each of {rows} rows. Received: {len(spans)} spans")
    inside = np.ones((rows, length), dtype=bool) if segment_mask is None else np.asarray(segment_mask) == 1
    if inside.shape != (rows, length):
        raise ValueError(f"segment_mask must have the shape {(rows, length)}. Received: shape={inside.shape}")
    positions: np.ndarray = np.full((2, rows), length, dtype=np.int32)
    for row, span in enumerate(spans):
        if span is None:
            continue
        if len(span) != 2 or not 0 <= span[0] < span[1]:
            raise ValueError(f"spans[{row}] must be (start, end) with 0 <= start < end. Received: {span!r}")
        tokens = np.flatnonzero(tokens_in_span(offsets[row], span) & inside[row])
        if tokens.size and offsets[row, inside[row], 1].max() >= span[1]:
            positions[:, row] = tokens[0], tokens[-1]
    return {"start_positions": positions[0], "end_positions": positions[1]}

"""From the logits of a question-answering head to the answer's span.

Shape letters: B documents, S source length, D longest answer.
"""

from keras import ops

from tfmodels.backend.types import Tensor

_IMPOSSIBLE = -1e9


def best_spans(
    start_logits: Tensor, end_logits: Tensor, text_mask: Tensor, max_answer_length: int = 30
) -> dict[str, Tensor]:
    """The most probable span of each text that is no longer than allowed and does not end before it starts.

    A span's probability is the product of those of its first and its last token (BERT, Devlin et al. 2019, section
    4.2), each a softmax over the tokens of the text.

    Args:
        start_logits, end_logits: float (B, S).
        text_mask: (B, S), non-zero on the tokens that an answer may hold: the text's, not the question's.
        max_answer_length: D, in tokens.

    Returns:
        "start" and "end": int32 (B,), first and last token, -1 where there is no text; "score": float32 (B,), the
        probability.

    Raises:
        ValueError: `max_answer_length` below 1.

    >>> found = best_spans(ops.array([[0.0, 9.0, 0.0]]), ops.array([[9.0, 0.0, 8.0]]), ops.array([[1, 1, 1]]))
    >>> [int(found[name][0]) for name in ("start", "end")]
    [1, 2]
    """
    if max_answer_length < 1:
        raise ValueError(f"max_answer_length must be at least 1. Received: max_answer_length={max_answer_length}")
    is_text = ops.not_equal(text_mask, 0)
    starts, ends = (_log_probabilities(logits, is_text) for logits in (start_logits, end_logits))
    longest = min(max_answer_length, starts.shape[1])
    ends = ops.pad(ends, [[0, 0], [0, longest - 1]], constant_values=_IMPOSSIBLE)
    width = starts.shape[1]
    spans = ops.stack([starts + ends[:, more : more + width] for more in range(longest)], axis=2)  # (B, S, D)
    flat = ops.reshape(spans, (-1, width * longest))
    best = ops.cast(ops.argmax(flat, axis=1), "int32")
    start, end = best // longest, best // longest + best % longest
    has_text = ops.any(is_text, axis=1)
    return {
        "start": ops.where(has_text, start, -1),
        "end": ops.where(has_text, end, -1),
        "score": ops.where(has_text, ops.exp(ops.max(flat, axis=1)), 0.0),
    }


def _log_probabilities(logits: Tensor, is_text: Tensor) -> Tensor:
    masked = ops.where(is_text, ops.cast(logits, "float32"), _IMPOSSIBLE)
    return ops.where(is_text, ops.log_softmax(masked, axis=1), _IMPOSSIBLE)

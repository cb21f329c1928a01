"""Prefixes of texts whose ids are the first ids of the whole text: they end at a space that no token crosses."""

import tensorflow as tf

# A space is looked for so far back from the requested size, in bytes.
WINDOW = 512
# Behind white space the space could be one token with it.
_BEFORE_LAST_SPACE = r"^(\C*[\pL\pN\pP\pS]) \C*$"


def word_prefixes(texts: tf.Tensor, size: int) -> tf.Tensor:
    """Texts cut before the last space that follows a word within their first bytes.

    Args:
        texts: string (B,), of any bytes.
        size: the most bytes of a prefix, at least 512.

    Returns:
        string (B,). Texts of at most `size` bytes are whole, and so are those without such a space in the last 512
        bytes of the prefix.

    >>> [len(text) for text in word_prefixes(tf.constant([b"word " * 200, b"a" * 1000]), 600).numpy()]
    [599, 1000]
    """
    lengths = tf.strings.length(texts)
    is_long = lengths > min(size, lengths.dtype.max)
    starts = tf.where(is_long, min(size, lengths.dtype.max) - WINDOW, 0)
    # Empty for short texts, as the expression costs more than the rest.
    windows = tf.strings.substr(texts, starts, tf.where(is_long, WINDOW, 0))
    kept = tf.strings.length(tf.strings.regex_replace(windows, _BEFORE_LAST_SPACE, r"\1"))
    is_cut = is_long & (kept < WINDOW)
    return tf.strings.substr(texts, tf.zeros_like(starts), tf.where(is_cut, starts + kept, lengths))

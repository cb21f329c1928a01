"""Text as its ids come in."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tfmodels.text.cleanup import clean_up_spaces

# Cleaning up the text behind these characters does not depend on the text before them.
_STABLE = re.compile(r"[^\s'](?= [a-mo-zA-Z0-9])")


def stream_texts(steps: Iterable[Any], decode: Callable[[list[int]], str], cleans_up: bool) -> Iterator[str]:
    """Yield the pieces of a text, as `Tokenizer.stream` describes.

    Args:
        steps: one id after the other.
        decode: returns the text of ids.
        cleans_up: whether spaces before punctuation are taken out of it.
    """
    ids, yielded = list[int](), ""
    for step in steps:
        step_ids = np.asarray(step).reshape(-1)
        if step_ids.size != 1:
            raise ValueError(f"steps must hold one id each, of one document. Received: {step_ids.size} ids")
        ids.append(int(step_ids[0]))
        # A character of several bytes ends in a replacement mark until its last byte is there.
        text = decode(ids).rstrip("\ufffd")
        if cleans_up:
            ends = [match.end() for match in _STABLE.finditer(text)]
            text = clean_up_spaces(text[: ends[-1]]) if ends else ""
        if len(text) > len(yielded) and text.startswith(yielded):
            yield text[len(yielded) :]
            yielded = text
    text = decode(ids)
    rest = (clean_up_spaces(text) if cleans_up else text)[len(yielded) :]
    if rest:
        yield rest

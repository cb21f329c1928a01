"""Text as its ids come in."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tfmodels.text.cleanup import clean_up_spaces

# Behind these characters cleaning up changes nothing that depends on what comes before them.
_STABLE = re.compile(r"[^\s'](?= [a-mo-zA-Z0-9])")


def stream_texts(steps: Iterable[Any], decode: Callable[[list[int]], str], cleans_up: bool) -> Iterator[str]:
    """The pieces of a text, as `Tokenizer.stream` describes them.

    Args:
        steps: one id after the other.
        decode: the text of ids.
        cleans_up: whether spaces before punctuation are taken out of it.
    """
    ids, said = list[int](), ""
    for step in steps:
        found = np.asarray(step).reshape(-1)
        if found.size != 1:
            raise ValueError(f"steps must hold one id each, of one document. Received: {found.size} ids")
        ids.append(int(found[0]))
        # A character of several bytes ends in a replacement mark until its last byte is there.
        text = decode(ids).rstrip("\ufffd")
        if cleans_up:
            ends = [match.end() for match in _STABLE.finditer(text)]
            text = clean_up_spaces(text[: ends[-1]]) if ends else ""
        if len(text) > len(said) and text.startswith(said):
            yield text[len(said) :]
            said = text
    text = decode(ids)
    rest = (clean_up_spaces(text) if cleans_up else text)[len(said) :]
    if rest:
        yield rest

"""Summaries without a model, which every model has to beat."""

import re

from training.metrics.words import sentences as split_sentences


def first_sentences(document: str, sentences: int = 3) -> str:
    """The first sentences of a document in any script: the "lead" baseline (Nallapati et al., 2017, section 4).

    Blank lines end a sentence, as those around a title; other line breaks are spaces.

    Args:
        document: the document.
        sentences: how many sentences; a document with fewer is returned whole.

    Raises:
        ValueError: fewer than one sentence.

    >>> first_sentences("A title\\n\\nOne is\\nfirst. Two? Three!", sentences=2)
    'A title One is first.'
    >>> first_sentences("一つ。二つ。三つ。", sentences=2)
    '一つ。二つ。'
    """
    if sentences < 1:
        raise ValueError(f"sentences must be at least 1. Received: sentences={sentences}")
    chosen: list[str] = []
    for paragraph in re.split(r"\n\s*\n", document.strip()):
        chosen.extend(split_sentences(" ".join(paragraph.split())))
        if len(chosen) >= sentences:
            break
    return "".join(f"{sentence}{_gap(sentence)}" for sentence in chosen[:sentences]).rstrip()


def _gap(sentence: str) -> str:
    """What stands between a sentence and the next: nothing in Chinese and Japanese."""
    return "" if re.search("[。！？｡][」』”’）]?$", sentence) else " "

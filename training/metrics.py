"""ROUGE, the overlap of words between written and reference summaries (Lin, 2004), by the `rouge-score` library."""

import importlib.metadata
import re
from collections.abc import Sequence

ROUGE_NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean F-measures of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum, times 100, with Porter's stemmer.

    ROUGE-Lsum compares sentence by sentence: texts are split at line breaks and after periods, question and exclamation
    marks that white space follows.

    Args:
        predictions: the written summaries. Empty ones score 0.
        references: the reference of each, in the same order.

    Raises:
        ValueError: no predictions, another number of references, or a single string in place of a list.
        ImportError: `rouge-score` is not installed.

    >>> rouge(["Return the area."], ["Return the area."])["rougeL"]
    100.0
    """
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str):
            raise ValueError(f"{name} must be a sequence of strings, not one string. Received: {name}={texts[:60]!r}")
    if len(predictions) != len(references):
        raise ValueError(
            f"predictions and references must be equally many. "
            f"Received: {len(predictions)} predictions and {len(references)} references"
        )
    if not predictions:
        raise ValueError("predictions must hold at least one text. Received: 0 predictions")
    # The library takes a second to import, so only scoring waits for it.
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE_NAMES), use_stemmer=True)
    totals = dict.fromkeys(ROUGE_NAMES, 0.0)
    for prediction, reference in zip(predictions, references, strict=True):
        scores = scorer.score(_one_sentence_a_line(reference), _one_sentence_a_line(prediction))
        for name in ROUGE_NAMES:
            totals[name] += scores[name].fmeasure
    return {name: 100.0 * total / len(predictions) for name, total in totals.items()}


def rouge_version() -> str:
    """The installed version of `rouge-score`, to be printed beside its figures.

    Raises:
        ImportError: `rouge-score` is not installed.
    """
    return importlib.metadata.version("rouge-score")


def _one_sentence_a_line(text: str) -> str:
    return _SENTENCE_END.sub("\n", text.strip())

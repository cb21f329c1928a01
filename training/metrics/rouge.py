"""ROUGE, the overlap of words between written and reference summaries (Lin, 2004), by the `rouge-score` library."""

import functools
import importlib.metadata
from collections.abc import Sequence

from training.metrics.intervals import bootstrap_interval
from training.metrics.words import sentences, words

ROUGE_NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean F-measures of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum, times 100, with Porter's stemmer.

    Words are those of `words`, in any script; words of ASCII letters are stemmed. English texts have the scores of
    rouge-score's default tokenizer, which drops all but a to z and digits. ROUGE-Lsum compares sentence by sentence:
    texts are split at line breaks and where `sentences` ends one.

    Args:
        predictions: the written summaries. Empty ones score 0.
        references: the reference of each, in the same order.

    Raises:
        ValueError: no predictions, another number of references, or a single string in place of a list.
        ImportError: `rouge-score` is not installed.

    >>> rouge(["Return the area."], ["Return the area."])["rougeL"]
    100.0
    >>> rouge(["Привет мир."], ["Привет мир."])["rougeL"]
    100.0
    """
    measures = _f_measures(predictions, references)
    return {name: 100.0 * sum(each) / len(each) for name, each in measures.items()}


def rouge_rows(predictions: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
    """The scores of `rouge` of each row, in order.

    Args:
        predictions, references: as `rouge`.

    Raises:
        ValueError, ImportError: as `rouge`.

    >>> rouge_rows(["one", "two"], ["one", "three"])["rouge1"]
    [100.0, 0.0]
    """
    return {name: [100.0 * score for score in each] for name, each in _f_measures(predictions, references).items()}


def rouge_report(
    predictions: Sequence[str], references: Sequence[str], seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """For each metric of `rouge` its mean, and the lower and upper end of the mean's interval of 95 %.

    Args:
        predictions, references: as `rouge`.
        seed: seed of the bootstrap.

    Raises:
        ValueError, ImportError: as `rouge`.

    >>> rouge_report(["one"], ["one"])["rouge1"]
    (100.0, 100.0, 100.0)
    """
    report = {}
    for name, each in _f_measures(predictions, references).items():
        low, high = bootstrap_interval(each, seed)
        report[name] = (100.0 * sum(each) / len(each), 100.0 * low, 100.0 * high)
    return report


def rouge_version() -> str:
    """The installed version of `rouge-score`, to be printed beside its figures.

    Raises:
        ImportError: `rouge-score` is not installed.
    """
    return importlib.metadata.version("rouge-score")


def _f_measures(predictions: Sequence[str], references: Sequence[str]) -> dict[str, list[float]]:
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

    scorer = RougeScorer(list(ROUGE_NAMES), tokenizer=_Words())
    measures: dict[str, list[float]] = {name: [] for name in ROUGE_NAMES}
    for prediction, reference in zip(predictions, references, strict=True):
        scores = scorer.score(_one_sentence_a_line(reference), _one_sentence_a_line(prediction))
        for name, each in measures.items():
            each.append(float(scores[name].fmeasure))
    return measures


class _Words:
    """A tokenizer as `rouge-score` takes it."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer  # comes with rouge-score

        self.stem = functools.cache(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text; those of ASCII letters and more than three of them are stemmed, as by rouge-score."""
        return [self.stem(word) if word.isascii() and len(word) > 3 else word for word in words(text)]


def _one_sentence_a_line(text: str) -> str:
    return "\n".join(sentences(text))

"""Figures on written texts: ROUGE in any script, its intervals, and the trivial summaries to compare with."""

from training.metrics.baselines import first_sentences
from training.metrics.intervals import bootstrap_interval
from training.metrics.rouge import ROUGE_NAMES, rouge, rouge_report, rouge_rows, rouge_version

__all__ = [
    "ROUGE_NAMES",
    "bootstrap_interval",
    "first_sentences",
    "rouge",
    "rouge_report",
    "rouge_rows",
    "rouge_version",
]

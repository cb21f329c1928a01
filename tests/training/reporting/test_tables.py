"""Scores of few documents stand with their intervals. Further tests of tables: tests/training/test_report.py."""

import io

from rich.console import Console

from training.reporting.tables import print_rouge


def printed(scores, **options):
    console = Console(file=io.StringIO(), width=100)
    print_rouge(console, scores, **options)
    return console.file.getvalue()


def test_intervals_are_shown_for_few_documents_alone():
    scores = {"model": {"rouge1": (31.24, 28.0, 34.11)}, "first sentences": {"rouge1": (20.0, 15.0, 25.0)}}
    for few in ({}, {"rows": 49}):
        text = printed(scores, **few)
        assert "31.2 [28.0, 34.1] *" in text
        assert "20.0 [15.0, 25.0]" in text
    text = printed(scores, rows=50)
    assert "31.24 *" in text
    assert "[" not in text


def test_means_alone_and_with_intervals_compare():
    text = printed({"model": {"rouge1": (31.24, 28.0, 34.11)}, "other": {"rouge1": 32.5}, "none": {"rougeL": 1.0}})
    assert "32.50 *" in text
    assert "31.2 [28.0, 34.1]" in text
    assert "31.2 [28.0, 34.1] *" not in text

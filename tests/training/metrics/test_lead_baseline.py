"""The first sentences of a document are found in any script."""

import pytest

from training.metrics import first_sentences


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("One. Two! Is 3.14 three? Four.", "One. Two!"),
        ("Title\n\nOne goes\nover lines. Two.", "Title One goes over lines."),
        ("你好。他说：「好。」走了。", "你好。他说：「好。」"),
        ("नमस्ते। कैसे हैं? ठीक।", "नमस्ते। कैसे हैं?"),
        ("مرحبا. كيف حالك؟ بخير.", "مرحبا. كيف حالك؟"),
        ("สวัสดี วันนี้ดี ลาก่อน", "สวัสดี วันนี้ดี"),
        ("no end", "no end"),
        ("", ""),
    ],
)
def test_the_first_two_sentences_are_returned(document, expected):
    assert first_sentences(document, sentences=2) == expected


def test_no_sentences_raise():
    with pytest.raises(ValueError, match="sentences must be at least 1. Received: sentences=0"):
        first_sentences("One.", 0)

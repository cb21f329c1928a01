"""Summaries to learn from read as sentences."""

import pytest

from training.demo.sentences import plain_sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Return the area of a disc.", "Return the area of a disc."),
        ("return the area of a disc", "Return the area of a disc."),
        ("Return the :class:`area` of a ``disc``", "Return the area of a disc."),
        ("Return the :meth:`~shapes.Disc.area` of it", "Return the area of it."),
        ("Configuration of a [`Disc`] with *one* radius", "Configuration of a Disc with one radius."),
        ("Call foo() and then bar().", "Call foo and then bar."),
        ("math.sqrt for an array of numbers", "math.sqrt for an array of numbers."),
    ],
)
def test_markup_goes_and_a_period_comes(text, sentence):
    assert plain_sentence(text) == sentence


@pytest.mark.parametrize(
    "text",
    [
        "Too few words.",
        "word " * 31,
        "See the base class for it.",
        "Deprecated: use the other function.",
        "Args: radius of the disc.",
        "Described at https://example.com in full.",
        "Return x = y + 1 for it.",
        "This function does two things:",
        "Return the naïve area of a disc.",
        "The parameters of the disc (without the last.",
    ],
)
def test_what_is_no_sentence_is_left_out(text):
    assert plain_sentence(text) is None

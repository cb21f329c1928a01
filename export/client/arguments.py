"""Command-line arguments of several programs."""

import argparse


def lengths(text: str) -> tuple[int, ...]:
    """Lengths in tokens from numbers with commas, ascending; an `argparse` error for anything else.

    >>> lengths("1024,256")
    (256, 1024)
    """
    numbers = sizes(text)
    if numbers[0] < 2:
        raise argparse.ArgumentTypeError(f"must be lengths of at least 2 tokens. Received: {text!r}")
    return numbers


def sizes(text: str) -> tuple[int, ...]:
    """Positive numbers with commas, ascending; an `argparse` error for anything else.

    >>> sizes("4,1")
    (1, 4)
    """
    return tuple(sorted({count(part) for part in text.split(",")}))


def count(text: str) -> int:
    """A positive number; an `argparse` error for anything else.

    >>> count("4")
    4
    """
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number. Received: {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text!r}")
    return number


def names(text: str) -> tuple[str, ...]:
    """Names with commas.

    >>> names("serving_default,encode")
    ('serving_default', 'encode')
    """
    return tuple(text.split(","))

"""Command-line arguments that several programs take."""

import argparse


def lengths(text: str) -> tuple[int, ...]:
    """Lengths in tokens from numbers with commas, ascending; an `argparse` error for anything else.

    >>> lengths("1024,256")
    (256, 1024)
    """
    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers with commas. Received: {text!r}") from None
    if found[0] < 2:
        raise argparse.ArgumentTypeError(f"must be lengths of at least 2 tokens. Received: {text!r}")
    return found

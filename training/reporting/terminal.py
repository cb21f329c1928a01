"""What a console can show."""

import re

from rich import box
from rich.console import Console

# Escape sequences in a document or a model's sentence must not reach the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def has_unicode(console: Console) -> bool:
    """Whether a console shows any character."""
    return console.encoding.lower().replace("-", "").startswith("utf")


def printable(console: Console, text: str) -> str:
    """A text without control characters, and with "?" for what the console's encoding lacks."""
    return _CONTROL.sub(" ", text).encode(console.encoding, "replace").decode(console.encoding)


def box_of(console: Console) -> box.Box:
    """The lines of a table."""
    return box.ROUNDED if has_unicode(console) else box.ASCII


def write_line(console: Console, text: str) -> None:
    """Write one line as it is, never wrapped, without colours, and at once."""
    line = printable(console, text).replace("\n", " ")
    console.file.write(f"{line}\n")
    console.file.flush()

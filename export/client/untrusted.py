"""Files and texts that somebody else may have written; needs the standard library alone."""

import os
import re
import stat
from pathlib import Path

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def bounded_bytes(path: Path, most: int) -> bytes:
    """The content of a file that is neither a link nor a pipe, on which a reader would wait, and not endless.

    Raises:
        ValueError: another kind of file, or one of more bytes than `most`.
        OSError: an unreadable file.
    """
    if path.is_symlink():
        raise ValueError("it is a link")
    # Opened without waiting for whoever writes to a pipe.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is a special file")
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size:,} bytes, above {most:,}")
        return file.read(most)


def without_commands(text: str) -> str:
    """A text for a terminal: its control characters but line breaks and tabs are spelled out, joiners of letters stay.

    >>> print(without_commands("one\\x1b[2J"))
    one\\x1b[2J
    """
    return _CONTROLS.sub(lambda found: _spelled(found[0]), text)


def printable(text: str, kept: str = "") -> str:
    """A text as a line that can be printed: what would move a cursor, hide letters or end the line is spelled out.

    Args:
        text: any text.
        kept: further characters that stay.

    >>> print(printable("one\\ntwo\\x1b[2J \\u202eten"))
    one\\ntwo\\x1b[2J \\u202eten
    """
    return "".join(one if one.isprintable() or one in kept else _spelled(one) for one in text)


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()

"""Summaries that read as sentences, out of what docstrings and comments begin with."""

import re

MIN_WORDS, MAX_WORDS = 4, 30

_ROLE = re.compile(r":(?:\w+:)?\w+:`[~!]?([^`<]*?)(?:\s*<[^`]*>)?`")
_LINK = re.compile(r"`([^`<]+?)\s*<[^`]*>`_{1,2}|\[([^\]]+)\]\([^)]*\)|\[`([^`]+)`\]")
_MARKUP = re.compile(r"`+|\*\*|(?<!\w)\*(?=\w)|(?<=\w)\*(?!\w)|\|")
_CALL = re.compile(r"(?<=\w)\(\)")
_PREFIX = re.compile(r"^(?:r?ST:|Internal:|API:|Helper:|Note:|NOTE:|Summary:)\s*", re.IGNORECASE)
# What is no statement about the object: notices, lists of parameters, references, tasks, leftovers of code.
_NO_SENTENCE = re.compile(
    r"""https?://|www\.|>>>|[{}<>=\\|@#~^$]|:param|:return|\.\. |--|::|\.\.\.
    |^(?:see|deprecated|args|arguments|parameters?|params|returns?:|example|usage|notes?|warning|todo|fixme|xxx|hack
        |copyright|licensed?|pylint|type:|noqa|adapted|inspired|borrowed|taken|copied|https?|experimental|attributes)\b
    |\b(?:args:|parameters:|returns:|usage:|example:|optional|deprecated|todo|fixme|please)\b
    |\bof\ shape\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ABBREVIATED_END = re.compile(r"\b(?:e\.g|i\.e|cf|vs)\.$")


def plain_sentence(text: str) -> str | None:
    """The text without markup as a sentence with its capital letter and period; None if it is none.

    Roles, links, quotes of code and emphasis lose their marks. Left out are texts of fewer than 4 or more than 30
    words, with addresses, code or characters beyond ASCII, lists of parameters and notices such as "Deprecated".

    >>> plain_sentence("return the :class:`~http.HTTPServer` of ``name``")
    'Return the HTTPServer of name.'
    >>> plain_sentence("See the documentation of the base class.") is None
    True
    """
    text = _ROLE.sub(lambda match: match.group(1).rsplit(".", 1)[-1], text)
    text = _LINK.sub(lambda match: match.group(match.lastindex or 0), text)
    text = " ".join(_CALL.sub("", _MARKUP.sub("", _PREFIX.sub("", text))).split())
    if not text.isascii() or not text[:1].isalpha() or not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
        return None
    if _NO_SENTENCE.search(text) or _ABBREVIATED_END.search(text) or text.count("(") != text.count(")"):
        return None
    if text[-1] not in ".!?":
        if not text[-1].isalnum() and text[-1] not in ")\"'":
            return None
        text += "."
    letters = sum(character.isalpha() or character == " " for character in text)
    if letters < 0.9 * len(text) or text.isupper():
        return None
    first, _, rest = text.partition(" ")
    # "torch.compile" and "i" stay as they are; "returns" begins a sentence.
    return f"{first.capitalize()} {rest}" if first.islower() and first.isalpha() else text

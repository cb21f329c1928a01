"""Tokens beside the learnt vocabulary, found in a text before it is cut into pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import tokenizers

# The most ids of a vocabulary: tables with a row for each id must fit into memory.
MOST_IDS = 10_000_000

_FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


@dataclasses.dataclass(frozen=True)
class AddedToken:
    """A token that is taken out of a text whole, with the flags that transformers' files hold.

    Attributes:
        content: the text that it stands for.
        lstrip, rstrip: whether it takes along the white space before or behind it.
        single_word: whether it counts only outside longer words.
        normalized: whether it is looked for in the normalized text, after all tokens that are not normalized.
        special: whether decoding leaves it out.
    """

    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = True
    special: bool = False

    @classmethod
    def of(cls, token: Any, name: str, special: bool = False) -> Self:
        """Return the token of a str or of an `AddedToken` of the tokenizers library, or raise a `ValueError`.

        A str has no flag but `special` and, where it is not special, `normalized`.
        """
        if isinstance(token, str) and token:
            return cls(token, normalized=not special, special=special)
        if isinstance(token, cls):
            return dataclasses.replace(token, special=token.special or special)
        if _is_of_the_library(token) and token.content:
            flags = {flag: getattr(token, flag) for flag in _FLAGS}
            return cls(token.content, **{**flags, "special": token.special or special})
        raise ValueError(f"{name} must be a str that is not empty, or a tokenizers.AddedToken. Received: {token!r}")

    @classmethod
    def from_json(cls, content: Any, name: str) -> Self:
        """Return the token that an object of a JSON file describes, or raise a `ValueError` that names its place."""
        if not isinstance(content, dict):
            raise ValueError(f"{name} must be an object with content and flags. Received: {content!r}")
        fields = {key: value for key, value in content.items() if key not in ("id", "__type")}
        text = fields.pop("content", None)
        if not isinstance(text, str) or not text:
            raise ValueError(f"{name}.content must be a str that is not empty. Received: {text!r}")
        for key, value in fields.items():
            if key not in _FLAGS or not isinstance(value, bool):
                raise ValueError(f"{name}.{key} must be one of {_FLAGS} and true or false. Received: {key}={value!r}")
        return cls(text, **{"normalized": not fields.get("special", False), **fields})

    def to_json(self) -> dict[str, Any]:
        """The object that `from_json` reads."""
        return dataclasses.asdict(self)

    def for_backend(self) -> tokenizers.AddedToken:
        """The same token for the tokenizers library."""
        import tokenizers

        flags = {flag: getattr(self, flag) for flag in _FLAGS}
        return tokenizers.AddedToken(self.content, **flags)

    @property
    def strips(self) -> tuple[bool, bool]:
        """Whether it takes along white space before it, and behind it."""
        return self.lstrip, self.rstrip


def _is_of_the_library(token: Any) -> bool:
    import tokenizers

    return isinstance(token, tokenizers.AddedToken)


def read_new_tokens(tokens: Any, name: str) -> list[str | AddedToken]:
    """Return the tokens that a caller adds, one token or a sequence, as a list, or raise a `ValueError`."""
    if isinstance(tokens, str | AddedToken) or _is_of_the_library(tokens):
        tokens = [tokens]
    if isinstance(tokens, bytes) or not isinstance(tokens, Sequence):
        raise ValueError(f"{name} must be a token or a sequence of tokens. Received: {tokens!r}")
    flagged = [AddedToken.of(token, f"{name}[{index}]") for index, token in enumerate(tokens)]
    return [plain if isinstance(plain, str) else token for plain, token in zip(tokens, flagged, strict=True)]


def contents(tokens: Iterable[str | AddedToken]) -> list[str]:
    """The texts of tokens, of which some have no flags."""
    return [token if isinstance(token, str) else token.content for token in tokens]


def may_overlap(name: str, other: str) -> bool:
    """Whether a text may hold both tokens on common characters.

    >>> may_overlap("<s>", "s>a"), may_overlap("<s>", "<doc>")
    (True, False)
    """
    if name in other or other in name:
        return True
    ends = range(1, min(len(name), len(other)))
    return any(name.endswith(other[:end]) or other.endswith(name[:end]) for end in ends)

"""Tokenizers of the tokenizers library, with the added tokens that transformers' fast classes give them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfmodels.text.added_tokens import AddedToken, contents
from tfmodels.text.settings import TOKENIZER, Settings, Token

if TYPE_CHECKING:
    from tokenizers import Tokenizer as BackendTokenizer


def backend_of(content: Mapping[str, Any]) -> BackendTokenizer:
    """Return the tokenizer that tokenizer.json describes, or raise a `ValueError`."""
    from tokenizers import Tokenizer as BackendTokenizer

    try:
        return BackendTokenizer.from_str(json.dumps({**content, "truncation": None, "padding": None}))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        # Where the library panics, its exception is no `Exception`.
        raise ValueError(f"{TOKENIZER} must be a file of the tokenizers library. Received: {error}") from error


def add_tokens(backend: BackendTokenizer, settings: Settings, special: Sequence[Token]) -> set[str]:
    """Add the tokens of the settings, and the missing special tokens, in transformers' order.

    Returns:
        the texts that `add_flagged` returns.
    """
    tokens: list[Token] = [token for _, token in sorted(settings.added.items())]
    known = [token.content for token in backend.get_added_tokens_decoder().values()] + contents(tokens)
    tokens += [token for token in special if token not in known and token not in tokens]
    names = contents(special)
    flagged = [AddedToken.of(token, "token", special=contents([token])[0] in names) for token in tokens]
    return add_flagged(backend, flagged)[1]


def add_flagged(backend: BackendTokenizer, tokens: Sequence[AddedToken]) -> tuple[int, set[str]]:
    """Add tokens.

    Returns:
        the number of added tokens, as the library counts, and the contents of tokens with another `normalized`
        than before: the library goes on looking for them in the text of either kind.
    """
    normalized = {token.content: token.normalized for token in added_tokens(backend).values()}
    check_added(backend, [*added_tokens(backend).values(), *tokens])
    count = backend.add_tokens([token.for_backend() for token in tokens])
    return count, {
        token.content for token in tokens if normalized.get(token.content, token.normalized) != token.normalized
    }


def check_added(backend: BackendTokenizer, tokens: Sequence[AddedToken]) -> None:
    """Raise `ValueError` for added tokens that the library fails on, in any text or where they meet."""
    for token in tokens:
        normalizer = backend.normalizer if token.normalized else None
        if normalizer is not None and not normalizer.normalize_str(token.content):
            raise ValueError(
                f"added tokens must not be normalized where the normalizer of {TOKENIZER} leaves nothing of them. "
                f"Received: {token.content!r} with normalized=True"
            )
        if token.lstrip and not token.content.strip() and any(other.rstrip for other in tokens):
            raise ValueError(
                f"added tokens of white space must not have lstrip where another one has rstrip, which takes the same "
                f"white space along. Received: {token.content!r} with lstrip=True"
            )


def update_part(backend: BackendTokenizer, part: str, kinds: Any, changes: Mapping[str, bool]) -> None:
    """Put settings into a part of the backend that has them."""
    state = json.loads(getattr(backend, part).__getstate__()) if getattr(backend, part) is not None else {}
    changed = {name: value for name, value in changes.items() if state.get(name, value) != value}
    if changed:
        arguments = {**state, **changed}
        kind = getattr(kinds, arguments.pop("type"))
        # The library writes pairs as lists, and takes them as tuples.
        pairs = {name: tuple(value) for name, value in arguments.items() if isinstance(value, list)}
        setattr(backend, part, kind(**{**arguments, **pairs}))


def added_tokens(backend: BackendTokenizer) -> dict[int, AddedToken]:
    """The added tokens by id, with their flags."""
    tokens = backend.get_added_tokens_decoder()
    return {index: AddedToken.of(token, "token") for index, token in sorted(tokens.items())}


def tokens_around(
    processor: Mapping[str, Any] | None, single: Sequence[str], pair: Sequence[str]
) -> list[tuple[str, int]]:
    """Return the special tokens of a template, each once in the order of `single`, or raise a `ValueError`.

    Args:
        processor: `post_processor` of tokenizer.json.
        single, pair: the required forms: "A" and "B" for texts, other names for one special token each.
    """
    tokens: dict[str, tuple[str, int]] = {}
    kind = (processor or {}).get("type")
    fits = processor is not None and kind == "TemplateProcessing"
    for template, form in (("single", single), ("pair", pair)):
        pieces = [next(iter(piece.items())) for piece in (processor or {}).get(template, [])] if fits else []
        fits = fits and len(pieces) == len(form)
        for (piece, value), name in zip(pieces, form, strict=False):
            if name in ("A", "B"):
                fits = fits and piece == "Sequence" and value["id"] == name
                continue
            ids = (processor or {})["special_tokens"].get(value["id"], {}).get("ids", [])
            fits = fits and piece == "SpecialToken" and len(ids) == 1
            token = (value["id"], ids[0] if ids else -1)
            fits = fits and tokens.setdefault(name, token) == token
    if not fits:
        raise ValueError(
            f"post_processor of {TOKENIZER} must have the form {' '.join(single)} and, for pairs, "
            f"{' '.join(pair)}. Received: {kind}"
        )
    return list(tokens.values())

"""The tokens of T5's tokenizer beside the pieces of its model, and the splitting of texts at them."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfmodels.text.added_tokens import AddedToken, contents
from tfmodels.text.settings import ADDITIONAL, CONFIG, TOKENIZER, Settings, Token, json_part

SENTINEL_COUNT = 100
_MOST_SENTINELS = 100_000
EOS, UNK, PAD = "</s>", "<unk>", "<pad>"
TRAINER_SETTINGS: dict[str, Any] = {
    "model_type": "unigram",
    "hard_vocab_limit": False,
    "pad_id": 0,
    "eos_id": 1,
    "unk_id": 2,
    "bos_id": -1,
    # Sums are split by thread: another number of threads could round to other pieces.
    "num_threads": 2,
    "minloglevel": 2,
}
"""Of SentencePiece's trainer: the ids of T5, and the same pieces on every machine."""
ROLES: dict[str, Token | None] = {"eos_token": EOS, "unk_token": UNK, "pad_token": PAD}

Stretch = tuple[str, int, int | None]
"""A part of a text, the position of its first character, and its token's id if it is a token."""


@dataclasses.dataclass
class T5Tokens:
    """The tokens beside the pieces, as transformers' `T5Tokenizer` gives them ids.

    Attributes:
        pieces: the pieces of the model, by id.
        added: the tokens by id.
        ids: ids by content.
        special: all special tokens of roles and settings, each once.
        roles: tokens by role; roles without a token are missing.
        additional: the special tokens without a role, sentinels included.
    """

    pieces: Sequence[str]
    added: dict[int, AddedToken]
    ids: dict[str, int]
    special: list[str]
    roles: dict[str, str]
    additional: list[str]

    def vocab(self) -> dict[str, int]:
        """Every token with its id."""
        overlaid = {**dict(enumerate(self.pieces)), **{index: token.content for index, token in self.added.items()}}
        pieces = {overlaid[index]: index for index in range(len(self.pieces))}
        return {**pieces, **self.ids}

    def add(self, tokens: Sequence[Token], special: bool = False) -> int:
        """Give new tokens the next ids, and all tokens their flags. Return the number of new tokens."""
        vocab = self.vocab()
        count = len(vocab)
        for new in tokens:
            if isinstance(new, str) and new in self.ids:
                continue
            token = AddedToken.of(new, "token", special=special or new in self.special)
            index = vocab.setdefault(token.content, len(vocab))
            if token.special and token.content not in self.special:
                self.special.append(token.content)
                self.additional.append(token.content)
            self.added[index] = token
            self.ids[token.content] = index
        return len(vocab) - count


def read_tokens(pieces: Sequence[str], settings: Settings) -> T5Tokens:
    """Read the tokens of a folder.

    Args:
        pieces: the pieces of its model, by id.
        settings: the content of its other files.

    Raises:
        ValueError: a special token without an id, or settings that contradict each other.
    """
    additional, placed = with_sentinels(settings)
    count = settings.options.get("extra_ids", SENTINEL_COUNT)
    added = {
        len(pieces) - 1 + count - number: AddedToken(
            f"<extra_id_{number}>", lstrip=True, rstrip=True, normalized=False, special=True
        )
        for number in range(placed)
    }
    added.update(settings.added)
    ids = {token.content: index for index, token in added.items()}
    roles = {**ROLES, **settings.roles}
    missing = [role for role in ROLES if roles[role] is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must not be null. Received: null")
    unnamed = [token for role, token in ROLES.items() if role not in settings.roles and token not in {*pieces, *ids}]
    if unnamed:
        raise ValueError(f"model_proto must hold pad, eos and unk pieces. Received: none for {unnamed}")
    flagged = {
        role: AddedToken.of(token, role, special=True) if isinstance(token, str) and role in ROLES else token
        for role, token in roles.items()
    }
    special = dataclasses.replace(settings, roles=flagged, additional=tuple(additional)).special_tokens({})
    names = {role: contents([token])[0] for role, token in flagged.items() if token is not None}
    tokens = T5Tokens(pieces, added, ids, contents(special), names, contents(additional))
    tokens.add(special, special=True)
    _check_ids(tokens)
    return tokens


def with_sentinels(settings: Settings) -> tuple[list[Token], int]:
    """Return the special tokens without a role, and how many sentinels end the vocabulary, last one first.

    Raises:
        ValueError: settings that contradict each other.
    """
    additional, count = settings.additional, settings.options.get("extra_ids", SENTINEL_COUNT)
    if type(count) is not int or not 0 <= count <= _MOST_SENTINELS:
        raise ValueError(f"extra_ids in {CONFIG} must be an integer from 0 to {_MOST_SENTINELS}. Received: {count!r}")
    sentinels = [f"<extra_id_{number}>" for number in range(count)]
    if additional is None:
        return list(sentinels), count
    listed = [token for token in contents(additional) if "<extra_id_" in token]
    if not listed:
        return [*additional, *sentinels], 0
    if count not in (0, len(listed)):
        raise ValueError(
            f"extra_ids and {ADDITIONAL} in {CONFIG} must agree. "
            f"Received: extra_ids={count} and {len(listed)} sentinels among {ADDITIONAL}"
        )
    return list(additional), len(listed)


def _check_ids(tokens: T5Tokens) -> None:
    places = {piece: index for index, piece in enumerate(tokens.pieces)}
    for content, index in tokens.ids.items():
        if places.get(content, index) != index:
            raise ValueError(
                f"added tokens must have the ids of the model's pieces. "
                f"Received: {content!r} as {index}, which is piece {places[content]}"
            )
    for index, token in tokens.added.items():
        if token.single_word and True in token.strips:
            raise ValueError(
                f"added tokens must not have single_word together with lstrip or rstrip beside a SentencePiece model. "
                f"Received: {token.content!r} ({index})"
            )


def check_same_model(content: Mapping[str, Any], pieces: Sequence[str]) -> None:
    """Raise `ValueError` when tokenizer.json, beside spiece.model, holds another model or normalizes more."""
    vocab = json_part(content, "model").get("vocab", [[piece] for piece in pieces])
    listed = [piece[:1] for piece in vocab[: len(pieces)]] if isinstance(vocab, list) else []
    kinds = set(_kinds(content.get("normalizer")))
    further = sorted(kinds - {"Sequence", "Precompiled", "Strip", "Replace", "Nmt", "NFKC"})
    if listed != [[piece] for piece in pieces] or further:
        other = f"normalizer {' and '.join(further)}" if further else "other pieces"
        raise ValueError(
            f"{TOKENIZER} must hold the model of spiece.model, which transformers' T5Tokenizer reads, while "
            f"T5TokenizerFast reads {TOKENIZER}: take the file away that is not meant. Received: {other} in {TOKENIZER}"
        )


def _kinds(normalizer: Any) -> Iterator[str]:
    if isinstance(normalizer, dict):
        yield str(normalizer.get("type"))
        for part in normalizer.get("normalizers") or []:
            yield from _kinds(part)


class Splitter:
    """A splitter of texts at tokens: leftmost first, of several that begin there the longest.

    Args:
        ids: ids of the tokens by content.
        added: flags of the tokens by id.
    """

    def __init__(self, ids: Mapping[str, int], added: Mapping[int, AddedToken]):
        self._ids = dict(ids)
        self._tokens = {content: added[index] for content, index in ids.items()}
        longest_first = sorted(ids, key=len, reverse=True)
        self._pattern = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if longest_first else None

    def split(self, text: str) -> list[Stretch]:
        """The stretches of a text in order, none empty, without the white space that tokens take along."""
        parts = [part for part in self._pattern.split(text) if part] if self._pattern else [text]
        starts = list(itertools.accumulate((len(part) for part in parts[:-1]), initial=0))
        for index in range(len(parts)):
            # The part as it is now: the token before may have taken some of it along.
            token = self._tokens.get(parts[index])
            if token is not None:
                self._take_along(token, parts, starts, index)
        return [(part, start, self._ids.get(part)) for part, start in zip(parts, starts, strict=False) if part]

    @staticmethod
    def _take_along(token: AddedToken, parts: list[str], starts: list[int], index: int) -> None:
        """Take white space from the parts beside a token, or give it to a word that it is a part of."""
        left = parts[index - 1] if index else ""
        right = parts[index + 1] if index + 1 < len(parts) else ""
        if token.rstrip and right:
            parts[index + 1] = right.lstrip()
            starts[index + 1] += len(right) - len(parts[index + 1])
        if token.lstrip and left:
            parts[index - 1] = left.rstrip()
        if token.single_word and left and left[-1] != " ":
            parts[index - 1] += token.content
            parts[index] = ""
        elif token.single_word and right and right[0] != " ":
            parts[index + 1] = token.content + parts[index + 1]
            starts[index + 1] = starts[index]
            parts[index] = ""

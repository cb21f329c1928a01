"""SentencePiece with T5's sentinels from tokenizer.json alone, as transformers' fast class reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from tfmodels.text.added_tokens import AddedToken, contents
from tfmodels.text.arguments import check_text
from tfmodels.text.fast_backend import add_flagged, add_tokens, added_tokens, backend_of, tokens_around
from tfmodels.text.offsets import Spans
from tfmodels.text.sentencepiece_tokenizer import MODEL, SentencePieceTokenizer
from tfmodels.text.settings import (
    CONFIG,
    TOKENIZER,
    Settings,
    Token,
    json_object,
    json_part,
    read_settings,
    write_config,
)
from tfmodels.text.t5_tokens import ROLES, with_sentinels

if TYPE_CHECKING:
    from tfmodels.text.sentencepiece_graph import SentencePieceGraph


class SentencePieceJsonTokenizer(SentencePieceTokenizer):
    """Text to ids and back by a SentencePiece model in tokenizer.json, ids of transformers' `T5TokenizerFast`.

    It differs from `SentencePieceTokenizer`, which reads spiece.model: it always appends `</s>`, keeps other white
    space of a text, and does not run in the graph.

    Raises:
        ValueError: content that is not such a tokenizer.
    """

    repeats_final_eos = True

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        tokenizer = cls.__new__(cls)
        tokenizer._read_json(json_object(files[TOKENIZER], TOKENIZER), read_settings(files, (MODEL, TOKENIZER)))
        return tokenizer

    def _read_json(self, content: Mapping[str, Any], settings: Settings) -> None:
        self._settings = settings
        _check(content, settings)
        self._read_settings(settings)
        self._backend = backend_of(content)
        additional, _ = with_sentinels(settings)
        self._roles = {**ROLES, **settings.roles}
        named = Settings(roles=self._roles, additional=tuple(additional))
        self._additional = contents(additional)
        special = named.special_tokens({})
        known = {*self._backend.get_vocab(), *contents(settings.added.values())}
        missing = [token for role, token in ROLES.items() if role not in settings.roles and token not in known]
        if missing:
            raise ValueError(f"{TOKENIZER} must hold the special tokens. Received: none for {missing}")
        add_tokens(self._backend, settings, special)
        self._special = contents(special)
        self._backend.encode_special_tokens = self._splits_special_tokens
        processor = json.loads(self._backend.to_str())["post_processor"]
        self._end = tokens_around(processor, ("A", "eos"), ("A", "eos", "B", "eos"))[0]
        self.bos_token_id = None
        self._name_tokens()

    def _name_tokens(self) -> None:
        self.added_tokens = added_tokens(self._backend)
        ids = self._backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(ids.values()) + 1
        self.special_tokens = {token: ids[token] for token in self._special}
        names = {role: contents([token])[0] for role, token in self._roles.items() if token is not None}
        self._take_ids({role: ids[name] for role, name in names.items() if name in ids}, None, self._end[1])

    @property
    def _unknown_id(self) -> int:
        return self.unk_token_id

    @property
    def skipped_ids(self) -> list[int]:
        return [index for index, token in self.added_tokens.items() if token.special]

    def get_vocab(self) -> dict[str, int]:
        return self._backend.get_vocab(with_added_tokens=True)

    def _add(self, tokens: Sequence[Token], special: bool) -> int:
        flagged = [AddedToken.of(token, "token", special) for token in tokens]
        count, _ = add_flagged(self._backend, flagged)
        self._name_tokens()
        return count

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def tokenize(self, text: str) -> list[str]:
        return self._backend.encode(check_text(text, "text"), add_special_tokens=False).tokens

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def _build_in_graph(self) -> SentencePieceGraph:
        raise ValueError(
            f"folder must hold {MODEL} for the tokenizer to run in the graph: {TOKENIZER} alone is read by the "
            f"tokenizers library, outside it. {MODEL} is part of the checkpoint that the folder was made from; "
            f"transformers' T5Tokenizer.from_pretrained(...).save_pretrained(folder) writes it. Received: {TOKENIZER}"
        )

    def to_files(self) -> dict[str, bytes]:
        roles = {role: contents([token])[0] for role, token in self._roles.items() if token is not None}
        settings = Settings(self._settings.options, roles, tuple(self._additional), self.added_tokens)
        config = write_config(settings, self.transformers_class, {})
        return {TOKENIZER: self._backend.to_str().encode(), CONFIG: config}


def _check(content: Mapping[str, Any], settings: Settings) -> None:
    kind = json_part(content, "model").get("type")
    if kind != "Unigram":
        raise ValueError(f"model.type of {TOKENIZER} must be 'Unigram' for SentencePiece. Received: {kind!r}")
    if settings.options.get("add_prefix_space") is not None:
        raise ValueError(
            f"add_prefix_space in {CONFIG} needs {MODEL}, from which transformers then makes {TOKENIZER} anew. "
            f"Received: {settings.options['add_prefix_space']!r}"
        )
    missing = [role for role in ROLES if settings.roles.get(role, "") is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must not be null. Received: null")
    for part in ("truncation", "padding"):
        direction = json_part(content, part).get("direction", "Right")
        if direction != "Right":
            raise ValueError(f"{part}.direction of {TOKENIZER} must be 'Right'. Received: {direction!r}")

"""Byte-level BPE with BART's special tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from tfmodels.text.added_tokens import MOST_IDS, AddedToken, may_overlap
from tfmodels.text.arguments import check_text, check_vocab_size, iterate_texts
from tfmodels.text.byte_level_bpe_backend import SPECIAL_TOKENS, UNK, build, byte_level, check_special_tokens
from tfmodels.text.byte_level_bpe_files import MERGES, VOCAB, ByteLevelBPEVocabulary, read_files, write_files
from tfmodels.text.fast_backend import add_flagged
from tfmodels.text.offsets import Spans
from tfmodels.text.settings import CONFIG, SETTINGS_FILES, TOKENIZER, Settings, Token
from tfmodels.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfmodels.text.byte_level_bpe_graph import ByteLevelBPEGraph


class ByteLevelBPETokenizer(Tokenizer):
    """Text to ids and back by byte-level BPE: `<s> ... </s>`, ids of transformers' fast tokenizers.

    A family's subclass says `marks_global_token`, `decoder_start_role` and `transformers_class`.

    Args:
        vocab: token to id. It holds `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` and the symbols of the 256 bytes, of
            which it may lack some.
        merges: pairs of tokens, best first.
        add_prefix_space: begin each stretch of text between special tokens with a space, so that its first word has
            the ids of any other.
        marks_unknown_bytes: give `<unk>` for each byte without a symbol, as after a tokenizer.json with an `unk_token`.
            Otherwise such bytes are left out, as transformers does by default.

    Raises:
        ValueError: a vocabulary without a special token, or without the tokens of a merge.
    """

    file_names = (VOCAB, MERGES)
    substitute_file_name = TOKENIZER
    further_file_names = (TOKENIZER, *SETTINGS_FILES)
    repeats_final_eos = True
    pair_separators = 1
    favours_first_text = False
    # transformers' name of the class, for tokenizer_config.json.
    transformers_class: ClassVar[str]

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        add_prefix_space: bool = False,
        marks_unknown_bytes: bool = False,
    ):
        settings = Settings({"add_prefix_space": add_prefix_space})
        unknown = UNK if marks_unknown_bytes else None
        self._read(ByteLevelBPEVocabulary(dict(vocab), [(left, right) for left, right in merges], settings, unknown))

    def _read(self, vocabulary: ByteLevelBPEVocabulary) -> None:
        self._vocabulary = vocabulary
        self._vocab, self._merges = dict(vocabulary.vocab), vocabulary.merges
        check_special_tokens(vocabulary)
        _check_vocabulary(self._vocab, self._merges)
        self.add_prefix_space = vocabulary.settings.flag("add_prefix_space", False)
        self.marks_unknown_bytes = vocabulary.unknown_token is not None
        self._read_settings(vocabulary.settings)
        self._bpe = build(vocabulary)
        self._backend = self._bpe.tokenizer
        self._name_tokens()

    def _name_tokens(self) -> None:
        """Take ids and flags over from the backend."""
        bpe = self._bpe
        self.added_tokens = bpe.added
        ids = self._backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(ids.values()) + 1
        self.special_tokens = {token: ids[token] for token in bpe.special}
        roles = {role: ids[token] for role, token in bpe.roles.items()}
        self._take_ids(roles, bpe.start[1], bpe.end[1])
        self.bos_token_id: int = roles["bos_token"]
        self.mask_token_id = roles.get("mask_token")
        self.cls_token_id, self.sep_token_id = roles["cls_token"], roles["sep_token"]

    @property
    def skipped_ids(self) -> list[int]:
        return [index for index, token in self.added_tokens.items() if token.special]

    def get_vocab(self) -> dict[str, int]:
        return self._backend.get_vocab(with_added_tokens=True)

    def tokenize(self, text: str) -> list[str]:
        return self._backend.encode(check_text(text, "text"), add_special_tokens=False).tokens

    def _add(self, tokens: Sequence[Token], special: bool) -> int:
        flagged = [AddedToken.of(token, "token", special) for token in tokens]
        count, twice = add_flagged(self._backend, flagged)
        self._bpe.twice.update(twice)
        self._name_tokens()
        return count

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def _build_in_graph(self) -> ByteLevelBPEGraph:
        from tfmodels.text.byte_level_bpe_graph import ByteLevelBPEGraph

        normalizer = json.loads(self._backend.to_str())["normalizer"]
        if normalizer not in (None, {"type": "Lowercase"}):
            raise ValueError(
                f"normalizer of {TOKENIZER} must be null or Lowercase for the tokenizer to run in the graph. "
                f"Received: {normalizer}"
            )
        values = {symbol: value for value, symbol in enumerate(_byte_symbols())}
        contents = {**self._vocab, **{token.content: index for index, token in self.added_tokens.items()}}
        # A token with a character that is no symbol stands for its own text.
        token_bytes = {
            index: bytes(values[symbol] for symbol in token) if values.keys() >= set(token) else token.encode()
            for token, index in contents.items()
        }
        model = self._backend.model
        merges = [(self._vocab[left], self._vocab[right], self._vocab[left + right]) for left, right in self._merges]
        # Merging a token's own text need not give the token back.
        whole_words = {
            token_bytes[index]: index
            for token, index in self._vocab.items()
            if index not in self.added_tokens
            and values.keys() >= set(token)
            and [piece.id for piece in model.tokenize(token)] == [index]
        }
        symbols = [self._vocab.get(symbol) for symbol in _byte_symbols()]
        unknown = self._vocab[self._vocabulary.unknown_token] if self._vocabulary.unknown_token is not None else None
        tokens = self._looked_for()
        prefix, lowers = self.add_prefix_space, normalizer is not None
        return ByteLevelBPEGraph(self.spec, tokens, token_bytes, symbols, merges, whole_words, prefix, unknown, lowers)

    def _looked_for(self) -> dict[int, AddedToken]:
        """The added tokens that the graph looks for in a text."""
        twice = self._bpe.twice
        if twice and self._backend.normalizer is not None:
            raise ValueError(
                f"added tokens of {TOKENIZER} and of {CONFIG} must agree on normalized for a tokenizer with a "
                f"normalizer to run in the graph. Received: {sorted(twice)}"
            )
        # Without a normalizer the first search finds all of them.
        tokens = {
            index: dataclasses.replace(token, normalized=token.normalized and token.content not in twice)
            for index, token in self.added_tokens.items()
        }
        if not self._splits_special_tokens:
            return tokens
        plain = {index: token for index, token in tokens.items() if not token.special}
        special = [token.content for token in self.added_tokens.values() if token.special]
        for token in plain.values():
            if any(may_overlap(token.content.lower(), name.lower()) for name in special):
                raise ValueError(
                    f"added tokens must not overlap special tokens for a tokenizer with split_special_tokens to run in "
                    f"the graph. Received: {token.content!r}"
                )
        return plain

    def to_files(self) -> dict[str, bytes]:
        vocabulary = self._vocabulary
        if self._is_plain():
            vocabulary = dataclasses.replace(vocabulary, settings=Settings(vocabulary.settings.options))
            return write_files(vocabulary, None, self.transformers_class)
        settings = dataclasses.replace(vocabulary.settings, roles=self._bpe.roles, added=self.added_tokens)
        vocabulary = dataclasses.replace(vocabulary, settings=settings)
        return write_files(vocabulary, self._backend.to_str(), self.transformers_class)

    def _is_plain(self) -> bool:
        """Whether vocabulary and merges are enough: default special tokens, no normalizer and no unknown token."""
        backend, vocabulary = self._backend, self._vocabulary
        if backend.normalizer is not None or vocabulary.unknown_token is not None:
            return False
        if not all(token in self._vocab for token in SPECIAL_TOKENS):
            return False
        plain = build(ByteLevelBPEVocabulary(self._vocab, self._merges, Settings(vocabulary.settings.options)))
        parts = [(bpe.added, bpe.roles, bpe.special, bpe.start, bpe.end) for bpe in (plain, self._bpe)]
        return parts[0] == parts[1]

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        tokenizer = cls.__new__(cls)
        tokenizer._read(read_files(files))
        return tokenizer

    @classmethod
    def train_from_iterator(
        cls, texts: Iterable[str], vocab_size: int, min_frequency: int = 2, add_prefix_space: bool = False
    ) -> Self:
        """Learn merges from texts.

        Args:
            texts: the corpus, as an iterable of str of any length.
            vocab_size: the rows of the vocabulary at most; fewer when the corpus has no more pairs to merge.
            min_frequency: how often a pair must occur to be merged.
            add_prefix_space: see the class.

        Raises:
            ValueError: a `vocab_size` without room for the bytes and special tokens, or a text that is not a str.
        """
        from tokenizers import models, trainers

        check_vocab_size(vocab_size, 256 + len(SPECIAL_TOKENS), "256 bytes and the special tokens")
        backend = byte_level(models.BPE(), add_prefix_space)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(_byte_symbols()),
            show_progress=False,
        )
        backend.train_from_iterator(iterate_texts(texts, "texts"), trainer)
        model = json.loads(backend.to_str())["model"]
        return cls(model["vocab"], [tuple(merge) for merge in model["merges"]], add_prefix_space)


def _byte_symbols() -> list[str]:
    """The printable character that stands for each byte in the vocabulary, by byte value (GPT-2's alphabet)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    replacements = iter(range(0x100, 0x200))
    return [chr(value) if value in printable else chr(next(replacements)) for value in range(256)]


def _check_vocabulary(vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> None:
    if len(set(vocab.values())) != len(vocab) or min(vocab.values(), default=0) < 0:
        raise ValueError(
            "vocab must give every token an id of its own, none negative. Received: repeated or negative ids"
        )
    if max(vocab.values(), default=0) >= MOST_IDS:
        raise ValueError(f"vocab must have ids below {MOST_IDS:,}. Received: {max(vocab.values())}")
    for left, right in merges:
        unknown = [token for token in (left, right, left + right) if token not in vocab]
        if unknown:
            raise ValueError(
                f"merges must merge tokens of vocab into a token of vocab. Received: {unknown} not in vocab"
            )

"""The tokenizer of LED: byte-level BPE with BART's special tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

from tokenizers import models, trainers

from tfmodels.text.added_tokens import MOST_IDS, AddedToken, may_overlap
from tfmodels.text.arguments import check_text, check_vocab_size, iterate_texts
from tfmodels.text.byte_level_bpe_backend import SPECIAL_TOKENS, UNK, build, byte_level, check_special_tokens
from tfmodels.text.byte_level_bpe_files import MERGES, VOCAB, LEDVocabulary, read_files, write_files
from tfmodels.text.fast_backend import add_flagged
from tfmodels.text.offsets import Spans
from tfmodels.text.settings import CONFIG, SETTINGS_FILES, TOKENIZER, Settings, Token
from tfmodels.text.template import Frame
from tfmodels.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfmodels.text.byte_level_bpe_graph import ByteLevelBPE


class LEDTokenizer(Tokenizer):
    """Text to ids and back for LED: `<s> ... </s>`, ids of transformers' `LEDTokenizerFast`.

    Args:
        vocab: token to id. It holds `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` and the symbols of the 256 bytes, of
            which it may lack some.
        merges: pairs of tokens, best first.
        add_prefix_space: begin each stretch of text between special tokens with a space, so that its first word has
            the ids of any other.
        marks_unknown_bytes: give `<unk>` for each byte without a symbol, as a tokenizer.json with an `unk_token` asks
            for. Otherwise such bytes are left out, as `LEDTokenizerFast` does by itself.

    Raises:
        ValueError: when the vocabulary lacks a special token, or what a merge needs.

    Example:
        >>> from tfmodels.text import LEDTokenizer
        >>> tokenizer = LEDTokenizer.train_from_iterator(["the long report", "the report"], vocab_size=270)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    file_names = (VOCAB, MERGES)
    substitute_file_name = TOKENIZER
    further_file_names = (TOKENIZER, *SETTINGS_FILES)
    marks_global_token = True
    repeats_final_eos = True
    pair_separators = 1

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        add_prefix_space: bool = False,
        marks_unknown_bytes: bool = False,
    ):
        settings = Settings({"add_prefix_space": add_prefix_space})
        unknown = UNK if marks_unknown_bytes else None
        self._read(LEDVocabulary(dict(vocab), [(left, right) for left, right in merges], settings, unknown))

    def _read(self, found: LEDVocabulary) -> None:
        self._vocabulary = found
        self._vocab, self._merges = dict(found.vocab), found.merges
        check_special_tokens(found)
        _check_vocabulary(self._vocab, self._merges)
        self.add_prefix_space = found.settings.flag("add_prefix_space", False)
        self.marks_unknown_bytes = found.unknown_token is not None
        self._read_settings(found.settings)
        self._led = build(found)
        self._backend = self._led.tokenizer
        self._name_tokens()

    def _name_tokens(self) -> None:
        """Take ids and flags over from the backend."""
        led = self._led
        self.added_tokens = led.added
        ids = self._backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(ids.values()) + 1
        self.special_tokens = {token: ids[token] for token in led.special}
        roles = {role: ids[token] for role, token in led.roles.items()}
        self.bos_token_id: int = roles["bos_token"]
        self.pad_token_id = roles["pad_token"]
        self.eos_token_id = roles["eos_token"]
        self.unk_token_id = roles["unk_token"]
        self.mask_token_id = roles.get("mask_token")
        self.cls_token_id, self.sep_token_id = roles["cls_token"], roles["sep_token"]
        self.decoder_start_token_id = self.eos_token_id

    @property
    def frame(self) -> Frame:
        """The special tokens around a text or a pair."""
        return Frame(self._led.start[1], self._led.end[1], self.repeats_final_eos, self.pair_separators)

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
        self._led.twice.update(twice)
        self._name_tokens()
        return count

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def _build_in_graph(self) -> ByteLevelBPE:
        from tfmodels.text.byte_level_bpe_graph import ByteLevelBPE

        normalizer = json.loads(self._backend.to_str())["normalizer"]
        if normalizer not in (None, {"type": "Lowercase"}):
            raise ValueError(
                f"normalizer of {TOKENIZER} must be null or Lowercase for the tokenizer to run in the graph. "
                f"Received: {normalizer}"
            )
        values = {symbol: value for value, symbol in enumerate(_byte_symbols())}
        contents = {**self._vocab, **{token.content: index for index, token in self.added_tokens.items()}}
        # Of a token with a character that is no symbol, the text itself.
        token_bytes = {
            index: bytes(values[symbol] for symbol in token) if values.keys() >= set(token) else token.encode()
            for token, index in contents.items()
        }
        model = self._backend.model
        merges = [(self._vocab[left], self._vocab[right], self._vocab[left + right]) for left, right in self._merges]
        # Not every token of a vocabulary is what its own text becomes.
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
        return ByteLevelBPE(self, tokens, token_bytes, symbols, merges, whole_words, prefix, unknown, lowers)

    def _looked_for(self) -> dict[int, AddedToken]:
        """The added tokens that are found in a text, for the graph."""
        twice = self._led.twice
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
        found = {index: token for index, token in tokens.items() if not token.special}
        special = [token.content for token in self.added_tokens.values() if token.special]
        for token in found.values():
            if any(may_overlap(token.content.lower(), name.lower()) for name in special):
                raise ValueError(
                    f"added tokens must not overlap special tokens for a tokenizer with split_special_tokens to run in "
                    f"the graph. Received: {token.content!r}"
                )
        return found

    def to_files(self) -> dict[str, bytes]:
        found = self._vocabulary
        if self._is_plain():
            found = dataclasses.replace(found, settings=Settings(found.settings.options))
            return write_files(found, None)
        settings = dataclasses.replace(found.settings, roles=self._led.roles, added=self.added_tokens)
        return write_files(dataclasses.replace(found, settings=settings), self._backend.to_str())

    def _is_plain(self) -> bool:
        """Whether vocabulary and merges say all: no tokens but LED's own, no normalizer and no unknown token."""
        backend, found = self._backend, self._vocabulary
        if backend.normalizer is not None or found.unknown_token is not None:
            return False
        if not all(token in self._vocab for token in SPECIAL_TOKENS):
            return False
        plain = build(LEDVocabulary(self._vocab, self._merges, Settings(found.settings.options)))
        parts = [(led.added, led.roles, led.special, led.start, led.end) for led in (plain, self._led)]
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
            add_prefix_space: of the tokenizer.

        Raises:
            ValueError: when `vocab_size` leaves no room for the bytes and special tokens, or a text is not a str.
        """
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

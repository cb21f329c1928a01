"""The tokenizer of LED: byte-level BPE with BART's special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as BackendTokenizer

from tfmodels.text.arguments import check_vocab_size, iterate_texts
from tfmodels.text.base import Tokenizer

if TYPE_CHECKING:
    from tfmodels.text.byte_level_bpe import ByteLevelBPE

BOS, PAD, EOS, UNK, MASK = SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MERGES_HEADER = "#version: 0.2"


class LEDTokenizer(Tokenizer):
    """Text to ids and back for LED: `<s> ... </s>`, ids of transformers' `LEDTokenizerFast`.

    Args:
        vocab: Token to id. It holds the 256 byte symbols and `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>`.
        merges: Pairs of tokens, best first.

    Raises:
        ValueError: When the vocabulary lacks one of these, or what a merge needs.

    Example:
        >>> from tfmodels.text import LEDTokenizer
        >>> tokenizer = LEDTokenizer.train_from_iterator(["the long report", "the report"], vocab_size=270)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    file_names = ("vocab.json", "merges.txt")
    marks_global_token = True
    repeats_final_eos = True

    def __init__(self, vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]):
        self._vocab = dict(vocab)
        self._merges = [(left, right) for left, right in merges]
        _check_vocabulary(self._vocab, self._merges)
        self.special_tokens = {token: self._vocab[token] for token in SPECIAL_TOKENS}
        self.vocab_size = max(self._vocab.values()) + 1
        self.bos_token_id: int = self._vocab[BOS]
        self.pad_token_id = self._vocab[PAD]
        self.eos_token_id = self._vocab[EOS]
        self.unk_token_id = self._vocab[UNK]
        self.mask_token_id = self._vocab[MASK]
        self.decoder_start_token_id = self.eos_token_id
        self._backend = _backend(models.BPE(self._vocab, self._merges))

    def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        return [[self.bos_token_id, *encoding.ids, self.eos_token_id] for encoding in encodings]

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._backend.decode(ids, skip_special_tokens=skip_special_tokens)

    def _build_in_graph(self) -> ByteLevelBPE:
        from tfmodels.text.byte_level_bpe import ByteLevelBPE
        from tfmodels.text.unicode_classes import WHITE_SPACE

        values = {symbol: value for value, symbol in enumerate(_byte_symbols())}
        ordinary = {token: index for token, index in self._vocab.items() if token not in self.special_tokens}
        token_bytes = {
            index: bytes(values[symbol] for symbol in token)
            for token, index in ordinary.items()
            if values.keys() >= set(token)
        }
        merges = [(self._vocab[left], self._vocab[right], self._vocab[left + right]) for left, right in self._merges]
        # Not every token of a vocabulary is what its own text becomes.
        model = models.BPE(self._vocab, self._merges)
        whole_words = {
            token_bytes[index]: index
            for token, index in ordinary.items()
            if index in token_bytes and [piece.id for piece in model.tokenize(token)] == [index]
        }
        # `<mask>` takes the white space before it along, as the reference declares it.
        pattern = rf"[{WHITE_SPACE}]*({MASK})|({BOS}|{PAD}|{EOS}|{UNK})"
        return ByteLevelBPE(self, pattern, token_bytes, merges, whole_words)

    def to_files(self) -> dict[str, bytes]:
        vocab = dict(sorted(self._vocab.items(), key=lambda item: item[1]))
        lines = [MERGES_HEADER, *(f"{left} {right}" for left, right in self._merges)]
        return {
            "vocab.json": json.dumps(vocab, ensure_ascii=False).encode(),
            "merges.txt": ("\n".join(lines) + "\n").encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        try:
            vocab = json.loads(files["vocab.json"])
        except ValueError as error:
            raise ValueError(f"vocab.json must be JSON. Received: {error}") from error
        if not isinstance(vocab, dict) or not all(isinstance(index, int) for index in vocab.values()):
            raise ValueError(f"vocab.json must map tokens to integer ids. Received: {str(vocab)[:80]}")
        merges = []
        for number, line in enumerate(files["merges.txt"].decode("utf-8").split("\n"), start=1):
            pair = line.rstrip("\r").split(" ")
            if pair == [""] or line.startswith("#version"):
                continue
            if len(pair) != 2:
                raise ValueError(f"merges.txt must hold two tokens a line. Received: {line!r} in line {number}")
            merges.append((pair[0], pair[1]))
        return cls(vocab, merges)

    @classmethod
    def train_from_iterator(cls, texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> Self:
        """Learns merges from texts.

        Args:
            texts: The corpus, as an iterable of str of any length.
            vocab_size: The rows of the vocabulary at most; fewer when the corpus has no more pairs to merge.
            min_frequency: How often a pair must occur to be merged.

        Raises:
            ValueError: When `vocab_size` leaves no room for the bytes and special tokens, or a text is not a str.
        """
        check_vocab_size(vocab_size, 256 + len(SPECIAL_TOKENS), "256 bytes and the special tokens")
        backend = _backend(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(_byte_symbols()),
            show_progress=False,
        )
        backend.train_from_iterator(iterate_texts(texts, "texts"), trainer)
        model = json.loads(backend.to_str())["model"]
        return cls(model["vocab"], [tuple(merge) for merge in model["merges"]])


def _backend(model: models.BPE) -> BackendTokenizer:
    backend = BackendTokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(token, lstrip=token == MASK, normalized=False, special=True) for token in SPECIAL_TOKENS]
    )
    return backend


def _byte_symbols() -> list[str]:
    """The printable character that stands for each byte in the vocabulary, by byte value (GPT-2's alphabet)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    replacements = iter(range(0x100, 0x200))
    return [chr(value) if value in printable else chr(next(replacements)) for value in range(256)]


def _check_vocabulary(vocab: Mapping[str, int], merges: Iterable[tuple[str, str]]) -> None:
    missing = [token for token in (*SPECIAL_TOKENS, *_byte_symbols()) if token not in vocab]
    if missing:
        raise ValueError(f"vocab must hold the special tokens and the 256 byte symbols. Received: none for {missing}")
    if len(set(vocab.values())) != len(vocab) or min(vocab.values()) < 0:
        raise ValueError(
            "vocab must give every token an id of its own, none negative. Received: repeated or negative ids"
        )
    for left, right in merges:
        unknown = [token for token in (left, right, left + right) if token not in vocab]
        if unknown:
            raise ValueError(
                f"merges must merge tokens of vocab into a token of vocab. Received: {unknown} not in vocab"
            )

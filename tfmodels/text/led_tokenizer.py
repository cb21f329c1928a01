"""The tokenizer of LED: byte-level BPE with BART's special tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as BackendTokenizer

from tfmodels.text.arguments import check_vocab_size, iterate_texts
from tfmodels.text.base import Tokenizer
from tfmodels.text.led_files import CONFIG, MERGES, TOKENIZER, VOCAB, LEDVocabulary, read_files, write_files
from tfmodels.text.offsets import Spans

if TYPE_CHECKING:
    from tfmodels.text.byte_level_bpe import ByteLevelBPE

BOS, PAD, EOS, UNK, MASK = SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


class LEDTokenizer(Tokenizer):
    """Text to ids and back for LED: `<s> ... </s>`, ids of transformers' `LEDTokenizerFast`.

    Args:
        vocab: Token to id. It holds `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` and the symbols of the 256 bytes, of
            which it may lack some.
        merges: Pairs of tokens, best first.
        add_prefix_space: Begin each stretch of text between special tokens with a space, so that its first word has
            the ids of any other.
        marks_unknown_bytes: Give `<unk>` for each byte without a symbol, as a tokenizer.json with an `unk_token` asks
            for. Otherwise such bytes are left out, as `LEDTokenizerFast` does by itself.

    Raises:
        ValueError: When the vocabulary lacks a special token, or what a merge needs.

    Example:
        >>> from tfmodels.text import LEDTokenizer
        >>> tokenizer = LEDTokenizer.train_from_iterator(["the long report", "the report"], vocab_size=270)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    file_names = (VOCAB, MERGES)
    substitute_file_name = TOKENIZER
    further_file_names = (CONFIG,)
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
        self._vocab = dict(vocab)
        self._merges = [(left, right) for left, right in merges]
        _check_vocabulary(self._vocab, self._merges)
        self.add_prefix_space = add_prefix_space
        self.marks_unknown_bytes = marks_unknown_bytes
        self.special_tokens = {token: self._vocab[token] for token in SPECIAL_TOKENS}
        self.vocab_size = max(self._vocab.values()) + 1
        self.bos_token_id: int = self._vocab[BOS]
        self.pad_token_id = self._vocab[PAD]
        self.eos_token_id = self._vocab[EOS]
        self.unk_token_id = self._vocab[UNK]
        self.mask_token_id = self._vocab[MASK]
        self.decoder_start_token_id = self.eos_token_id
        self._backend = _backend(self._model(), add_prefix_space)

    def _model(self) -> models.BPE:
        return models.BPE(self._vocab, self._merges, **({"unk_token": UNK} if self.marks_unknown_bytes else {}))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        encodings = self._backend.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

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
        model = self._model()
        whole_words = {
            token_bytes[index]: index
            for token, index in ordinary.items()
            if index in token_bytes and [piece.id for piece in model.tokenize(token)] == [index]
        }
        # `<mask>` takes the white space before it along, as the reference declares it.
        pattern = rf"[{WHITE_SPACE}]*({MASK})|({BOS}|{PAD}|{EOS}|{UNK})"
        return ByteLevelBPE(
            self, pattern, token_bytes, merges, whole_words, self.add_prefix_space, self.marks_unknown_bytes
        )

    def to_files(self) -> dict[str, bytes]:
        vocabulary = LEDVocabulary(self._vocab, self._merges, self.add_prefix_space, self.marks_unknown_bytes)
        return write_files(vocabulary, self._whole_backend)

    def _whole_backend(self) -> str:
        """The backend with the special tokens around a text, as the tokenizers library writes it."""
        backend = BackendTokenizer.from_str(self._backend.to_str())
        backend.post_processor = processors.RobertaProcessing(
            (EOS, self.eos_token_id), (BOS, self.bos_token_id), add_prefix_space=self.add_prefix_space
        )
        return backend.to_str()

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        found = read_files(files, SPECIAL_TOKENS)
        return cls(found.vocab, found.merges, found.add_prefix_space, found.marks_unknown_bytes)

    @classmethod
    def train_from_iterator(
        cls, texts: Iterable[str], vocab_size: int, min_frequency: int = 2, add_prefix_space: bool = False
    ) -> Self:
        """Learns merges from texts.

        Args:
            texts: The corpus, as an iterable of str of any length.
            vocab_size: The rows of the vocabulary at most; fewer when the corpus has no more pairs to merge.
            min_frequency: How often a pair must occur to be merged.
            add_prefix_space: Of the tokenizer.

        Raises:
            ValueError: When `vocab_size` leaves no room for the bytes and special tokens, or a text is not a str.
        """
        check_vocab_size(vocab_size, 256 + len(SPECIAL_TOKENS), "256 bytes and the special tokens")
        backend = _backend(models.BPE(), add_prefix_space)
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


def _backend(model: models.BPE, add_prefix_space: bool) -> BackendTokenizer:
    backend = BackendTokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    # It adds no tokens, and takes white space off the offsets.
    backend.post_processor = processors.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=True)
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
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    if missing:
        raise ValueError(f"vocab must hold the special tokens. Received: none for {missing}")
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

"""The tokenizer of LongT5: SentencePiece with T5's sentinels."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Self

import sentencepiece

from tfmodels.text.arguments import check_vocab_size, iterate_texts
from tfmodels.text.base import Tokenizer
from tfmodels.text.offsets import Spans

if TYPE_CHECKING:
    from tfmodels.text.sentencepiece_graph import SentencePieceGraph

SENTINEL_COUNT = 100
SENTINEL_PATTERN = "<extra_id_(?:[0-9]|[1-9][0-9])>"

# Training reads lines of at most this many characters, so that no long line is dropped by SentencePiece, and a sample
# of this many lines: about 7 MB of source text, learnt from in 10 seconds on two cores.
_TRAINING_LINE_CHARACTERS = 4096
_TRAINING_LINES = 200_000
# SentencePiece marks unknown characters with this one and skips every line that holds it.
_RESERVED_CHARACTER = "\u2585"


class LongT5Tokenizer(Tokenizer):
    """Text to ids and back for LongT5: `... </s>`, ids of transformers' `T5Tokenizer`.

    The Google checkpoints of LongT5 come without a `legacy` flag, which means the legacy behaviour: each stretch of
    text between special tokens goes through SentencePiece on its own, dummy prefix included. That is followed here.

    SentencePiece normalizes (NFKC) and folds white space into single spaces, so `decode` does not give back newlines
    or indentation.

    Args:
        model_proto: The serialized SentencePiece model, the content of `spiece.model`.

    Raises:
        ValueError: When this is no SentencePiece model with pad, eos and unknown pieces.

    Example:
        >>> from tfmodels.text import LongT5Tokenizer
        >>> tokenizer = LongT5Tokenizer.train_from_iterator(["the long report", "the report"], vocab_size=120)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    file_names = ("spiece.model",)
    marks_global_token = False
    repeats_final_eos = False
    pair_separators = 0

    def __init__(self, model_proto: bytes):
        self._model_proto = bytes(model_proto)
        try:
            self._sentencepiece = sentencepiece.SentencePieceProcessor(model_proto=self._model_proto)
            self._piece_count = self._sentencepiece.get_piece_size()
        except RuntimeError as error:
            raise ValueError(f"model_proto must be a SentencePiece model. Received: {error}") from error
        self.pad_token_id = self._sentencepiece.pad_id()
        self.eos_token_id = self._sentencepiece.eos_id()
        self.unk_token_id = self._sentencepiece.unk_id()
        if min(self.pad_token_id, self.eos_token_id, self.unk_token_id) < 0:
            raise ValueError(
                "model_proto must hold pad, eos and unk pieces. Received: "
                f"pad={self.pad_token_id}, eos={self.eos_token_id}, unk={self.unk_token_id}"
            )
        self.bos_token_id = None
        self.decoder_start_token_id = self.pad_token_id
        self.vocab_size = self._piece_count + SENTINEL_COUNT
        self._plain_tokens = {
            self._sentencepiece.id_to_piece(index): index
            for index in (self.pad_token_id, self.eos_token_id, self.unk_token_id)
        }
        # T5 counts its sentinels from the end of the vocabulary.
        sentinels = {f"<extra_id_{number}>": self.vocab_size - 1 - number for number in range(SENTINEL_COUNT)}
        self.special_tokens = {**self._plain_tokens, **sentinels}
        self._token_by_special_id = {index: token for token, index in self.special_tokens.items()}
        self._splitter = re.compile(f"({self._plain_pattern()}|{SENTINEL_PATTERN})")

    def _plain_pattern(self) -> str:
        return "|".join(map(re.escape, self._plain_tokens))

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        rows = []
        for text in texts:
            ids: list[int] = []
            for stretch, _, special_id in self._stretches(text):
                ids.extend(self._sentencepiece.encode(stretch) if special_id is None else [special_id])
            rows.append(ids)
        return rows

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        rows = []
        for text in texts:
            ids: list[int] = []
            spans: Spans = []
            for stretch, start, special_id in self._stretches(text):
                if special_id is not None:
                    ids.append(special_id)
                    spans.append((start, start + len(stretch)))
                    continue
                mapping = self._sentencepiece.encode_as_offset_mapping(stretch)
                ids += mapping["ids"]
                spans += [_without_space(text, start + first, start + last) for first, last in mapping["offsets"]]
            rows.append((ids, spans))
        return rows

    def _stretches(self, text: str) -> Iterator[tuple[str, int, int | None]]:
        """The special tokens and what is between them: each with its start in the text, and a special token's id."""
        # Splitting by a pattern with one group puts the special tokens at the odd places.
        pieces = self._splitter.split(text)
        start = 0
        for index, piece in enumerate(pieces):
            if index % 2:
                yield piece, start, self.special_tokens[piece]
            else:
                stretch = piece
                if index and self._is_sentinel(pieces[index - 1]):
                    stretch = stretch.lstrip()
                skipped = len(piece) - len(stretch)
                if index + 1 < len(pieces) and self._is_sentinel(pieces[index + 1]):
                    stretch = stretch.rstrip()
                yield stretch, start + skipped, None
            start += len(piece)

    def _is_sentinel(self, token: str) -> bool:
        return self.special_tokens[token] >= self._piece_count

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        if skip_special_tokens:
            return self._sentencepiece.decode(
                [index for index in ids if index not in self._token_by_special_id]
            ).strip()
        # As the reference has it: sentinels stand apart, other special tokens touch the text before them.
        stretches: list[str] = []
        pending: list[int] = []
        for index in ids:
            if index < self._piece_count:
                pending.append(index)
                continue
            stretches += [text for text in [self._decode_stretch(pending)] if text]
            stretches.append(self._token_by_special_id[index])
            pending = []
        if pending:
            stretches.append(self._decode_stretch(pending))
        return " ".join(stretches)

    def _decode_stretch(self, ids: list[int]) -> str:
        text, pending, after_special = "", [], False
        for index in ids:
            if index not in self._token_by_special_id:
                pending.append(index)
                after_special = False
                continue
            text += ("" if after_special else " ") + self._sentencepiece.decode(pending)
            text += self._token_by_special_id[index]
            pending, after_special = [], True
        return (text + self._sentencepiece.decode(pending)).strip()

    def _build_in_graph(self) -> SentencePieceGraph:
        from tfmodels.text.sentencepiece_graph import SentencePieceGraph
        from tfmodels.text.sentencepiece_model import check_graph_can, words_stand_alone
        from tfmodels.text.unicode_classes import PYTHON_SPACE

        check_graph_can(self._model_proto, self._sentencepiece)
        # Sentinels take the white space on both sides along, as the reference declares them.
        space = f"[{PYTHON_SPACE}]*"
        pattern = f"{space}({SENTINEL_PATTERN}){space}|({self._plain_pattern()})"
        scores = [self._sentencepiece.get_score(index) for index in range(self._piece_count)]
        apart = words_stand_alone(self._model_proto, self._sentencepiece)
        return SentencePieceGraph(self, pattern, self._model_proto, scores, apart)

    def to_files(self) -> dict[str, bytes]:
        return {"spiece.model": self._model_proto}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        return cls(files["spiece.model"])

    @classmethod
    def train_from_iterator(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learns a unigram SentencePiece vocabulary from texts.

        Args:
            texts: The corpus, as an iterable of str of any length. Of large corpora a fixed sample of lines is used.
            vocab_size: The rows of the vocabulary at most, the 100 sentinels included; fewer when the corpus has no
                more pieces to offer.

        Raises:
            ValueError: When `vocab_size` is too small for the characters of the corpus, or a text is not a str.
        """
        check_vocab_size(vocab_size, SENTINEL_COUNT + 4, "the sentinels, three special tokens and a piece")
        lines = _sample(_training_lines(iterate_texts(texts, "texts")), _TRAINING_LINES)
        if not lines:
            raise ValueError("texts must hold at least one text that is not blank. Received: none")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="unigram",
                vocab_size=vocab_size - SENTINEL_COUNT,
                hard_vocab_limit=False,
                pad_id=0,
                eos_id=1,
                unk_id=2,
                bos_id=-1,
                # The default coverage drops the rarest characters: in source code capitals such as Q, which then became
                # unknown in every text.
                required_chars="".join(sorted({c for line in lines for c in line if "!" <= c <= "~"})),
                max_sentence_length=4 * _TRAINING_LINE_CHARACTERS,
                # Sums are split by thread: another number of threads could round to other pieces.
                num_threads=2,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ValueError(f"vocab_size and texts must suit each other. Received: {vocab_size=}; {error}") from error
        return cls(model.getvalue())


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, max(start, start + len(piece.strip()))


def _training_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.replace(_RESERVED_CHARACTER, " ").split("\n"):
            for start in range(0, len(line), _TRAINING_LINE_CHARACTERS):
                piece = line[start : start + _TRAINING_LINE_CHARACTERS]
                if not piece.isspace():
                    yield piece


def _sample(lines: Iterable[str], count: int) -> list[str]:
    """A uniform sample of `count` lines (reservoir sampling), the same for the same lines."""
    generator = random.Random(0)
    sample: list[str] = []
    for index, line in enumerate(lines):
        if index < count:
            sample.append(line)
        elif (place := generator.randrange(index + 1)) < count:
            sample[place] = line
    return sample

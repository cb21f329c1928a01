"""SentencePiece with T5's sentinels."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tfmodels.text.added_tokens import contents
from tfmodels.text.arguments import check_text, check_vocab_size, iterate_texts
from tfmodels.text.offsets import Spans
from tfmodels.text.sentencepiece_model import NO_PREFIX, SPACE_MARK
from tfmodels.text.settings import (
    CONFIG,
    SETTINGS_FILES,
    TOKENIZER,
    Settings,
    Token,
    json_object,
    read_settings,
    write_config,
)
from tfmodels.text.t5_tokens import (
    SENTINEL_COUNT,
    TRAINER_SETTINGS,
    Splitter,
    Stretch,
    check_same_model,
    read_tokens,
)
from tfmodels.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import sentencepiece

    from tfmodels.text.sentencepiece_graph import SentencePieceGraph

MODEL = "spiece.model"

# Training reads lines of at most this many characters, so that no long line is dropped by SentencePiece, and a sample
# of this many lines: about 7 MB of source text, learnt from in 10 seconds on two cores.
_TRAINING_LINE_CHARACTERS = 4096
_TRAINING_LINES = 200_000
# SentencePiece marks unknown characters with this one and skips every line that holds it.
_RESERVED_CHARACTER = "\u2585"


class SentencePieceTokenizer(Tokenizer):
    """Text to ids and back by SentencePiece: `... </s>`, ids of transformers' `T5Tokenizer`.

    A folder without a `legacy` flag means the legacy behaviour: each stretch of text between added tokens goes through
    SentencePiece on its own, dummy prefix included. With `legacy: false` in tokenizer_config.json only the start of a
    text and a stretch behind a space have that prefix. A family's subclass says `marks_global_token`,
    `decoder_start_role` and `transformers_class`.

    SentencePiece normalizes (NFKC) and folds white space into single spaces, so `decode` does not give back newlines
    or indentation.

    Args:
        model_proto: the serialized SentencePiece model, the content of `spiece.model`.

    Raises:
        ValueError: anything but a SentencePiece model with pad, eos and unknown pieces.
    """

    file_names = (MODEL,)
    further_file_names = (TOKENIZER, *SETTINGS_FILES)
    repeats_final_eos = False
    pair_separators = 0
    # transformers' name of the class, for tokenizer_config.json.
    transformers_class: ClassVar[str]

    def __init__(self, model_proto: bytes):
        self._read(bytes(model_proto), Settings())

    def _read(self, model_proto: bytes, settings: Settings) -> None:
        self._model_proto, self._settings = model_proto, settings
        _check_options(settings)
        self._read_settings(settings)
        self.legacy = settings.options.get("legacy") is None or settings.flag("legacy", True)
        self.add_prefix_space = settings.flag("add_prefix_space", True)
        if not self.legacy and SPACE_MARK in contents(settings.added.values()):
            raise ValueError(f"legacy in {CONFIG} must be true beside the added token {SPACE_MARK!r}. Received: false")
        self._sentencepiece = _processor(model_proto, self.legacy)
        self._piece_count = self._sentencepiece.get_piece_size()
        pieces = [self._sentencepiece.id_to_piece(index) for index in range(self._piece_count)]
        self._tokens = read_tokens(pieces, settings)
        self.bos_token_id = None
        self._name_tokens()
        # The model takes white space off the start of a text, but not from behind these tokens.
        self._guard = self._tokens.roles["unk_token"]
        self._guard_length = len(self._sentencepiece.encode(self._guard))

    def _name_tokens(self) -> None:
        """Take ids and flags over from the tokens."""
        tokens = self._tokens
        self.added_tokens = dict(sorted(tokens.added.items()))
        self.special_tokens = {token: tokens.ids[token] for token in tokens.special}
        self._special_ids = frozenset(self.special_tokens.values())
        roles = {role: tokens.ids[token] for role, token in tokens.roles.items() if token in tokens.ids}
        self._take_ids(roles, None, roles["eos_token"])
        self.vocab_size = max([self._piece_count, *(index + 1 for index in tokens.added)])
        # In decoded text these stand apart; other special tokens touch the text before them.
        beyond = {tokens.ids[token] for token in tokens.additional if tokens.ids[token] >= self._piece_count}
        self._apart_ids = (set(tokens.added) - self._special_ids) | beyond
        self._splitter = Splitter({} if self._splits_special_tokens else tokens.ids, tokens.added)
        self._unknown_ids = self._tokens_of_unknown_characters()

    def _tokens_of_unknown_characters(self) -> dict[str, int]:
        """Tokens whose characters no piece has: other characters that the model normalizes to them count as them."""
        tokens = {}
        for content, index in self._tokens.ids.items():
            encoded = self._sentencepiece.encode(content, out_type=str)
            if encoded and encoded[-1] == content and self._sentencepiece.piece_to_id(content) == self._unknown_id:
                tokens[content] = index
        return tokens

    @property
    def _unknown_id(self) -> int:
        return self._sentencepiece.unk_id()

    def get_vocab(self) -> dict[str, int]:
        return self._tokens.vocab()

    def _add(self, tokens: Sequence[Token], special: bool) -> int:
        names = [name for name in contents(tokens) if special and "<extra_id_" in name]
        if names:
            # transformers finds the sentinels' ids by their number, `extra_ids`.
            raise ValueError(f"new_tokens must not be further sentinels. Received: {names}")
        count = self._tokens.add(tokens, special)
        self._name_tokens()
        return count

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        rows = []
        for text in texts:
            ids: list[int] = []
            for stretch, _, token_id in self._stretches(self._prefixed(text)):
                ids.extend(self._encode(stretch) if token_id is None else [token_id])
            rows.append(ids)
        return rows

    def _stretches(self, prefixed: str) -> list[Stretch]:
        """The added tokens of a text and the stretches between them."""
        stretches = self._splitter.split(prefixed)
        if self.legacy or len(stretches) < 2 or stretches[1][2] not in self._special_ids:
            return stretches
        # A prefix that only a special token follows does not count.
        first, _, token_id = stretches[0]
        may_be_lone = token_id is None and not any(map(str.isalnum, first))
        return stretches[1:] if may_be_lone and self._pieces(first) == [SPACE_MARK] else stretches

    def _prefixed(self, text: str) -> str:
        """The text with its prefix, unless the behaviour is legacy."""
        if self.legacy or not text:
            return text
        return SPACE_MARK * self.add_prefix_space + text.replace(SPACE_MARK, " ")

    def _is_guarded(self, stretch: str) -> bool:
        return not self.legacy and stretch.startswith((SPACE_MARK, " "))

    def _encode(self, stretch: str) -> list[int]:
        """Ids of text between added tokens."""
        guarded = self._guard + stretch if self._is_guarded(stretch) else stretch
        ids = self._sentencepiece.encode(guarded)
        if self._unknown_ids and self._unknown_id in ids:
            pieces = self._sentencepiece.encode(guarded, out_type=str)
            ids = [self._unknown_ids.get(piece, index) for piece, index in zip(pieces, ids, strict=True)]
        return self._unguarded(ids) if guarded is not stretch else ids

    def _unguarded(self, values: list[Any]) -> list[Any]:
        return values[self._guard_length :] if len(values) >= self._guard_length else values

    def _pieces(self, stretch: str) -> list[str]:
        """Pieces of text between added tokens."""
        if self._is_guarded(stretch):
            return self._unguarded(self._sentencepiece.encode(self._guard + stretch, out_type=str))
        return self._sentencepiece.encode(stretch, out_type=str)

    def tokenize(self, text: str) -> list[str]:
        tokens: list[str] = []
        for stretch, _, token_id in self._stretches(self._prefixed(check_text(text, "text"))):
            tokens += self._pieces(stretch) if token_id is None else [stretch]
        return tokens

    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        rows = []
        for text in texts:
            ids: list[int] = []
            spans: Spans = []
            prefixed = self._prefixed(text)
            shift = len(prefixed) - len(text)
            for stretch, start, token_id in self._stretches(prefixed):
                if token_id is not None:
                    ids.append(token_id)
                    characters = [(0, len(stretch))]
                else:
                    ids += self._encode(stretch)
                    characters = self._offsets(stretch)
                spans += [_without_space(prefixed, start + first, start + last) for first, last in characters]
            rows.append((ids, [(max(first - shift, 0), max(last - shift, 0)) for first, last in spans]))
        return rows

    def _offsets(self, stretch: str) -> Spans:
        """Characters of the ids of a stretch, in the stretch."""
        if not self._is_guarded(stretch):
            return self._sentencepiece.encode_as_offset_mapping(stretch)["offsets"]
        spans = self._unguarded(self._sentencepiece.encode_as_offset_mapping(self._guard + stretch)["offsets"])
        return [(max(first - len(self._guard), 0), max(last - len(self._guard), 0)) for first, last in spans]

    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        # As in transformers, each part is decoded by itself, without the white space at its ends.
        texts: list[str] = []
        pending: list[int] = []
        for index in ids:
            if skip_special_tokens and index in self._special_ids:
                continue
            if index not in self._apart_ids:
                pending += [index] if index < self._piece_count or index in self.added_tokens else []
                continue
            texts += [text for text in [self._decode_part(pending)] if text]
            texts.append(self.added_tokens[index].content)
            pending = []
        if pending:
            texts.append(self._decode_part(pending))
        return " ".join(texts)

    def _decode_part(self, ids: list[int]) -> str:
        text, pending, after_special = "", [], False
        for index in ids:
            if index not in self._special_ids:
                pending.append(index)
                after_special = False
                continue
            text += ("" if after_special else " ") + self._sentencepiece.decode(pending)
            text += self.added_tokens[index].content
            pending, after_special = [], True
        return (text + self._sentencepiece.decode(pending)).strip()

    def _build_in_graph(self) -> SentencePieceGraph:
        from tfmodels.text.t5_graph import Unprefixed, build_graph

        # A token that a folder lists under two ids is read as one of them.
        places = [] if self._splits_special_tokens else self._tokens.ids.values()
        tokens = {index: self.added_tokens[index] for index in places}
        unprefixed = None if self.legacy else Unprefixed(self._guard, self._guard_length, self.add_prefix_space)
        return build_graph(self.spec, self._model_proto, tokens, self._unknown_ids, unprefixed)

    def to_files(self) -> dict[str, bytes]:
        files = {MODEL: self._model_proto}
        settings = self._settings
        plain = read_tokens(self._tokens.pieces, Settings())
        if plain == self._tokens:
            config = {CONFIG: write_config(Settings(settings.options), self.transformers_class, {})}
            return {**files, **(config if settings.options else {})}
        roles = dict(self._tokens.roles)
        settings = Settings(settings.options, roles, tuple(self._tokens.additional), self.added_tokens)
        return {**files, CONFIG: write_config(settings, self.transformers_class, {})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        if MODEL not in files:
            raise ValueError(f"files must hold {MODEL}. Received: {sorted(files)}")
        tokenizer = cls.__new__(cls)
        tokenizer._read(files[MODEL], read_settings(files, (MODEL,)))
        if TOKENIZER in files:
            check_same_model(json_object(files[TOKENIZER], TOKENIZER), tokenizer._tokens.pieces)
        return tokenizer

    @classmethod
    def train_from_iterator(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learn a unigram SentencePiece vocabulary from texts.

        Args:
            texts: the corpus, as an iterable of str of any length. Of large corpora a fixed sample of lines is used.
            vocab_size: the rows of the vocabulary at most, the 100 sentinels included; fewer when the corpus has no
                more pieces to offer.

        Raises:
            ValueError: a `vocab_size` too small for the characters of the corpus, or a text that is not a str.
        """
        import sentencepiece

        check_vocab_size(vocab_size, SENTINEL_COUNT + 4, "the sentinels, three special tokens and a piece")
        lines = _sample(_training_lines(iterate_texts(texts, "texts")), _TRAINING_LINES)
        if not lines:
            raise ValueError("texts must hold at least one text that is not blank. Received: none")
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                vocab_size=vocab_size - SENTINEL_COUNT,
                # The default coverage drops the rarest characters: in source code capitals such as Q, which then became
                # unknown in every text.
                required_chars="".join(sorted({c for line in lines for c in line if "!" <= c <= "~"})),
                max_sentence_length=4 * _TRAINING_LINE_CHARACTERS,
                **TRAINER_SETTINGS,
            )
        except RuntimeError as error:
            raise ValueError(f"vocab_size and texts must suit each other. Received: {vocab_size=}; {error}") from error
        return cls(model.getvalue())


def _processor(model_proto: bytes, legacy: bool) -> sentencepiece.SentencePieceProcessor:
    import sentencepiece

    proto = model_proto if legacy else model_proto + NO_PREFIX
    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
        processor.get_piece_size()
    except RuntimeError as error:
        raise ValueError(f"model_proto must be a SentencePiece model. Received: {error}") from error
    return processor


def _check_options(settings: Settings) -> None:
    """Raise `ValueError` for options of the sentencepiece package under which ids change, or change by chance."""
    options = settings.options.get("sp_model_kwargs") or {}
    changed = {key: value for key, value in options.items() if value and key not in ("nbest_size", "alpha")}
    if changed:
        raise ValueError(f"sp_model_kwargs in {CONFIG} must be empty. Received: {options}")


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

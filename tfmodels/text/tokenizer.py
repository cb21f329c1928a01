"""The base class of the tokenizers: the call format, padding, decoding, files and Keras layers."""

from __future__ import annotations

import abc
import base64
import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tfmodels.text.added_tokens import AddedToken, read_new_tokens
from tfmodels.text.arguments import as_id_list, as_id_rows, check_text, check_texts
from tfmodels.text.batch_encoding import RequestedArrays, SourceArguments, as_tensors, label_arrays, source_arrays
from tfmodels.text.cleanup import clean_up_spaces
from tfmodels.text.offsets import Spans
from tfmodels.text.padding import padded_arrays
from tfmodels.text.publishing import push_to_hub
from tfmodels.text.row_lengths import LengthArguments, refuse_unknown_arguments
from tfmodels.text.settings import ADDITIONAL, Settings, Token
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.streaming import stream_texts
from tfmodels.text.template import Template
from tfmodels.text.vocabulary import describe, ids_of_tokens, read_folder, tokens_of_ids, write_folder
from tfmodels.utils.hub import local_folder

if TYPE_CHECKING:
    from tfmodels.text.in_graph import InGraphTokenizer
    from tfmodels.text.layers import DetokenizerLayer, TokenizerLayer


class Tokenizer(abc.ABC):
    """Text to ids and back, with one call format for all families.

    An algorithm supplies `_tokenize`, `_tokenize_with_offsets`, `_decode_ids`, its files and its in-graph module; all
    public methods are here. A family supplies its facts as class variables. Ids are those of transformers' tokenizers.

    Attributes:
        vocab_size: rows an embedding needs: the highest id plus one, special tokens and sentinels included.
        pad_token_id, eos_token_id, unk_token_id: ids of the special tokens.
        bos_token_id: id of the first token of a text, or `None`.
        decoder_start_token_id: the id a decoder starts from.
        all_special_ids: every special id, ascending.
    """

    file_names: ClassVar[tuple[str, ...]]
    # A file that is enough where the above are missing, and files that are read where they exist.
    substitute_file_name: ClassVar[str | None] = None
    further_file_names: ClassVar[tuple[str, ...]] = ()
    # Whether the encoder takes a second mask; the token at position 0 is then global by default.
    marks_global_token: ClassVar[bool] = False
    # Whether an eos follows a text that ends in one already.
    repeats_final_eos: ClassVar[bool]
    # `<s> A </s></s> B </s>` has one, `A </s> B </s>` none.
    pair_separators: ClassVar[int]
    # Which of transformers' two rules halves an odd room, see `kept_of_longest`.
    favours_first_text: ClassVar[bool] = True
    # The special token from which a decoder starts.
    decoder_start_role: ClassVar[str]

    vocab_size: int
    pad_token_id: int
    eos_token_id: int
    bos_token_id: int | None
    unk_token_id: int
    decoder_start_token_id: int
    special_tokens: dict[str, int]
    added_tokens: dict[int, AddedToken]
    model_max_length: int | None
    cleans_up_spaces: bool

    _in_graph: InGraphTokenizer | None = None
    _known: dict[str, int] | None = None
    push_to_hub = push_to_hub

    @property
    def all_special_ids(self) -> list[int]:
        return sorted(self.special_tokens.values())

    @property
    def _unknown_id(self) -> int:
        """The id of a token that is not in the vocabulary."""
        return self.unk_token_id

    @property
    def skipped_ids(self) -> list[int]:
        """Ids that decoding leaves out with `skip_special_tokens`."""
        return self.all_special_ids

    def _read_settings(self, settings: Settings) -> None:
        self.model_max_length = settings.model_max_length
        self._splits_special_tokens = settings.flag("split_special_tokens", False)
        self.cleans_up_spaces = settings.flag("clean_up_tokenization_spaces", False)

    def _take_ids(self, roles: Mapping[str, int], first: int | None, last: int) -> None:
        """Set the ids of the special tokens, by role such as `eos_token`, and of the first and last token of a row."""
        self._first_id, self._last_id = first, last
        self.pad_token_id, self.eos_token_id = roles["pad_token"], roles["eos_token"]
        self.unk_token_id = roles["unk_token"]
        self.decoder_start_token_id = roles[self.decoder_start_role]

    @property
    def template(self) -> Template:
        """The special tokens around a text or a pair."""
        rules = (self.repeats_final_eos, self.pair_separators, self.favours_first_text)
        return Template(self._first_id, self._last_id, *rules)

    @property
    def spec(self) -> TokenizerSpec:
        """The tokenizer's facts, as they are now."""
        return TokenizerSpec(**{field.name: getattr(self, field.name) for field in dataclasses.fields(TokenizerSpec)})

    @abc.abstractmethod
    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, no special tokens around them."""

    @abc.abstractmethod
    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        """Ids of every text, each with its characters (start, end), without the white space around them."""

    def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, special tokens added, nothing truncated."""
        return [self.template.row(ids).ids for ids in self._tokenize(texts)]

    @abc.abstractmethod
    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Text of ids that are all inside the vocabulary."""

    @abc.abstractmethod
    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, added tokens included."""

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """The tokens of one text as they stand in the vocabulary, no special tokens around it."""

    @abc.abstractmethod
    def _add(self, tokens: Sequence[Token], special: bool) -> int:
        """Add tokens and return the number that counts as new in transformers."""

    @abc.abstractmethod
    def _build_in_graph(self) -> InGraphTokenizer: ...

    @abc.abstractmethod
    def to_files(self) -> dict[str, bytes]:
        """The content of every file that `save_pretrained` writes, by file name."""

    @classmethod
    @abc.abstractmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The tokenizer that `to_files` described.

        Raises:
            ValueError: content that is not such a vocabulary.
        """

    @classmethod
    @abc.abstractmethod
    def train_from_iterator(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learn a vocabulary of at most `vocab_size` rows from texts. The same texts give the same vocabulary."""

    def __len__(self) -> int:
        """The number of tokens, added ones included: the argument of a model's `resize_token_embeddings`."""
        return len(self._known_tokens())

    def __repr__(self) -> str:
        return describe(type(self).__name__, self.spec, self._known_tokens())

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add tokens that are taken out of a text whole, before it is cut into pieces; they get the next ids.

        Give the model as many rows: `model.resize_token_embeddings(len(tokenizer))`. Earlier layers keep their tokens.

        Args:
            new_tokens: a str, a `tokenizers.AddedToken` with flags, or a sequence of them.
            special_tokens: whether decoding leaves them out.

        Returns:
            the number of added tokens, as transformers counts them.

        Raises:
            ValueError: an empty token or another type.

        Example:
            >>> from tfmodels import LEDTokenizer
            >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
            >>> tokenizer.add_tokens(["<doc-sep>"]), tokenizer.tokenize("a<doc-sep>a")
            (1, ['a', '<doc-sep>', 'a'])
        """
        count = self._add(read_new_tokens(new_tokens, "new_tokens"), special_tokens)
        self._in_graph = self._known = None
        return count

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Add special tokens without a role: `add_special_tokens({"additional_special_tokens": ["<doc-sep>"]})`.

        Earlier special tokens stay special, as with transformers' `replace_additional_special_tokens=False`.

        Raises:
            ValueError: another key, as a model was trained with the tokens of the other roles.
        """
        if not isinstance(special_tokens_dict, Mapping) or set(special_tokens_dict) != {ADDITIONAL}:
            raise ValueError(f"special_tokens_dict must hold {ADDITIONAL} alone. Received: {special_tokens_dict!r}")
        return self.add_tokens(special_tokens_dict[ADDITIONAL], special_tokens=True)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """The id of a token, or the ids of several; tokens outside the vocabulary have the unknown token's id."""
        return ids_of_tokens(self._known_tokens(), tokens, self._unknown_id)

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or the tokens of one row of ids.

        Raises:
            ValueError: an id without a token.
        """
        return tokens_of_ids(self._known_tokens(), ids, self.all_special_ids if skip_special_tokens else ())

    def _known_tokens(self) -> dict[str, int]:
        if self._known is None:
            self._known = self.get_vocab()
        return self._known

    def pad(
        self,
        rows: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
    ) -> dict[str, Any]:
        """Pad rows of ids of several lengths on the right, and return arrays.

        Args:
            rows: rows by name, or one mapping for each row, with `input_ids` and possibly masks and `labels`.
            padding: True or "longest" for the longest row, "max_length" for `max_length`.
            max_length: the length of every row.
            pad_to_multiple_of: a divisor of every row's length.
            return_tensors: as in `__call__`.

        Returns:
            arrays int32 by name, `attention_mask` (B, L) among them: 0 on padding, where `labels` are -100.

        Raises:
            ValueError: other names, rows that are longer, or masks of other lengths than their ids.
        """
        arrays = padded_arrays(rows, self.pad_token_id, padding, max_length, pad_to_multiple_of)
        return as_tensors(arrays, return_tensors)

    def get_config(self) -> dict[str, Any]:
        """The content of `to_files` in base64, for Keras files."""
        return {"files": {name: base64.b64encode(content).decode() for name, content in self.to_files().items()}}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The tokenizer that `get_config` described."""
        return cls.from_files({name: base64.b64decode(content) for name, content in config["files"].items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_files, (self.to_files(),)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str], revision: str | None = None) -> Self:
        """Read the vocabulary from a folder or from the Hugging Face hub (extra `hub`).

        Raises:
            FileNotFoundError: a missing file of the vocabulary.
            ValueError: a file that does not hold such a vocabulary.
        """
        folder = local_folder(name_or_folder, revision)
        names = (cls.file_names, cls.further_file_names, cls.substitute_file_name)
        return cls.from_files(read_folder(folder, cls.__name__, *names))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer into `folder`, created when missing, in place of an earlier one, each file whole."""
        write_folder(Path(folder), self.to_files(), (*self.file_names, *self.further_file_names))

    def __call__(
        self,
        texts: str | Sequence[str],
        text_target: str | Sequence[str] | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        *,
        text_pair: str | Sequence[str] | None = None,
        lengths: Sequence[int] | None = None,
        global_attention: str | None = None,
        global_spans: Sequence[Sequence[str | tuple[int, int]]] | None = None,
        return_offsets: bool = False,
        return_special_tokens_mask: bool = False,
        return_segment_mask: bool = False,
        padding: bool | str | None = None,
        truncation: bool | str | None = None,
        return_tensors: str | None = None,
        **unknown: Any,
    ) -> dict[str, Any]:
        """Turn texts, or pairs of them, and targets into padded int32 arrays.

        Args:
            texts: one text or a sequence of B texts.
            text_target, max_target_length: as many targets as texts, and the length of their rows; adds `labels`.
            max_length: the length L of every row, cut or padded to it; special tokens are never cut. `None` pads to
                the longest row. Of a pair the second text is cut first; the first loses only what is more than half.
            text_pair: as many second texts as texts: each row is a pair, such as a question and its document.
            lengths: instead of `max_length`: L is the smallest of these that holds the longest row, or the largest.
            global_attention: global tokens: "first" (position 0), "question" (also a pair's first text) or "none".
            global_spans: further global tokens: for each row a list of strings, which count wherever they occur, and of
                (start, end) in characters, all of the text, or of a pair's second text.
            return_offsets: adds `offsets`: characters (start, end) of each token in its text; see `answer_positions`.
            return_special_tokens_mask: adds `special_tokens_mask`, 1 on special tokens around texts and on padding.
            return_segment_mask: adds `segment_mask`, 1 on the tokens of the second text of each pair.
            padding: "max_length", the default where a length is given; True or "longest" for the longest row.
            truncation: "longest_first" (or True), "only_first", "only_second"; False refuses rows that are too long.
            return_tensors: "np" for arrays, the default, or "tf" for TensorFlow's tensors.

        Returns:
            arrays int32 (B, L) by name: `input_ids`, `attention_mask`, `global_attention_mask` if the model has global
            tokens, `labels` (B, T) of targets, -100 on padding, and the requested arrays, `offsets` (B, L, 2).

        Raises:
            ValueError: wrong types or numbers of texts, a length below 2 (with pairs 4 or 6), arguments in conflict.

        Example:
            >>> from tfmodels import LEDTokenizer
            >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
            >>> tokenizer(["a document", "long"], max_length=8)["input_ids"].shape
            (2, 8)
        """
        refuse_unknown_arguments(unknown)
        sources = check_texts(texts, "texts")
        target_lengths = LengthArguments(max_target_length, None, padding, truncation, "max_target_length")
        labels = label_arrays(self.spec, self._tokenize, sources, text_target, target_lengths)
        requested = RequestedArrays(return_offsets, return_special_tokens_mask, return_segment_mask)
        row_lengths = LengthArguments(max_length, lengths, padding, truncation)
        arguments = SourceArguments(text_pair, global_attention, global_spans, row_lengths, requested)
        arrays = source_arrays(self.spec, self._tokenize, self._tokenize_with_offsets, sources, arguments)
        return as_tensors(arrays | labels, return_tensors)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Ids of one text without truncation, with special tokens around it or without."""
        texts = [check_text(text, "text")]
        return (self._encode_texts(texts) if add_special_tokens else self._tokenize(texts))[0]

    def decode(
        self, ids: Any, skip_special_tokens: bool = True, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """Return the text of one row of ids (list, array or tensor). Ids outside the vocabulary are ignored.

        Args:
            ids: int (T,).
            skip_special_tokens: leave the special tokens out.
            clean_up_tokenization_spaces: take out spaces before punctuation and English contractions; `None` follows
                the folder's tokenizer_config.json, whose default is False.
        """
        return self._decode_row(as_id_list(ids, "ids"), skip_special_tokens, clean_up_tokenization_spaces)

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = True, clean_up_tokenization_spaces: bool | None = None
    ) -> list[str]:
        """Return the texts of a batch of ids (B, T): nested lists, an array, a tensor or a ragged tensor.

        Ids outside the vocabulary, such as the -100 of padded labels, are ignored. See `decode`.
        """
        rows = as_id_rows(sequences, "sequences")
        return [self._decode_row(row, skip_special_tokens, clean_up_tokenization_spaces) for row in rows]

    def _decode_row(self, ids: list[int], skip_special_tokens: bool, cleans_up: bool | None) -> str:
        text = self._decode_ids([token for token in ids if 0 <= token < self.vocab_size], skip_special_tokens)
        return clean_up_spaces(text) if (self.cleans_up_spaces if cleans_up is None else cleans_up) else text

    def stream(self, steps: Iterable[Any], skip_special_tokens: bool = True) -> Iterator[str]:
        """Yield a text piece by piece, as its ids come in; together the pieces are the text that `decode` returns.

        Args:
            steps: the ids of one row one after the other, each an integer or an array of one, such as
                `model.generate_stream` yields for one document.
            skip_special_tokens: as in `decode`.

        Raises:
            ValueError: a step of several rows.
        """
        return stream_texts(steps, lambda ids: self._decode_row(ids, skip_special_tokens, False), self.cleans_up_spaces)

    def in_graph(self) -> InGraphTokenizer:
        """Return the same tokenizer in TensorFlow ops, for `tf.data` and SavedModels; built once and kept.

        Returns:
            a `tf.Module` with `encode(string[B]) -> RaggedTensor int32`, `decode(int32[B, T]) -> string[B]` and
            `pad_batch(ragged, max_length) -> dict`; `encode_up_to`, which reads long texts no further than a length
            needs; for pairs `encode_pair`, `pair_counts` and `pad_pair_batch`. A SavedModel tracks its tables.

        Raises:
            ValueError: a vocabulary whose ids would differ from Python's: a SentencePiece model that is not unigram,
                falls back to bytes, or normalizes otherwise than T5's; some flags of added tokens; normalizers.
        """
        if self._in_graph is None:
            self._in_graph = self._build_in_graph()
        return self._in_graph

    def as_layer(
        self, max_length: int, global_attention: str | None = None, return_segment_mask: bool = False
    ) -> TokenizerLayer:
        """Return a Keras layer from string tensors (B,), texts or texts and their pairs, to the dict of `__call__`.

        Args:
            max_length: the length of every row.
            global_attention, return_segment_mask: as in `__call__`.

        Raises:
            ValueError: a length below 2, or global tokens where the tokenizer has none.
        """
        from tfmodels.text.layers import TokenizerLayer

        return TokenizerLayer(self, max_length, global_attention, return_segment_mask)

    def detokenizer_layer(self) -> DetokenizerLayer:
        """Return a Keras layer from int32 ids (B, T) to a string tensor (B,), special tokens skipped."""
        from tfmodels.text.layers import DetokenizerLayer

        return DetokenizerLayer(self)

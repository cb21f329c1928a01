"""What the tokenizers of both families share: the call format, padding, decoding, files and Keras layers."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tfmodels.files import written_whole
from tfmodels.hub import local_folder
from tfmodels.text.arguments import as_id_list, as_id_rows, check_text, check_texts
from tfmodels.text.call import label_array, source_arrays
from tfmodels.text.cleanup import clean_up_spaces
from tfmodels.text.offsets import Spans
from tfmodels.text.rows import Frame

if TYPE_CHECKING:
    from tfmodels.text.in_graph import InGraphTokenizer
    from tfmodels.text.layers import DetokenizerLayer, TokenizerLayer


class Tokenizer(abc.ABC):
    """Text to ids and back, with the call format of both families.

    A family supplies `_tokenize`, `_tokenize_with_offsets`, `_decode_ids`, its files and its in-graph module;
    everything a user calls is here. Ids are those of the reference tokenizers in transformers.

    Attributes:
        vocab_size: Rows an embedding needs: the highest id plus one, special tokens and sentinels included.
        pad_token_id, eos_token_id, unk_token_id: Ids of the special tokens.
        bos_token_id: Id of the first token of a text, `None` when the family has none.
        decoder_start_token_id: The id a decoder starts from.
        all_special_ids: Every special id, ascending.
    """

    file_names: ClassVar[tuple[str, ...]]
    # A file that holds the same, read where those are missing; files that are read where they are there.
    substitute_file_name: ClassVar[str | None] = None
    further_file_names: ClassVar[tuple[str, ...]] = ()
    # LED's encoder takes a second mask; the token at position 0 is global by default.
    marks_global_token: ClassVar[bool]
    # The reference of LED appends an eos whatever the text ends in; that of T5 does not repeat one that is there.
    repeats_final_eos: ClassVar[bool]
    # `<s> A </s></s> B </s>` of LED has one, `A </s> B </s>` of T5 none.
    pair_separators: ClassVar[int]

    vocab_size: int
    pad_token_id: int
    eos_token_id: int
    bos_token_id: int | None
    unk_token_id: int
    decoder_start_token_id: int
    special_tokens: dict[str, int]

    _in_graph: InGraphTokenizer | None = None

    @property
    def all_special_ids(self) -> list[int]:
        return sorted(self.special_tokens.values())

    @property
    def frame(self) -> Frame:
        """The special tokens around a text or a pair."""
        return Frame(self.bos_token_id, self.eos_token_id, self.repeats_final_eos, self.pair_separators)

    @abc.abstractmethod
    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, no special tokens around them."""

    @abc.abstractmethod
    def _tokenize_with_offsets(self, texts: list[str]) -> list[tuple[list[int], Spans]]:
        """The same ids, each with its characters (start, end) in the text, white space around them left out."""

    def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, special tokens added, nothing truncated."""
        return [self.frame.row(ids).ids for ids in self._tokenize(texts)]

    @abc.abstractmethod
    def _decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        """Text of ids that are all inside the vocabulary."""

    @abc.abstractmethod
    def _build_in_graph(self) -> InGraphTokenizer: ...

    @abc.abstractmethod
    def to_files(self) -> dict[str, bytes]:
        """The content of every file that `save_pretrained` writes, by file name."""

    @classmethod
    @abc.abstractmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """The tokenizer that `to_files` described. Raises `ValueError` on content that is not such a vocabulary."""

    @classmethod
    @abc.abstractmethod
    def train_from_iterator(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """Learns a vocabulary of at most `vocab_size` rows from texts. The same texts give the same vocabulary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_files, (self.to_files(),)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str], revision: str | None = None) -> Self:
        """Reads the vocabulary from a folder or from the Hugging Face hub (extra `hub`).

        Raises:
            FileNotFoundError: When a file of the vocabulary is not there.
            ValueError: When a file does not hold a vocabulary of this family.
        """
        folder = local_folder(name_or_folder, revision)
        names = cls.file_names
        missing = [name for name in names if not Path(folder, name).is_file()]
        if missing and cls.substitute_file_name and Path(folder, cls.substitute_file_name).is_file():
            names, missing = (cls.substitute_file_name,), []
        if missing:
            raise FileNotFoundError(
                f"folder must hold {' and '.join(cls.file_names)} for {cls.__name__}. "
                f"Received: folder={str(folder)!r}, without {' and '.join(missing)}"
            )
        names += tuple(name for name in cls.further_file_names if Path(folder, name).is_file())
        return cls.from_files({name: Path(folder, name).read_bytes() for name in names})

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes the vocabulary into `folder`, created when missing. No reader ever sees half a file."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.to_files().items():
            with written_whole(Path(folder, name)) as partial:
                partial.write_bytes(content)

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
    ) -> dict[str, np.ndarray]:
        """Turns texts, or pairs of them, and targets into padded int32 arrays.

        Args:
            texts: One text or a sequence of B texts.
            text_target: As many targets as texts; adds `labels`.
            max_length: The length L of every row: longer rows are truncated and keep their special tokens, shorter
                ones are padded. `None` pads to the longest row and truncates nothing. Of a pair the second text is
                cut first, and the first one loses only what is more than half.
            max_target_length: The same for `labels`.
            text_pair: As many second texts as texts: each row is a pair, such as a question and its document.
            lengths: Instead of `max_length`: L is the smallest of these that holds the longest row, or the largest.
            global_attention: LED's global tokens: "first" (the default) marks position 0, "question" that and every
                token of the first text of a pair, "none" none.
            global_spans: LED's further global tokens: for each row a list of strings, which count at every place, and
                of (start, end) in characters, all of the text, or of a pair's second text.
            return_offsets: Adds `offsets`, the characters (start, end) of each token in its own text; (0, 0) for
                special tokens and padding. See `answer_positions`.
            return_special_tokens_mask: Adds `special_tokens_mask`, 1 on special tokens around texts and on padding.
            return_segment_mask: Adds `segment_mask`, 1 on the tokens of the second text of each pair.

        Returns:
            Arrays int32 by name: `input_ids` (B, L), `attention_mask` (B, L), for LED `global_attention_mask` (B, L),
            with targets `labels` (B, T), -100 on padding; and what was asked for, (B, L), `offsets` (B, L, 2).

        Raises:
            ValueError: On wrong types, an empty list, a length below 2 (with pairs 4 or 6), other numbers of targets
                or second texts than of texts, or arguments of LED's global attention for LongT5.

        Example:
            >>> from tfmodels.text import LEDTokenizer
            >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
            >>> tokenizer(["a document", "long"], max_length=8)["input_ids"].shape
            (2, 8)
        """
        sources = check_texts(texts, "texts")
        labels = label_array(self, text_target, max_target_length, sources)
        asked = (("offsets", return_offsets), ("special_tokens_mask", return_special_tokens_mask))
        returns = [name for name, is_asked in (*asked, ("segment_mask", return_segment_mask)) if is_asked]
        global_tokens = (global_attention, global_spans)
        return source_arrays(self, sources, text_pair, (max_length, lengths), global_tokens, returns) | labels

    def encode(self, text: str) -> list[int]:
        """Ids of one text with special tokens, without truncation."""
        return self._encode_texts([check_text(text, "text")])[0]

    def decode(self, ids: Any, skip_special_tokens: bool = True, clean_up_tokenization_spaces: bool = False) -> str:
        """Text of one row of ids (list, array or tensor). Ids outside the vocabulary, such as -100, are ignored.

        Args:
            ids: int (T,).
            skip_special_tokens: Leave the special tokens out.
            clean_up_tokenization_spaces: Take out spaces before punctuation and English contractions.
        """
        text = self._decode_row(as_id_list(ids, "ids"), skip_special_tokens)
        return clean_up_spaces(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self, sequences: Any, skip_special_tokens: bool = True, clean_up_tokenization_spaces: bool = False
    ) -> list[str]:
        """Texts of a batch of ids (B, T): nested lists, an array, a tensor or a ragged tensor.

        Ids outside the vocabulary, such as the -100 of padded labels, are ignored. See `decode`.
        """
        texts = [self._decode_row(row, skip_special_tokens) for row in as_id_rows(sequences, "sequences")]
        return list(map(clean_up_spaces, texts)) if clean_up_tokenization_spaces else texts

    def _decode_row(self, ids: list[int], skip_special_tokens: bool) -> str:
        return self._decode_ids([token for token in ids if 0 <= token < self.vocab_size], skip_special_tokens)

    def stream(self, steps: Iterable[Any], skip_special_tokens: bool = True) -> Iterator[str]:
        """Text as it is produced: the pieces together are what `decode` says of all ids.

        Args:
            steps: The ids of one row one after the other, each an integer or an array of one, such as
                `model.generate_stream` yields for one document.
            skip_special_tokens: As in `decode`.

        Raises:
            ValueError: On a step of several rows.
        """
        ids, said = list[int](), ""
        for step in steps:
            found = np.asarray(step).reshape(-1)
            if found.size != 1:
                raise ValueError(f"steps must hold one id each, of one document. Received: {found.size} ids")
            ids.append(int(found[0]))
            # A character of several bytes ends in a replacement mark until its last byte is there.
            text = self._decode_row(ids, skip_special_tokens).rstrip("\ufffd")
            if len(text) > len(said) and text.startswith(said):
                yield text[len(said) :]
                said = text
        rest = self._decode_row(ids, skip_special_tokens)[len(said) :]
        if rest:
            yield rest

    def in_graph(self) -> InGraphTokenizer:
        """The same tokenizer in TensorFlow ops, for `tf.data` and SavedModels; built once and kept.

        Returns:
            A `tf.Module` with `encode(string[B]) -> RaggedTensor int32`, `decode(int32[B, T]) -> string[B]` and
            `pad_batch(ragged, max_length) -> dict`; `encode_up_to`, which reads long texts no further than a length
            needs; for pairs `encode_pair`, `pair_counts` and `pad_pair_batch`. Its tables are attributes, so a
            SavedModel tracks them.

        Raises:
            ValueError: For a SentencePiece model that would have other ids there than in Python: one that is not
                unigram, falls back to bytes, or normalizes otherwise than T5's.
        """
        if self._in_graph is None:
            self._in_graph = self._build_in_graph()
        return self._in_graph

    def as_layer(
        self, max_length: int, global_attention: str | None = None, return_segment_mask: bool = False
    ) -> TokenizerLayer:
        """A Keras layer from string tensors (B,), texts or texts and their pairs, to the dict of this call.

        Args:
            max_length: The length of every row.
            global_attention: As in the call.
            return_segment_mask: As in the call.

        Raises:
            ValueError: On a length below 2, or a global attention that the family has not.
        """
        from tfmodels.text.layers import TokenizerLayer

        return TokenizerLayer(self, max_length, global_attention, return_segment_mask)

    def detokenizer_layer(self) -> DetokenizerLayer:
        """A Keras layer from int32 ids (B, T) to a string tensor (B,), special tokens skipped."""
        from tfmodels.text.layers import DetokenizerLayer

        return DetokenizerLayer(self)

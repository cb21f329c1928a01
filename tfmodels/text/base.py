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
from tfmodels.labels import IGNORED_LABEL
from tfmodels.text.arguments import as_id_list, as_id_rows, check_length, check_text, check_texts

if TYPE_CHECKING:
    from tfmodels.text.in_graph import InGraphTokenizer
    from tfmodels.text.layers import DetokenizerLayer, TokenizerLayer


class Tokenizer(abc.ABC):
    """Text to ids and back, with the call format of both families.

    A family supplies `_encode_texts`, `_decode_ids`, its files and its in-graph module; everything a user calls is
    here. Ids are those of the reference tokenizers in transformers.

    Attributes:
        vocab_size: Rows an embedding needs: the highest id plus one, special tokens and sentinels included.
        pad_token_id, eos_token_id, unk_token_id: Ids of the special tokens.
        bos_token_id: Id of the first token of a text, `None` when the family has none.
        decoder_start_token_id: The id a decoder starts from.
        all_special_ids: Every special id, ascending.
    """

    file_names: ClassVar[tuple[str, ...]]
    # LED's encoder takes a second mask; the token at position 0 is global by default.
    marks_global_token: ClassVar[bool]
    # The reference of LED appends an eos whatever the text ends in; that of T5 does not repeat one that is there.
    repeats_final_eos: ClassVar[bool]

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

    @abc.abstractmethod
    def _encode_texts(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, special tokens added, nothing truncated."""

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
        missing = [name for name in cls.file_names if not Path(folder, name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"folder must hold {' and '.join(cls.file_names)} for {cls.__name__}. "
                f"Received: folder={str(folder)!r}, without {' and '.join(missing)}"
            )
        return cls.from_files({name: Path(folder, name).read_bytes() for name in cls.file_names})

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
    ) -> dict[str, np.ndarray]:
        """Turns texts (and targets) into padded int32 arrays.

        Args:
            texts: One text or a sequence of B texts.
            text_target: As many targets as texts; adds `labels`.
            max_length: The length L of every row: longer rows are truncated and keep their final eos, shorter ones
                are padded. `None` pads to the longest row and truncates nothing.
            max_target_length: The same for `labels`.

        Returns:
            A dict of int32 arrays: `input_ids` (B, L), `attention_mask` (B, L), for LED `global_attention_mask`
            (B, L) with position 0 marked, and with targets `labels` (B, T), -100 on padding.

        Raises:
            ValueError: On wrong types, an empty list, a length below 2, or other numbers of targets than of texts.

        Example:
            >>> from tfmodels.text import LEDTokenizer
            >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
            >>> tokenizer(["a document", "long"], max_length=8)["input_ids"].shape
            (2, 8)
        """
        sources = check_texts(texts, "texts")
        max_length = None if max_length is None else check_length(max_length, "max_length")
        if text_target is None and max_target_length is not None:
            raise ValueError(f"max_target_length needs text_target. Received: max_target_length={max_target_length}")
        max_target_length = None if max_target_length is None else check_length(max_target_length, "max_target_length")

        input_ids, attention_mask = self._encode_and_pad(sources, max_length, self.pad_token_id)
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self.marks_global_token:
            batch["global_attention_mask"] = np.zeros_like(input_ids)
            batch["global_attention_mask"][:, 0] = 1
        if text_target is not None:
            targets = check_texts(text_target, "text_target")
            if len(targets) != len(sources):
                raise ValueError(
                    "text_target must hold as many texts as texts. "
                    f"Received: {len(targets)} targets for {len(sources)} texts"
                )
            batch["labels"], _ = self._encode_and_pad(targets, max_target_length, IGNORED_LABEL)
        return batch

    def _encode_and_pad(self, texts: list[str], max_length: int | None, fill: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self._encode_texts(texts)
        if max_length is not None:
            rows = [self._truncate(row, max_length) for row in rows]
        width = max_length or max(map(len, rows))
        ids: np.ndarray = np.full((len(rows), width), fill, dtype=np.int32)
        mask: np.ndarray = np.zeros((len(rows), width), dtype=np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask

    def _truncate(self, row: list[int], max_length: int) -> list[int]:
        if len(row) <= max_length:
            return row
        kept = row[: max_length - 1]
        if kept[-1] == self.eos_token_id and not self.repeats_final_eos:
            return kept
        return [*kept, self.eos_token_id]

    def encode(self, text: str) -> list[int]:
        """Ids of one text with special tokens, without truncation."""
        return self._encode_texts([check_text(text, "text")])[0]

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        """Text of one row of ids (list, array or tensor). Ids outside the vocabulary, such as -100, are ignored."""
        return self._decode_row(as_id_list(ids, "ids"), skip_special_tokens)

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = True) -> list[str]:
        """Texts of a batch of ids (B, T): nested lists, an array, a tensor or a ragged tensor.

        Ids outside the vocabulary, such as the -100 of padded labels, are ignored.
        """
        return [self._decode_row(row, skip_special_tokens) for row in as_id_rows(sequences, "sequences")]

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
            `pad_batch(ragged, max_length) -> dict`. Its tables are attributes, so a SavedModel tracks them.
        """
        if self._in_graph is None:
            self._in_graph = self._build_in_graph()
        return self._in_graph

    def as_layer(self, max_length: int) -> TokenizerLayer:
        """A Keras layer from a string tensor (B,) to the dict of this call, every row of length `max_length`."""
        from tfmodels.text.layers import TokenizerLayer

        return TokenizerLayer(self, check_length(max_length, "max_length"))

    def detokenizer_layer(self) -> DetokenizerLayer:
        """A Keras layer from int32 ids (B, T) to a string tensor (B,), special tokens skipped."""
        from tfmodels.text.layers import DetokenizerLayer

        return DetokenizerLayer(self)

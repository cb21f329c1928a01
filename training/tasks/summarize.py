"""Documents to summaries."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from tfmodels.utils.checks import check_at_least
from tfmodels.utils.labels import IGNORED_LABEL
from training.tasks.base import Columns, EncodedColumn


@dataclass(frozen=True)
class Summarize:
    """Write a summary of a document.

    Args:
        source_length: the longest source; longer documents are cut to it.
        target_length: the length of labels; longer summaries are cut to it.

    Raises:
        ValueError: a length below 2, which has no room for a token beside the end.

    >>> Summarize(source_length=4096, target_length=512).fields
    ('document', 'summary')
    """

    source_length: int
    target_length: int

    fields: ClassVar[tuple[str, ...]] = ("document", "summary")
    columns: ClassVar[tuple[str, ...]] = ("source", "target")
    length_column: ClassVar[str] = "source"
    label_column: ClassVar[str] = "target"

    def __post_init__(self) -> None:
        check_at_least("source_length", self.source_length, 2)
        check_at_least("target_length", self.target_length, 2)

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def dtypes(self, tokenizer: Any) -> dict[str, str]:
        return dict.fromkeys(self.columns, id_dtype(tokenizer.vocab_size))

    def facts(self, tokenizer: Any) -> dict[str, Any]:
        return {
            "pad_token_id": int(tokenizer.pad_token_id),
            "marks_global_token": bool(tokenizer.marks_global_token),
        }

    def encode(self, rows: Sequence[tuple[str, ...]], tokenizer: Any) -> dict[str, EncodedColumn]:
        """Ids of documents and summaries, as the tokenizer's call cuts them; the end token is never cut.

        >>> from tfmodels import LEDTokenizer
        >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
        >>> source = Summarize(4, 4).encode([("a long document", "long")], tokenizer)["source"]
        >>> [len(ids) for ids in source.values], source.true_sizes.tolist()
        ([4], [17])
        """
        lengths = (self.source_length, self.target_length)
        return {
            column: _encoded([row[index] for row in rows], tokenizer, lengths[index])
            for index, column in enumerate(self.columns)
        }

    def batch(
        self, store: Columns, rows: Sequence[int] | np.ndarray, length: int, fill_to: int | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays that the tokenizer's call returns for the same rows.

        Args:
            store: the tokens.
            rows: indices of one row or more.
            length: the source length; it holds each of the rows.
            fill_to: rows of the batch: it is filled up with the first row, whose labels are all -100 there.

        Returns:
            int32 `input_ids`, `attention_mask` and, if the tokenizer marks a global token, `global_attention_mask`
            (B, length), and `labels` (B, target_length), -100 on padding.

        Raises:
            ValueError: no rows, more than `fill_to`, or a row that is longer than `length`.
        """
        count = len(rows)
        size = count if fill_to is None else fill_to
        if not 0 < count <= size:
            raise ValueError(f"rows must be at least 1 and at most fill_to={fill_to}. Received: {count} rows")
        ids: np.ndarray = np.full((size, length), store.facts["pad_token_id"], "int32")  # (B, L)
        mask: np.ndarray = np.zeros((size, length), "int32")  # (B, L)
        labels: np.ndarray = np.full((size, self.target_length), IGNORED_LABEL, "int32")  # (B, T)
        for place, row in enumerate(rows):
            source, target = store.values("source", int(row)), store.values("target", int(row))
            if len(source) > length:
                raise ValueError(f"length must hold all rows. Received: length={length}, a row of {len(source)} tokens")
            ids[place, : len(source)] = source
            mask[place, : len(source)] = 1
            labels[place, : len(target)] = target
        ids[count:], mask[count:] = ids[0], mask[0]
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        if store.facts["marks_global_token"]:
            batch["global_attention_mask"] = np.zeros_like(mask)
            batch["global_attention_mask"][:, 0] = 1
        return batch


def _encoded(texts: Sequence[str], tokenizer: Any, length: int) -> EncodedColumn:
    dtype = id_dtype(tokenizer.vocab_size)
    template = tokenizer.template
    values, sizes = [], []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False)
        sizes.append(template.count(ids))
        values.append(np.array(template.row(ids, max_length=length).ids, dtype))
    return EncodedColumn(values, np.array(sizes, "int64"))


def id_dtype(vocab_size: int) -> str:
    """The smallest type that holds every id of a vocabulary.

    >>> id_dtype(50_265), id_dtype(250_112)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 2**16 else "uint32"

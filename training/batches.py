"""Batches of a few static shapes, for `model.fit`: every example goes to the smallest source length that holds it."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfmodels.utils.labels import IGNORED_LABEL
from training.examples import Example

# Bounds the memory for the tokenizer's padded arrays, in tokens.
_TOKENIZED_AT_ONCE = 2**20


class SummarizationBatches(keras.utils.PyDataset):
    """Tokenized examples as dict batches whose shapes come from a short list, so that compiled steps trace once each.

    All rows of a batch share one source length S: the smallest of `source_lengths` that holds each of them; longer
    documents are cut to the largest. When a length's examples do not fill its last batch, it is filled up with repeated
    rows whose labels are all -100: the shape stays static, and every example is seen once per epoch.

    A batch of B rows holds int32 arrays `input_ids` and `attention_mask` of shape (B, S), `labels` of shape
    (B, target_length), padded with -100, and `global_attention_mask` (B, S) if the tokenizer makes one. The order of
    rows and of batches is drawn anew for each epoch from `seed` and the epoch's number, so give `shuffle=False` to
    `model.fit`, which would otherwise shuffle the batches once more, so that `num_tokens` counts another batch.

    Args:
        examples: the examples. They are all tokenized here, and kept as ids.
        tokenizer: called as `tokenizer(texts, text_target=..., max_length=..., max_target_length=...)`; returns the
            arrays above with padding on the right.
        batch_size: the rows of every batch. Give this or `batch_tokens`.
        source_lengths: the source lengths, ascending.
        target_length: the length that labels are padded and cut to.
        shuffle: draw a new order for each epoch.
        seed: the seed of that order.
        batch_tokens: the source tokens of a batch, with padding: a batch has `batch_tokens // S` rows, but at least 1.

    Raises:
        ValueError: no examples, an argument out of its range, or other arrays of the tokenizer than above.

    Example, with a tokenizer that makes one id of each character:

    >>> class Characters:
    ...     def __call__(self, texts, text_target, max_length, max_target_length):
    ...         def padded(texts, length, padding):
    ...             rows = [[ord(letter) for letter in text][:length] for text in texts]
    ...             return np.array([row + [padding] * (length - len(row)) for row in rows], "int32")
    ...         ids = padded(texts, max_length, 0)
    ...         labels = padded(text_target, max_target_length, -100)
    ...         return {"input_ids": ids, "attention_mask": (ids != 0).astype("int32"), "labels": labels}
    >>> examples = [Example("one two three", "numbers"), Example("four", "number")]
    >>> batches = SummarizationBatches(examples, Characters(), 1, source_lengths=(8, 16), target_length=8)
    >>> [batch["input_ids"].shape for batch in batches]
    [(1, 8), (1, 16)]
    """

    def __init__(
        self,
        examples: Sequence[Example],
        tokenizer: Any,
        batch_size: int | None = None,
        source_lengths: Sequence[int] = (1024,),
        target_length: int = 128,
        shuffle: bool = False,
        seed: int = 0,
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__()
        _check_sizes(batch_size, batch_tokens)
        _check_lengths(source_lengths, target_length)
        if seed < 0:
            raise ValueError(f"seed must be at least 0. Received: seed={seed}")
        if not examples:
            raise ValueError("examples must hold at least one example. Received: 0 examples")
        self.source_lengths = tuple(source_lengths)
        self.target_length = target_length
        self.shuffle = shuffle
        self.seed = seed
        # One of the two is given; rows of a longer source take more of a batch's tokens.
        self._rows_per_batch = {
            length: batch_size or max(1, (batch_tokens or 0) // length) for length in self.source_lengths
        }
        self._tokens = _TokenizedExamples(examples, tokenizer, self.source_lengths[-1], target_length)
        positions = np.searchsorted(self.source_lengths, self._tokens.source_sizes)
        self._buckets = {
            length: np.flatnonzero(positions == position)
            for position, length in enumerate(self.source_lengths)
            if np.any(positions == position)
        }
        self.set_epoch(0)

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        length, rows = self._batch_plan(index)
        batch = self._tokens.batch(np.resize(rows, self._rows_per_batch[length]), length)
        batch["labels"][len(rows) :] = IGNORED_LABEL
        return batch

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0. `fit` goes on by itself; call this to resume later."""
        self._epoch = epoch
        generator = np.random.default_rng([self.seed, epoch]) if self.shuffle else None
        plan: list[tuple[int, np.ndarray]] = []
        for length, rows in self._buckets.items():
            if generator is not None:
                rows = generator.permutation(rows)
            size = self._rows_per_batch[length]
            plan.extend((length, rows[start : start + size]) for start in range(0, len(rows), size))
        if generator is not None:
            plan = [plan[position] for position in generator.permutation(len(plan))]
        # On TensorFlow, fit() takes the first two batches for the shapes of all: they must show that the length varies.
        second = next((position for position, (length, _) in enumerate(plan) if length != plan[0][0]), None)
        if second is not None:
            plan[1], plan[second] = plan[second], plan[1]
        self._plan = plan

    def on_epoch_end(self) -> None:
        self.set_epoch(self._epoch + 1)

    def num_tokens(self, index: int) -> int:
        """The tokens of a batch of the current epoch, source and target together, without padding and repeated rows."""
        _, rows = self._batch_plan(index)
        return int(self._tokens.source_sizes[rows].sum() + self._tokens.target_sizes[rows].sum())

    def num_labels(self, index: int) -> int:
        """The labels of a batch of the current epoch, ignored ones left out."""
        _, rows = self._batch_plan(index)
        return int(self._tokens.target_sizes[rows].sum())

    def example_indices(self, index: int) -> np.ndarray:
        """The index in `examples` of each row of a batch of the current epoch; -1 for rows that fill up."""
        length, rows = self._batch_plan(index)
        indices: np.ndarray = np.full((self._rows_per_batch[length],), -1, "int64")
        indices[: len(rows)] = rows
        return indices

    def _batch_plan(self, index: int) -> tuple[int, np.ndarray]:
        if not 0 <= index < len(self._plan):
            raise IndexError(f"index must be from 0 to {len(self._plan) - 1}. Received: index={index}")
        return self._plan[index]


class _TokenizedExamples:
    """The unpadded ids of all examples, end to end in flat arrays of the smallest integer type that holds them."""

    def __init__(self, examples: Sequence[Example], tokenizer: Any, max_length: int, max_target_length: int) -> None:
        self._target_length = max_target_length
        self._padding_id = 0
        parts: dict[str, list[np.ndarray]] = {"ids": [], "labels": [], "marks": [], "sizes": [], "target_sizes": []}
        step = max(1, _TOKENIZED_AT_ONCE // max_length)
        for start in range(0, len(examples), step):
            part = examples[start : start + step]
            arrays = tokenizer(
                [example.document for example in part],
                text_target=[example.summary for example in part],
                max_length=max_length,
                max_target_length=max_target_length,
            )
            ids, mask = np.asarray(arrays["input_ids"]), np.asarray(arrays["attention_mask"]) != 0
            labels = np.asarray(arrays["labels"])
            _check_tokenized(ids, mask, labels, (len(part), max_length), (len(part), max_target_length))
            is_target = labels != IGNORED_LABEL
            # Selecting by a mask copies, so the padded arrays are freed part by part.
            parts["ids"].append(_compact(ids[mask]))
            parts["labels"].append(_compact(labels[is_target]))
            parts["sizes"].append(mask.sum(axis=1))
            parts["target_sizes"].append(is_target.sum(axis=1))
            if "global_attention_mask" in arrays:
                parts["marks"].append(_compact(np.asarray(arrays["global_attention_mask"])[mask]))
            if not mask.all():
                self._padding_id = int(ids[~mask][0])
        self.source_sizes = np.concatenate(parts["sizes"])
        self.target_sizes = np.concatenate(parts["target_sizes"])
        self._source_starts = np.concatenate([[0], np.cumsum(self.source_sizes)])
        self._target_starts = np.concatenate([[0], np.cumsum(self.target_sizes)])
        # Parts of different types are joined in the wider one.
        self._source = np.concatenate(parts["ids"])
        self._labels = np.concatenate(parts["labels"])
        self._global_marks = np.concatenate(parts["marks"]) if parts["marks"] else None

    def batch(self, rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """The padded arrays of some examples; `length` is the source length."""
        batch: dict[str, np.ndarray] = {
            "input_ids": np.full((len(rows), length), self._padding_id, "int32"),
            "attention_mask": np.zeros((len(rows), length), "int32"),
            "labels": np.full((len(rows), self._target_length), IGNORED_LABEL, "int32"),
        }
        if self._global_marks is not None:
            batch["global_attention_mask"] = np.zeros((len(rows), length), "int32")
        for position, row in enumerate(rows):
            source = slice(self._source_starts[row], self._source_starts[row + 1])
            target = slice(self._target_starts[row], self._target_starts[row + 1])
            batch["input_ids"][position, : self.source_sizes[row]] = self._source[source]
            batch["attention_mask"][position, : self.source_sizes[row]] = 1
            batch["labels"][position, : self.target_sizes[row]] = self._labels[target]
            if self._global_marks is not None:
                batch["global_attention_mask"][position, : self.source_sizes[row]] = self._global_marks[source]
        return batch


def _compact(ids: np.ndarray) -> np.ndarray:
    return ids.astype(np.min_scalar_type(int(ids.max(initial=0))))


def _check_sizes(batch_size: int | None, batch_tokens: int | None) -> None:
    if (batch_size is None) == (batch_tokens is None):
        raise ValueError(
            f"Exactly one of batch_size and batch_tokens must be given. "
            f"Received: batch_size={batch_size}, batch_tokens={batch_tokens}"
        )
    for name, value in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {name}={value}")


def _check_lengths(source_lengths: Sequence[int], target_length: int) -> None:
    lengths = list(source_lengths)
    is_ascending = all(first < second for first, second in itertools.pairwise(lengths))
    if not lengths or lengths[0] < 1 or not is_ascending:
        raise ValueError(
            f"source_lengths must be one or more positive lengths in ascending order. "
            f"Received: source_lengths={tuple(source_lengths)}"
        )
    if target_length < 1:
        raise ValueError(f"target_length must be at least 1. Received: target_length={target_length}")


def _check_tokenized(
    ids: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    source_shape: tuple[int, int],
    target_shape: tuple[int, int],
) -> None:
    expected = (source_shape, source_shape, target_shape)
    received = (ids.shape, mask.shape, labels.shape)
    if received != expected:
        raise ValueError(
            f"tokenizer must return input_ids, attention_mask and labels of shapes {expected}. Received: {received}"
        )
    for name, used in (("attention_mask", mask), ("labels", labels != IGNORED_LABEL)):
        if np.any(used[:, 1:] & ~used[:, :-1]):
            raise ValueError(f"tokenizer must pad on the right. Received: {name} that go on after padding")
    if not mask.any(axis=1).all():
        raise ValueError("tokenizer must return at least one id for each document. Received: a row without any")
    lowest = min(ids.min(), labels[labels != IGNORED_LABEL].min(initial=0))
    if lowest < 0:
        raise ValueError(f"tokenizer must return ids of 0 and more. Received: {lowest}")

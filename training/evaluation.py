"""The loss and the summaries of a model on held-out documents."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfmodels.backend.compile import compiled
from training.batches import SummarizationBatches


class ValidationLoss:
    """Mean cross-entropy per target token over held-out batches.

    A graph of its own, because `model.evaluate` inside `fit` would reset the training metrics.
    """

    def __init__(self, model: Any, batches: SummarizationBatches, jit_compile: bool) -> None:
        self._batches = batches
        self._loss = compiled(lambda batch: model(batch, training=False)["loss"], model, jit_compile)

    def __call__(self) -> float:
        """Run over all batches."""
        total, count = 0.0, 0
        for index in range(len(self._batches)):
            batch = self._batches[index]
            tokens = int((batch["labels"] >= 0).sum())
            tensors = {name: keras.ops.convert_to_tensor(value) for name, value in batch.items()}
            total += float(self._loss(tensors)) * tokens
            count += tokens
        return total / max(count, 1)


def summarize(
    model: Any,
    tokenizer: Any,
    documents: Sequence[str],
    lengths: Sequence[int],
    batch_size: int = 16,
    jit_compile: bool = False,
    **settings: Any,
) -> list[str]:
    """Summarize documents, in their order.

    Args:
        model, tokenizer: the model and its tokenizer.
        documents: the texts.
        lengths: source lengths in tokens; each document is padded to the smallest that holds it, or cut to the longest.
        batch_size: documents at a time; the last batch has as many rows, so that shapes stay few.
        jit_compile: generate under XLA.
        **settings: settings of generation, see `GenerationConfig`.
    """
    lengths = sorted(lengths)
    counts = [len(tokenizer.encode(document)) for document in documents]
    buckets = np.minimum(np.searchsorted(lengths, counts), len(lengths) - 1)
    summaries = [""] * len(documents)
    for bucket, length in enumerate(lengths):
        rows = np.flatnonzero(buckets == bucket)
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            # The last batch is filled up with its last row.
            filled = np.pad(chosen, (0, batch_size - len(chosen)), mode="edge")
            inputs = tokenizer([documents[row] for row in filled], max_length=length)
            texts = tokenizer.batch_decode(model.generate(**inputs, jit_compile=jit_compile, **settings))
            for row, text in zip(chosen, texts[: len(chosen)], strict=True):
                summaries[row] = text
    return summaries

"""The loss and the texts of a model on held-out rows, in batches bounded by tokens as in training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfmodels.backend.compile import compiled
from tfmodels.utils.labels import IGNORED_LABEL
from training.data.plan import Batch, Plan


class HeldOut:
    """Some rows of a store, as batches.

    Args:
        model, task, store: the model, and where its rows come from.
        rows: the rows, by their numbers in the store.
        lengths: source lengths, ascending.
        batch_tokens: source tokens of a batch, padding included.
        jit_compile: run under XLA.
        poll: called before each batch; what it raises ends the evaluation.

    Raises:
        ValueError: no rows.
    """

    def __init__(
        self,
        model: Any,
        task: Any,
        store: Any,
        rows: Sequence[int] | np.ndarray,
        lengths: Sequence[int],
        batch_tokens: int,
        jit_compile: bool,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        self.rows = np.asarray(rows)
        self.store = store
        self._model = model
        self._task = task
        self._under_xla = jit_compile
        self._poll = poll
        sizes = np.asarray(store.sizes(task.length_column))[self.rows]
        plan = Plan(sizes, lengths, batch_tokens, seed=None)
        batches = [plan.batch(number) for number in range(len(plan))]
        # The first batch of a length is full, or holds all rows there are: few of them do not fill a whole batch.
        most: dict[int, int] = {}
        for batch in batches:
            most.setdefault(batch.length, len(batch.rows))
        self._batches = [Batch(batch.length, batch.rows, most[batch.length]) for batch in batches]
        self._loss = compiled(lambda inputs: model(inputs, training=False)["loss"], model, jit_compile)

    def loss(self) -> float:
        """Mean cross-entropy per label.

        A program of its own, because `model.evaluate` inside `fit` would reset the metrics of training.
        """
        total, count = 0.0, 0
        for batch in self._batches:
            self._poll()
            inputs = self._inputs(batch)
            labels = int((inputs["labels"] != IGNORED_LABEL).sum())
            tensors = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
            total += float(self._loss(tensors)) * labels
            count += labels
        return total / max(count, 1)

    def texts(self, tokenizer: Any, **settings: Any) -> list[str]:
        """The texts that the model writes, in the order of the rows; `settings` are those of generation."""
        texts = [""] * len(self.rows)
        for batch in self._batches:
            self._poll()
            inputs = self._inputs(batch)
            del inputs["labels"]
            ids = self._model.generate(**inputs, jit_compile=self._under_xla, **settings)
            for place, text in zip(batch.rows, tokenizer.batch_decode(ids), strict=False):
                texts[int(place)] = text
        return texts

    def _inputs(self, batch: Batch) -> dict[str, np.ndarray]:
        return self._task.batch(self.store, self.rows[batch.rows], batch.length, batch.fill_to)


def sample_rows(count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, at even distances, so that rows of every file are among them.

    >>> sample_rows(10, 3).tolist()
    [0, 3, 6]
    """
    taken = min(count, most)
    return (np.arange(taken) * (count / max(taken, 1))).astype("int64")

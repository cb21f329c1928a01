"""The gradients of a whole batch, however it is divided: over replicas, or over steps that are accumulated."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.replicas import replica_count
from tfmodels.backend.types import Tensor


class GlobalGradients:
    """Make a Keras optimizer see the gradients that one device would compute for all rows of an update at once.

    - Accumulated gradients are means over the labels of all batches. Keras' `gradient_accumulation_steps` averages the
      gradients of the batches' mean losses: a label of a batch with few labels counts more than one of a batch with
      many. Here, after batch k, the accumulator holds `steps` times the mean gradient of all n_k labels so far: it
      shrinks by n_(k-1) / n_k, and the batch's gradient is added by its share of the labels.
    - Under `tf.distribute` the replicas' gradients are summed before they are clipped or accumulated. Keras clips each
      replica's, and sums inside a condition where it accumulates, which TensorFlow refuses.

    Args:
        optimizer: a Keras optimizer. If it accumulates it must not be built yet, so that the order of its variables is
            always the same.

    Raises:
        ValueError: a built optimizer with gradient accumulation, or `use_ema` with accumulation over replicas.
    """

    def __init__(self, optimizer: keras.Optimizer) -> None:
        self.optimizer = optimizer
        self.steps = optimizer.gradient_accumulation_steps
        # The labels of the current batch: each replica of `tf.distribute` computes the same number.
        self._labels: list[Tensor] = []
        if self.steps and optimizer.built:
            raise ValueError(
                "optimizer with gradient_accumulation_steps must be compiled before it is built, as a file knows its "
                "variables by their order. Received: a built optimizer"
            )
        if self.steps:
            self.labels = optimizer.add_variable(
                shape=(), dtype="float32", aggregation="only_first_replica", name="accumulated_labels"
            )
        # Keras' one method between the gradients and its variables, on every backend. A `GuardedOptimizer` has it in
        # two parts: it measures the gradients of all replicas, before they are weighted by labels.
        self._apply = getattr(optimizer, "apply_measured", optimizer._backend_apply_gradients)
        self._measured = getattr(optimizer, "measured", None)
        optimizer._backend_apply_gradients = self.apply
        if replica_count() > 1:
            if self.steps and optimizer.use_ema:
                raise ValueError(
                    "use_ema must be False with gradient_accumulation_steps under a tf.distribute strategy. "
                    "Received: use_ema=True"
                )
            self._sum = optimizer._all_reduce_sum_gradients
            # `apply` has summed them already.
            optimizer._all_reduce_sum_gradients = list

    @staticmethod
    def are_divided(optimizer: keras.Optimizer | str | dict[str, Any]) -> bool:
        """Whether an optimizer, or its name, would see only a part of an update's rows at a time."""
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        return bool(getattr(inner, "gradient_accumulation_steps", None)) or replica_count() > 1

    @classmethod
    def of(cls, optimizer: keras.Optimizer) -> "GlobalGradients | None":
        """The one instance of a compiled optimizer; None if the optimizer sees whole batches anyway."""
        if optimizer is None or not cls.are_divided(optimizer):
            return None
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        known = getattr(optimizer._backend_apply_gradients, "__self__", None)
        return known if isinstance(known, cls) else cls(optimizer)

    @contextlib.contextmanager
    def batch_of(self, labels: Tensor) -> Iterator[None]:
        """A scope for the gradients of one batch.

        Args:
            labels: float32 scalar, the number of labels in the batch, over all replicas.
        """
        self._labels.append(labels)
        try:
            yield
        finally:
            self._labels.pop()

    def apply(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
        """Update the variables, or accumulate their gradients.

        A loss scale skips this call for a batch with infinite gradients, and with it the batch's labels.
        """
        is_divided = replica_count() > 1
        if is_divided:
            grads = self._summed(grads, variables)
        labels = self._labels[-1] if self._labels else None  # None: a training loop of the user
        if self._measured is not None:
            grads = self._measured(grads)
            # What is left out has no labels either.
            labels = ops.where(ops.isfinite(self.optimizer.gradient_norm), 1.0 if labels is None else labels, 0.0)
        if self.steps and labels is not None:
            grads = self._by_labels(grads, variables, labels)
        if is_divided and self.steps:
            self._accumulate_in_replicas(grads, variables)
        else:
            self._apply(grads, variables)

    def _summed(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> list[Tensor]:
        """The gradients of all replicas together."""
        import tensorflow as tf

        # Dense: a sparse sum holds a row that two replicas looked up twice, and clipping would see two rows.
        pairs = [(tf.convert_to_tensor(x), variable) for x, variable in zip(grads, variables, strict=True)]
        return [gradient for gradient, _ in self._sum(pairs)]

    def _by_labels(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable], labels: Tensor) -> list[Tensor]:
        """The tensors to add to the accumulators; the count of labels is updated."""
        total = self.labels + labels
        before, share = self.labels / ops.maximum(total, 1.0), labels / ops.maximum(total, 1.0)
        is_last = ops.equal((self.optimizer._iterations + 1) % self.steps, 0)
        self.labels.assign(ops.where(is_last, 0.0, total))

        def added(gradient: Tensor, accumulator: keras.Variable) -> Tensor:
            held = ops.cast(accumulator.value, "float32")
            change = held * (before - 1.0) + ops.cast(gradient, "float32") * (share * self.steps)
            return ops.cast(change, gradient.dtype)

        return [added(*pair) for pair in zip(grads, self._accumulators(variables), strict=True)]

    def _accumulators(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        optimizer = self.optimizer
        return [optimizer._accumulated_gradients[optimizer._get_variable_index(v)] for v in variables]

    def _accumulate_in_replicas(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
        """Update or accumulate under one condition, outside of the replicas and the same for all."""
        import tensorflow as tf

        accumulators = [accumulator.value for accumulator in self._accumulators(variables)]
        iterations = self.optimizer._iterations.value

        def update(grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
            optimizer = self.optimizer
            means = optimizer._clip_gradients([(x + y) / self.steps for x, y in zip(grads, accumulators, strict=True)])
            optimizer._apply_weight_decay(variables)
            optimizer._backend_update_step(means, variables, optimizer.learning_rate)

        def across(strategy: Any, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
            def last() -> None:
                strategy.extended.call_for_each_replica(update, args=(grads, variables))
                for accumulator in accumulators:
                    strategy.extended.update(accumulator, lambda x: x.assign(tf.zeros_like(x)), group=False)

            def others() -> None:
                for accumulator, gradient in zip(accumulators, grads, strict=True):
                    strategy.extended.update(accumulator, lambda x, y: x.assign_add(y), args=(gradient,), group=False)

            tf.cond(tf.equal((iterations + 1) % self.steps, 0), last, others)

        tf.distribute.get_replica_context().merge_call(across, args=(grads, variables))

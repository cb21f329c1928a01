"""The gradients of a whole batch, however it is divided: over replicas, or over steps that are accumulated."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from keras import ops

from tfmodels.backend.replicas import replica_count
from tfmodels.backend.types import Tensor


class GlobalGradients:
    """Makes a Keras optimizer see the gradients that one device would find for all rows of an update at once.

    - Accumulated gradients are means over the labels of all batches. Keras' `gradient_accumulation_steps` averages the
      gradients of the batches' mean losses: a label of a batch with few of them counts more than one of a batch with
      many. Here, after batch k, the accumulator holds `steps` times the mean gradient of all labels so far, of which
      there are n_k: it shrinks by n_(k-1) / n_k, and the batch's own gradient comes on top by its share of the labels.
    - Under `tf.distribute` the replicas' gradients are summed before they are clipped or accumulated. Keras clips each
      replica's, and sums inside a condition where it accumulates, which TensorFlow refuses.

    Args:
        optimizer: not built yet where it accumulates, so that its variables have the same order always.
    """

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.steps = optimizer.gradient_accumulation_steps
        # Of the batch that is being trained on: each replica of `tf.distribute` finds the same number.
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
        # Keras' one method between the gradients and its variables, on every backend.
        self._apply = optimizer._backend_apply_gradients
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
    def are_divided(optimizer: Any) -> bool:
        """Whether an optimizer, or what names one, sees a part of an update's rows at a time."""
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        return bool(getattr(inner, "gradient_accumulation_steps", None)) or replica_count() > 1

    @classmethod
    def of(cls, optimizer: Any) -> "GlobalGradients | None":
        """What a compiled optimizer needs, once; None where it sees whole batches anyway."""
        if optimizer is None or not cls.are_divided(optimizer):
            return None
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        known = getattr(optimizer._backend_apply_gradients, "__self__", None)
        return known if isinstance(known, cls) else cls(optimizer)

    @contextlib.contextmanager
    def batch_of(self, labels: Tensor) -> Iterator[None]:
        """A scope in which gradients are those of a batch with so many labels in all replicas together."""
        self._labels.append(labels)
        try:
            yield
        finally:
            self._labels.pop()

    def apply(self, grads: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Update or accumulate.

        A batch whose gradients are not finite, which a loss scale finds, never gets here, nor do its labels.
        """
        is_divided = replica_count() > 1
        if is_divided:
            grads = self._summed(grads, variables)
        if self.steps and self._labels:  # else a training loop of the user's own
            grads = self._by_labels(grads, variables, self._labels[-1])
        if is_divided and self.steps:
            self._accumulate_in_replicas(grads, variables)
        else:
            self._apply(grads, variables)

    def _summed(self, grads: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        """The gradients of all replicas together."""
        import tensorflow as tf

        # Dense: the rows that two replicas looked up stand in a sparse sum twice, and would be clipped apart.
        pairs = [(tf.convert_to_tensor(x), variable) for x, variable in zip(grads, variables, strict=True)]
        return [gradient for gradient, _ in self._sum(pairs)]

    def _by_labels(self, grads: Sequence[Tensor], variables: Sequence[Any], labels: Tensor) -> list[Tensor]:
        """What must be added to the accumulators, and to the count of labels is added."""
        total = self.labels + labels
        before, share = self.labels / ops.maximum(total, 1.0), labels / ops.maximum(total, 1.0)
        is_last = ops.equal((self.optimizer._iterations + 1) % self.steps, 0)
        self.labels.assign(ops.where(is_last, 0.0, total))

        def added(gradient: Tensor, accumulator: Any) -> Tensor:
            held = ops.cast(accumulator.value, "float32")
            found = held * (before - 1.0) + ops.cast(gradient, "float32") * (share * self.steps)
            return ops.cast(found, gradient.dtype)

        return [added(*pair) for pair in zip(grads, self._accumulators(variables), strict=True)]

    def _accumulators(self, variables: Sequence[Any]) -> list[Any]:
        optimizer = self.optimizer
        return [optimizer._accumulated_gradients[optimizer._get_variable_index(v)] for v in variables]

    def _accumulate_in_replicas(self, grads: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """The condition stands outside of the replicas, and holds for all of them."""
        import tensorflow as tf

        accumulators = [accumulator.value for accumulator in self._accumulators(variables)]
        iterations = self.optimizer._iterations.value

        def update(grads: Sequence[Tensor], variables: Sequence[Any]) -> None:
            optimizer = self.optimizer
            means = optimizer._clip_gradients([(x + y) / self.steps for x, y in zip(grads, accumulators, strict=True)])
            optimizer._apply_weight_decay(variables)
            optimizer._backend_update_step(means, variables, optimizer.learning_rate)

        def across(strategy: Any, grads: Sequence[Tensor], variables: Sequence[Any]) -> None:
            def last() -> None:
                strategy.extended.call_for_each_replica(update, args=(grads, variables))
                for accumulator in accumulators:
                    strategy.extended.update(accumulator, lambda x: x.assign(tf.zeros_like(x)), group=False)

            def others() -> None:
                for accumulator, gradient in zip(accumulators, grads, strict=True):
                    strategy.extended.update(accumulator, lambda x, y: x.assign_add(y), args=(gradient,), group=False)

            tf.cond(tf.equal((iterations + 1) % self.steps, 0), last, others)

        tf.distribute.get_replica_context().merge_call(across, args=(grads, variables))

"""An optimizer that measures its gradients and leaves out those that are not finite, without asking the host."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.global_gradients import GlobalGradients
from tfmodels.backend.types import Tensor


class GuardedOptimizer:
    """Mixed in before a Keras optimizer: `class Guarded(GuardedOptimizer, keras.optimizers.Adam)`.

    Every update measures the norm of all gradients. If it is not finite the update writes each weight and each moment
    back as it was, by a selection inside the step: no transfer to the host, and no branch for XLA to compile.
    `iterations` advances all the same. The optimizer must write through `self.assign`, `assign_add` and `assign_sub`,
    as those of Keras do.

    With `gradient_accumulation_steps` a batch that is not finite is left out, and the update is the mean over the
    labels of the others. A window of which nothing is left changes nothing. Keras clips the mean gradient of the
    window, once, and not each batch's; this class keeps that.

    Under a `LossScaleOptimizer` Keras leaves such updates out by itself, before this class sees them.

    Weight decay is decoupled (Loshchilov and Hutter, 2019, section 2). Keras' own would also decay in an update that
    is left out, and excludes variables by name: `embeddings` for the vocabulary and the relative positions alike.

    Attributes:
        gradient_norm: float32 scalar variable, the norm of the newest gradients before clipping, in float32. Of a
            batch that was left out it is NaN or infinite. At the end of a window it is the norm of the window's mean
            gradient, unless the last batch was left out.
        skipped_batches: int32 scalar variable, the batches left out so far.
        decay: the weight decay per step, times the learning rate.
        no_decay: regular expressions; a weight whose path one of them matches anywhere does not decay.
    """

    gradient_norm: keras.Variable
    skipped_batches: keras.Variable
    _kept_batches: keras.Variable

    def __init__(self, *args: Any, weight_decay: float | None = None, no_decay: Sequence[str] = (), **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.decay = weight_decay or 0.0
        self.no_decay = tuple(no_decay)

    def build(self: Any, variables: Sequence[keras.Variable]) -> None:
        """Create the variables of the optimizer for the weights to train."""
        if self.built:
            return
        if self.gradient_accumulation_steps:
            GlobalGradients.of(self)  # unless `compile` has: batches without known labels count alike there
        first = {"shape": (), "aggregation": "only_first_replica"}
        self.gradient_norm = self.add_variable(dtype="float32", name="gradient_norm", **first)
        self.skipped_batches = self.add_variable(dtype="int32", name="skipped_batches", **first)
        if self.gradient_accumulation_steps:
            self._kept_batches = self.add_variable(dtype="float32", name="kept_batches", **first)
        paths = [variable.path for variable in variables]
        self._decays = [not any(re.search(pattern, path) for pattern in self.no_decay) for path in paths]
        super().build(list(variables))  # type: ignore[misc]

    def exclude_from_weight_decay(
        self, var_list: Sequence[keras.Variable] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Exclude further weights from weight decay, before `build`.

        Args:
            var_list: the weights.
            var_names: regular expressions for paths, as `no_decay`.
        """
        paths = tuple(f"^{re.escape(variable.path)}$" for variable in var_list or ())
        self.no_decay += (*paths, *(var_names or ()))

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        config = super().get_config()  # type: ignore[misc]
        return {**config, "weight_decay": self.decay, "no_decay": list(self.no_decay)}

    def is_kept(self: Any) -> Tensor:
        """Whether the gradients of this update are written: a boolean scalar on the device."""
        if self.gradient_accumulation_steps:
            return ops.greater(self._kept_batches, 0.0)
        return ops.isfinite(self.gradient_norm)

    def measured(self: Any, grads: Sequence[Tensor]) -> list[Tensor]:
        """Measure the gradients of one batch, over all replicas.

        Returns:
            The gradients, dense; with accumulation zeros for a batch that is left out.
        """
        grads = [_dense(gradient) for gradient in grads]
        norm = global_norm(grads)
        is_finite = ops.isfinite(norm)
        self.gradient_norm.assign(norm)
        self.skipped_batches.assign_add(ops.cast(ops.logical_not(is_finite), "int32"))
        if not self.gradient_accumulation_steps:
            return grads
        is_first = ops.equal(self._iterations % self.gradient_accumulation_steps, 0)
        before = ops.where(is_first, 0.0, ops.convert_to_tensor(self._kept_batches))
        self._kept_batches.assign(before + ops.cast(is_finite, "float32"))
        return [ops.where(is_finite, gradient, 0.0) for gradient in grads]

    def apply_measured(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
        """Update the variables, or accumulate, with gradients that `measured` returned."""
        super()._backend_apply_gradients(grads, variables)  # type: ignore[misc]

    def decay_weight(self: Any, variable: Any, rate: Tensor) -> None:
        """Take `rate * decay` of a weight from it, unless its path is excluded."""
        if self.decay and self._decays[self._get_variable_index(variable)]:
            factor = ops.cast(rate, variable.dtype) * ops.cast(self.decay, variable.dtype)
            self.assign_sub(variable, ops.multiply(variable, factor))

    def assign(self, variable: Any, value: Tensor) -> None:
        """Set a variable, unless the update is left out."""
        super().assign(variable, ops.where(self.is_kept(), value, ops.convert_to_tensor(variable)))  # type: ignore[misc]

    def assign_add(self, variable: Any, value: Tensor) -> None:
        """Add to a variable, unless the update is left out."""
        super().assign_add(variable, ops.where(self.is_kept(), value, 0.0))  # type: ignore[misc]

    def assign_sub(self, variable: Any, value: Tensor) -> None:
        """Subtract from a variable, unless the update is left out."""
        super().assign_sub(variable, ops.where(self.is_kept(), value, 0.0))  # type: ignore[misc]

    def _backend_apply_gradients(self, grads: Sequence[Tensor], variables: Sequence[keras.Variable]) -> None:
        self.apply_measured(self.measured(grads), variables)

    def _clip_gradients(self: Any, grads: Sequence[Tensor]) -> list[Tensor]:
        """Clip the gradients of an update: with accumulation the mean over the window."""
        norm = global_norm(grads) if self.gradient_accumulation_steps else self.gradient_norm
        if self.gradient_accumulation_steps:
            newest = ops.convert_to_tensor(self.gradient_norm)
            self.gradient_norm.assign(ops.where(ops.isfinite(newest), norm, newest))
        if not self.global_clipnorm:
            return super()._clip_gradients(grads)  # type: ignore[misc]
        scale = self.global_clipnorm / ops.maximum(norm, self.global_clipnorm)
        return [gradient * ops.cast(scale, gradient.dtype) for gradient in grads]

    def _update_model_variables_moving_average(self: Any, variables: Sequence[keras.Variable]) -> None:
        """Move the averages, unless the update is left out: they would come nearer to weights that did not move."""
        averages = [average for average in self._model_variables_moving_average if average is not None]
        before = [ops.copy(average) for average in averages]
        super()._update_model_variables_moving_average(variables)  # type: ignore[misc]
        # The first average is the weight itself, whether or not it moved.
        is_moved = ops.logical_or(self.is_kept(), ops.equal(self.iterations, 0))
        for average, value in zip(averages, before, strict=True):
            average.assign(ops.where(is_moved, ops.convert_to_tensor(average), value))


def global_norm(grads: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together: a float32 scalar.

    >>> float(global_norm([ops.convert_to_tensor([3.0]), ops.convert_to_tensor([[4.0]])]))
    5.0
    """
    squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in grads]
    return ops.sqrt(sum(squares[1:], start=squares[0]))


def _dense(gradient: Any) -> Tensor:
    """A dense gradient: in a sparse one a row that was looked up twice stands twice, and a norm sees two rows."""
    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)

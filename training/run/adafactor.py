"""Adafactor, whose second moments of a matrix are one number for each row and each column."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.guarded_optimizer import GuardedOptimizer
from tfmodels.backend.keras_internals import weight_index

# Below this the factors save next to nothing. The limit is that of T5's own training programs.
_SMALLEST_FACTORED = 128


@keras.saving.register_keras_serializable(package="tfmodels")
class Adafactor(GuardedOptimizer, keras.optimizers.Optimizer):
    """Adafactor (Shazeer and Stern, 2018, algorithms 4 and 5, sections 3 to 8), guarded as `GuardedOptimizer` says.

    The second moment of an array whose last two axes both have at least `smallest_factored` elements is kept as the
    means over each of the two; that of any other array in full. `keras.optimizers.Adafactor` keeps a full moment for
    every weight besides. Moments are float32, whatever the weights are.

    Args:
        learning_rate: the step size; with `scale_parameter` relative to the weights, with `relative_step` its limit.
        beta_1: decay of a first moment, in full for every weight. None: no first moment, as in the paper.
        beta_2_decay: c of the second moment's decay, 1 - t^c at step t (section 7.2).
        epsilon_1: added to squared gradients.
        epsilon_2: the least scale of a weight.
        clip_threshold: d, the largest root mean square of an update (section 6).
        scale_parameter: multiply the step size by the root mean square of the weight (section 8).
        relative_step: the step size is at most 1 / sqrt(t); with a learning rate of 0.01 the paper's.
        smallest_factored: the fewest elements of an axis that is factored.
        weight_decay, no_decay: see `GuardedOptimizer`.
        **kwargs: further arguments of `keras.optimizers.Optimizer`.

    Raises:
        ValueError: a `beta_1` outside of 0 to 1, or a `beta_2_decay` that is not negative.

    >>> optimizer = Adafactor(1e-3)
    >>> optimizer.build([keras.Variable(ops.zeros((300, 200)), name="kernel")])
    >>> sum(len(variable.shape) > 0 and variable.shape[0] for variable in optimizer.variables)
    500
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float | None = None,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        scale_parameter: bool = True,
        relative_step: bool = False,
        smallest_factored: int = _SMALLEST_FACTORED,
        **kwargs: Any,
    ) -> None:
        if beta_1 is not None and not 0 <= beta_1 < 1:
            raise ValueError(f"beta_1 must be None or at least 0 and below 1. Received: beta_1={beta_1}")
        if beta_2_decay >= 0:
            raise ValueError(f"beta_2_decay must be negative. Received: beta_2_decay={beta_2_decay}")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta_1 = beta_1
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.smallest_factored = smallest_factored

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Create the moments of the weights to train."""
        if self.built:
            return
        super().build(variables)
        # By the place of the weight: (moment,), or (row means, column means).
        self.second_moments: list[list[keras.Variable]] = []
        self.first_moments: list[keras.Variable] = []
        for variable in variables:
            shape, name = tuple(variable.shape), variable.path.replace("/", "_")
            if self.is_factored(shape):
                shapes = {"rows": shape[:-1], "columns": (*shape[:-2], shape[-1])}
            else:
                shapes = {"velocity": shape}
            moments = [self._float32(f"{name}_{suffix}", each) for suffix, each in shapes.items()]
            self.second_moments.append(moments)
            if self.beta_1 is not None:
                self.first_moments.append(self._float32(f"{name}_momentum", shape))

    def _float32(self, name: str, shape: tuple[int, ...]) -> keras.Variable:
        return self.add_variable(shape=shape, dtype="float32", name=name)

    def is_factored(self, shape: Sequence[int]) -> bool:
        """Whether the second moment of an array is kept by rows and columns."""
        return len(shape) >= 2 and min(shape[-2:]) >= self.smallest_factored

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one weight."""
        gradient, weight = ops.cast(gradient, "float32"), ops.cast(variable, "float32")
        step = ops.cast(self.iterations + 1, "float32")
        rate = ops.cast(learning_rate, "float32")
        if self.relative_step:
            rate = ops.minimum(rate, ops.rsqrt(step))
        if self.scale_parameter:
            rate = rate * ops.maximum(_rms(weight), self.epsilon_2)
        index = weight_index(self, variable)
        update = gradient * self._inverse_root(ops.square(gradient) + self.epsilon_1, index, step)
        update = update * (rate / ops.maximum(_rms(update) / self.clip_threshold, 1.0))
        if self.beta_1 is not None:
            self.assign_add(self.first_moments[index], (update - self.first_moments[index]) * (1.0 - self.beta_1))
            update = ops.convert_to_tensor(self.first_moments[index])
        self.decay_weight(variable, rate)
        self.assign_sub(variable, ops.cast(update, variable.dtype))

    def _inverse_root(self, squares: Any, index: int, step: Any) -> Any:
        """1 / sqrt of the second moment, which is moved towards the squared gradients."""
        share = ops.power(step, self.beta_2_decay)  # 1 at the first step, which so needs no correction of bias
        moments = self.second_moments[index]
        means = [squares] if len(moments) == 1 else [ops.mean(squares, axis=-1), ops.mean(squares, axis=-2)]
        for moment, mean in zip(moments, means, strict=True):
            self.assign(moment, moment * (1.0 - share) + mean * share)
        if len(moments) == 1:
            return ops.rsqrt(moments[0])
        rows, columns = moments
        # Two roots, and not the root of the product, which float32 cannot hold for small gradients.
        by_row = ops.rsqrt(rows / ops.mean(rows, axis=-1, keepdims=True))
        return ops.expand_dims(by_row, -1) * ops.expand_dims(ops.rsqrt(columns), -2)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2_decay": self.beta_2_decay,
            "epsilon_1": self.epsilon_1,
            "epsilon_2": self.epsilon_2,
            "clip_threshold": self.clip_threshold,
            "scale_parameter": self.scale_parameter,
            "relative_step": self.relative_step,
            "smallest_factored": self.smallest_factored,
        }


def _rms(x: Any) -> Any:
    return ops.sqrt(ops.mean(ops.square(x)))

"""Adam and AdamW of Keras, number for number, in about half the operations, which were half of a train step's."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from tfmodels.backend.autocast import read
from tfmodels.backend.replicas import has_strategy
from tfmodels.backend.types import Tensor


class _Rates(NamedTuple):
    """What the updates of all weights of a dtype share: scalars of that dtype."""

    alpha: Tensor
    first: Tensor
    second: Tensor
    epsilon: Tensor
    learning_rate: Tensor
    decay: Tensor | None


class SharedRates:
    """Mixed in before an Adam of Keras: `class AdamW(SharedRates, keras.optimizers.AdamW)`.

    Keras computes the corrections of the moments anew for each weight, and reads each moment twice. Here scalars are
    computed once for an update, and moments are read once; the arithmetic on weights and moments is Keras', operation
    for operation. Variables, their names and their order are Keras' own.

    Under a strategy of `tf.distribute`, and with `amsgrad`, this is Keras' update.
    """

    _rates: dict[str, _Rates] | None = None

    def _backend_update_step(self: Any, grads: Sequence[Tensor], variables: Sequence[Any], rate: Tensor) -> None:
        if not self._shares_rates():
            super()._backend_update_step(grads, variables, rate)  # type: ignore[misc]
            return
        # Past Keras' tracking of attributes, which would wrap it. The tensors belong to this update's graph.
        self.__dict__["_rates"] = {}
        try:
            for gradient, variable in zip(grads, variables, strict=True):
                self.update_step(gradient, variable, rate)
        finally:
            del self.__dict__["_rates"]

    def _shares_rates(self: Any) -> bool:
        return not self.amsgrad and not has_strategy()

    def _apply_weight_decay(self: Any, variables: Sequence[Any]) -> None:
        if not self._shares_rates():  # else each weight decays in its own update
            super()._apply_weight_decay(variables)  # type: ignore[misc]

    def update_step(self: Any, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """Update one weight."""
        if self._rates is None:
            super().update_step(gradient, variable, learning_rate)  # type: ignore[misc]
            return
        rates = self._rates_for(keras.backend.standardize_dtype(variable.dtype), learning_rate)
        place = self._get_variable_index(variable)
        momentum, velocity = self._momentums[place], self._velocities[place]
        gradient = ops.cast(gradient, variable.dtype)
        m, v, weight = (read(getattr(x, "value", x)) for x in (momentum, velocity, variable))
        m = ops.add(m, ops.multiply(ops.subtract(gradient, m), rates.first))
        v = ops.add(v, ops.multiply(ops.subtract(ops.square(gradient), v), rates.second))
        if rates.decay is not None and self._use_weight_decay(variable):
            shrinkage = ops.multiply(ops.multiply(weight, rates.decay), rates.learning_rate)
            weight = ops.subtract(weight, shrinkage)
        change = ops.divide(ops.multiply(m, rates.alpha), ops.add(ops.sqrt(v), rates.epsilon))
        self.assign(momentum, m)
        self.assign(velocity, v)
        self.assign(variable, ops.subtract(weight, change))

    def _rates_for(self: Any, dtype: str, learning_rate: Tensor) -> _Rates:
        if dtype not in self._rates:
            step = ops.cast(self.iterations + 1, dtype)
            first, second = (ops.power(ops.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2))
            rate = ops.cast(learning_rate, dtype)
            self._rates[dtype] = _Rates(
                rate * ops.sqrt(1 - second) / (1 - first),
                ops.convert_to_tensor(1 - self.beta_1, dtype),
                ops.convert_to_tensor(1 - self.beta_2, dtype),
                ops.convert_to_tensor(self.epsilon, dtype),
                rate,
                None if self.weight_decay is None else ops.cast(self.weight_decay, dtype),
            )
        return self._rates[dtype]


@keras.saving.register_keras_serializable(package="tfmodels.backend")
class AdamW(SharedRates, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`: the same arguments, numbers and variables, but quicker to trace and to compile.

    >>> AdamW(3e-5).get_config()["weight_decay"]
    0.004
    """

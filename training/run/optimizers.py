"""The optimizers of a run: both measure their gradients and leave out those that are not finite."""

from collections.abc import Sequence
from typing import Any

import keras

from tfmodels.backend.adamw import SharedRates
from tfmodels.backend.guarded_optimizer import GuardedOptimizer
from training.run.adafactor import Adafactor

OPTIMIZER_NAMES = ("adamw", "adafactor")

NO_DECAY = (r"/(bias|gamma|beta|scale)$", r"relative_attention_bias/")
"""Paths of weights that do not decay: biases, the weights of norms, embeddings of relative positions."""


@keras.saving.register_keras_serializable(package="tfmodels")
class AdamW(GuardedOptimizer, SharedRates, keras.optimizers.Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2), guarded as `GuardedOptimizer` says.

    Args:
        learning_rate, beta_1, beta_2, epsilon, **kwargs: as `keras.optimizers.Adam`.
        weight_decay, no_decay: see `GuardedOptimizer`.

    >>> AdamW(1e-3, weight_decay=0.01).get_config()["weight_decay"]
    0.01
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one weight."""
        self.decay_weight(variable, learning_rate)
        super().update_step(gradient, variable, learning_rate)


def make_optimizer(
    name: str = "adamw",
    weight_decay: float = 0.01,
    beta_1: float | None = None,
    beta_2: float | None = None,
    epsilon: float | None = None,
    clip_norm: float | None = 1.0,
    accumulate: int = 1,
    no_decay: Sequence[str] = NO_DECAY,
    scale_parameter: bool = True,
    learning_rate: float = 1e-3,
) -> keras.optimizers.Optimizer:
    """Make an optimizer by name.

    Args:
        name: one of `OPTIMIZER_NAMES`.
        weight_decay: decoupled weight decay per step, times the learning rate.
        beta_1: decay of the first moment. None: 0.9, and no first moment for Adafactor.
        beta_2: decay of AdamW's second moment. None: 0.999. Adafactor's is 1 - t^-0.8.
        epsilon: of AdamW. None: 1e-8. Adafactor's are the paper's.
        clip_norm: the largest norm of all gradients together, of the mean gradient when batches are accumulated. None:
            no clipping.
        accumulate: the batches of an update.
        no_decay: regular expressions for the paths of weights that do not decay.
        scale_parameter: of Adafactor: step sizes are relative to the weights.
        learning_rate: the first learning rate; a schedule assigns others.

    Raises:
        ValueError: an unknown name, a `beta_2` or `epsilon` for Adafactor, or a number out of range.

    >>> make_optimizer("adamw", accumulate=4).gradient_accumulation_steps
    4
    """
    if name not in OPTIMIZER_NAMES:
        raise ValueError(f"name must be one of {', '.join(OPTIMIZER_NAMES)}. Received: name={name!r}")
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1. Received: accumulate={accumulate}")
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be at least 0. Received: weight_decay={weight_decay}")
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm must be above 0 or None. Received: clip_norm={clip_norm}")
    common: dict[str, Any] = {
        "learning_rate": float(learning_rate),
        "weight_decay": weight_decay,
        "no_decay": tuple(no_decay),
        "global_clipnorm": clip_norm,
        "gradient_accumulation_steps": accumulate if accumulate > 1 else None,
    }
    if name == "adafactor":
        for argument, value in (("beta_2", beta_2), ("epsilon", epsilon)):
            if value is not None:
                raise ValueError(f"{argument} must be None for adafactor. Received: {argument}={value}")
        return Adafactor(beta_1=beta_1, scale_parameter=scale_parameter, **common)
    beta_1, beta_2 = 0.9 if beta_1 is None else beta_1, 0.999 if beta_2 is None else beta_2
    for argument, value in (("beta_1", beta_1), ("beta_2", beta_2)):
        if not 0 <= value < 1:
            raise ValueError(f"{argument} must be at least 0 and below 1. Received: {argument}={value}")
    return AdamW(beta_1=beta_1, beta_2=beta_2, epsilon=1e-8 if epsilon is None else epsilon, **common)


def gradient_figures(optimizer: keras.optimizers.Optimizer) -> tuple[float, int]:
    """The norm of the newest gradients, and the batches left out so far; also of an optimizer with a loss scale.

    One transfer from the device each: for a log, not for every step of an accelerator.
    """
    inner: Any = getattr(optimizer, "inner_optimizer", optimizer)
    return float(inner.gradient_norm), int(inner.skipped_batches)

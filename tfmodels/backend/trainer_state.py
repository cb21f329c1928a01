"""The variables of a model while `fit` runs."""

from typing import Any


def sync_variables(model: Any) -> None:
    """Bring the variables up to date in the middle of `fit`.

    On JAX the trainer holds their values between two steps; on TensorFlow the variables themselves are trained.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()

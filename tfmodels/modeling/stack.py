"""What a stack of blocks does besides running them: drop whole layers, and recompute them in the backward pass."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor


class Stack:
    """Mixin of encoders and decoders.

    Attributes:
        gradient_checkpointing: recompute each block in the backward pass instead of keeping what it computed.
    """

    gradient_checkpointing: bool = False

    def set_layerdrop(self, rate: float) -> None:
        """Drop each layer with this probability during training (Fan et al. 2019, section 3.1)."""
        self.layerdrop = rate
        self.layerdrop_seed = keras.random.SeedGenerator() if rate else None

    def runner(self, block: Callable[..., Any], training: bool | None) -> Callable[..., Any]:
        """The block's call, recomputed in the backward pass where that is switched on."""
        return partial(remat_layer, block) if self.gradient_checkpointing and training else block

    def keep_or_drop(self, after: Tensor, before: Tensor, training: bool | None) -> Tensor:
        """What a layer made, or what it was given where it is dropped: one draw for the whole batch."""
        if not self.layerdrop or not training:
            return after
        # A select: the dropped layer is still computed, as no shape or branch of a compiled graph depends on a draw.
        is_kept = keras.random.uniform((), seed=self.layerdrop_seed) >= self.layerdrop
        return ops.where(is_kept, after, before)

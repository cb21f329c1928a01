"""LongT5's models."""

from typing import Any, ClassVar

import keras

from tfmodels.checkpoints.mapping import Row
from tfmodels.layers.projection import projection
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.decoder import LongT5Decoder
from tfmodels.longt5.encoder import ENCODER_INPUTS, LongT5Encoder, token_embedding
from tfmodels.longt5.weights import conditional_generation_rows
from tfmodels.seq2seq import Seq2SeqLM

Tensor = Any


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForConditionalGeneration(Seq2SeqLM):
    """LongT5 with a language-model head: long document in, text out (Guo et al. 2022).

    Inputs, outputs and methods: see `Seq2SeqLM`.

    Args:
        config: a `LongT5Config`.

    >>> import numpy as np
    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> model = LongT5ForConditionalGeneration(config)
    >>> np.asarray(model.generate(np.ones((1, 10), "int32"), max_new_tokens=4)).shape
    (1, 5)
    """

    config_class: ClassVar[type] = LongT5Config
    encoder_inputs: ClassVar[tuple[str, ...]] = ENCODER_INPUTS

    @staticmethod
    def weight_rows(config: Any) -> list[Row]:
        """Where each of the reference's tensors lives."""
        return conditional_generation_rows(config)

    def make_parts(self, policy: Any) -> None:
        """Create the sublayers."""
        config = self.config
        self.shared = token_embedding(config, policy, "shared")
        self.encoder = LongT5Encoder(config, embed_tokens=self.shared, dtype=policy, name="encoder")
        self.decoder = LongT5Decoder(config, embed_tokens=self.shared, dtype=policy, name="decoder")
        self.decoder.build()
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = projection("lm_head", config.vocab_size, config.initializer_factor, False, policy)
            self.lm_head.build((None, None, config.d_model))

    def logits(self, hidden_states: Tensor) -> Tensor:
        """(..., E) -> (..., V). Only a tied head scales its input."""
        if self.lm_head is not None:
            return self.lm_head(hidden_states)
        return self.shared(hidden_states * self.config.d_model**-0.5, reverse=True)

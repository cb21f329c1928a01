"""LED's models."""

from typing import Any, ClassVar

import keras

from tfmodels.checkpoints.mapping import Row
from tfmodels.led.config import LEDConfig
from tfmodels.led.decoder import LEDDecoder
from tfmodels.led.encoder import ENCODER_INPUTS, LEDEncoder, token_embedding
from tfmodels.led.weights import conditional_generation_rows
from tfmodels.seq2seq import Seq2SeqLM

Tensor = Any


@keras.saving.register_keras_serializable("tfmodels")
class LEDForConditionalGeneration(Seq2SeqLM):
    """LED with a language-model head: long document in, text out (Beltagy et al. 2020, section 7).

    Inputs, outputs and methods: see `Seq2SeqLM`.

    Args:
        config: an `LEDConfig`.

    >>> import numpy as np
    >>> config = LEDConfig(vocab_size=50, d_model=8, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
    ...                    decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2, attention_window=4,
    ...                    max_encoder_position_embeddings=32, max_decoder_position_embeddings=16)
    >>> model = LEDForConditionalGeneration(config)
    >>> np.asarray(model.generate(np.ones((1, 10), "int32"), max_new_tokens=4)).shape
    (1, 5)
    """

    config_class: ClassVar[type] = LEDConfig
    encoder_inputs: ClassVar[tuple[str, ...]] = ENCODER_INPUTS

    @staticmethod
    def weight_rows(config: Any) -> list[Row]:
        """Where each of the reference's tensors lives."""
        return conditional_generation_rows(config)

    def make_parts(self, policy: Any) -> None:
        """Create the sublayers."""
        config = self.config
        self.shared = token_embedding(config, policy, "shared")
        self.encoder = LEDEncoder(config, embed_tokens=self.shared, dtype=policy, name="encoder")
        self.decoder = LEDDecoder(config, embed_tokens=self.shared, dtype=policy, name="decoder")
        self.decoder.build()
        self.final_logits_bias = self.add_weight(
            shape=(1, config.vocab_size), initializer="zeros", trainable=False, name="final_logits_bias"
        )

    def logits(self, hidden_states: Tensor) -> Tensor:
        """(..., E) -> (..., V)."""
        logits = self.shared(hidden_states, reverse=True)
        return logits + keras.ops.cast(self.final_logits_bias[0], logits.dtype)

"""LED's models: a backbone, and the heads on it."""

from typing import ClassVar

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.led.config import LEDConfig
from tfmodels.led.decoder import LEDDecoder
from tfmodels.led.encoder import ENCODER_INPUTS, LEDEncoder
from tfmodels.led.modules import token_embedding
from tfmodels.led.positions import POSITION_FIELDS, resize_model_positions
from tfmodels.led.weights import head_map, language_model_map, model_map
from tfmodels.modeling.family import Backbone
from tfmodels.modeling.heads import (
    CLASSIFICATION_RULES,
    SPAN_RULES,
    Seq2SeqForQuestionAnswering,
    Seq2SeqForSequenceClassification,
)
from tfmodels.modeling.language_model import Seq2SeqLM
from tfmodels.modeling.seq2seq import Seq2SeqModel


def _create(config: LEDConfig, policy: keras.DTypePolicy) -> tuple[keras.layers.Layer, LEDEncoder, LEDDecoder]:
    """Create the table of token embeddings, the encoder and the decoder."""
    shared = token_embedding(config, policy, "shared")
    encoder = LEDEncoder(config, embed_tokens=shared, dtype=policy, name="encoder")
    return shared, encoder, LEDDecoder(config, embed_tokens=shared, dtype=policy, name="decoder")


BACKBONE = Backbone(
    encoder_inputs=ENCODER_INPUTS,
    create=_create,
    head_stddev=lambda config: config.init_std,
    position_fields=POSITION_FIELDS,
    resize_positions=resize_model_positions,
)


@keras.saving.register_keras_serializable("tfmodels")
class LEDModel(Seq2SeqModel):
    """LED without a head: the decoder's hidden states. Inputs, outputs and methods: see `Seq2SeqModel`.

    Args:
        config: an `LEDConfig`.

    >>> import numpy as np
    >>> config = LEDConfig(vocab_size=50, d_model=8, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
    ...                    decoder_layers=1, decoder_ffn_dim=16, decoder_attention_heads=2, attention_window=4,
    ...                    max_encoder_position_embeddings=32, max_decoder_position_embeddings=16)
    >>> ids = np.ones((1, 10), "int32")
    >>> LEDModel(config)(ids, decoder_input_ids=ids[:, :3])["last_hidden_state"].shape[1]
    3
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LEDConfig

    @classmethod
    def weight_map(cls, config: LEDConfig) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return model_map(config)


@keras.saving.register_keras_serializable("tfmodels")
class LEDForConditionalGeneration(Seq2SeqLM):
    """LED with a language-model head: long document in, text out (Beltagy et al. 2020, section 7).

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqLM`.

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

    backbone = BACKBONE
    config_class: ClassVar[type] = LEDConfig

    @classmethod
    def weight_map(cls, config: LEDConfig) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return language_model_map(config)

    def create_head(self, policy: keras.DTypePolicy) -> None:
        """Create the head, and the bias that transformers adds to its logits."""
        super().create_head(policy)
        self.final_logits_bias = self.add_weight(
            shape=(1, self.config.vocab_size), initializer="zeros", trainable=False, name="final_logits_bias"
        )

    def head_stddev(self) -> float:
        """The standard deviation of an untied head's initial kernel."""
        return self.config.init_std

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """(..., E) -> (..., V)."""
        logits = self._to_vocabulary(hidden_states, tied_kernel)
        return logits + keras.ops.cast(self.final_logits_bias[0], logits.dtype)

    def head_variables(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """The trainable and the frozen variables of `logits`."""
        trainable, frozen = super().head_variables()
        return trainable, [*frozen, self.final_logits_bias]

    def resize_head(self, vocab_size: int) -> None:
        """Resize the head to `vocab_size` tokens; the bias of new tokens is zero."""
        super().resize_head(vocab_size)
        bias = np.asarray(self.final_logits_bias)[:, :vocab_size]
        missing = vocab_size - bias.shape[1]
        replace_weight(self, "final_logits_bias", np.pad(bias, ((0, 0), (0, missing))))


@keras.saving.register_keras_serializable("tfmodels")
class LEDForSequenceClassification(Seq2SeqForSequenceClassification):
    """LED with a classification head.

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqForSequenceClassification`.

    Args:
        config: an `LEDConfig` with `num_labels` and, for labels of an ambiguous dtype, `problem_type`.
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LEDConfig

    @classmethod
    def weight_map(cls, config: LEDConfig) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return head_map(config, CLASSIFICATION_RULES)


@keras.saving.register_keras_serializable("tfmodels")
class LEDForQuestionAnswering(Seq2SeqForQuestionAnswering):
    """LED with a head that finds an answer's span.

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqForQuestionAnswering`.

    Args:
        config: an `LEDConfig`.
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LEDConfig

    @classmethod
    def weight_map(cls, config: LEDConfig) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return head_map(config, SPAN_RULES)

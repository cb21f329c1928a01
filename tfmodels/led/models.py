"""LED's models."""

from typing import Any, ClassVar

import keras
import numpy as np

from tfmodels.backend.keras_internals import replace_weight
from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightRule
from tfmodels.led.config import LEDConfig
from tfmodels.led.decoder import LEDDecoder
from tfmodels.led.encoder import ENCODER_INPUTS, LEDEncoder, token_embedding
from tfmodels.led.positions import POSITION_FIELDS, resize_positions
from tfmodels.led.weights import (
    HARMLESS_TENSORS,
    HEAD_PREFIXES,
    PREFIX,
    TOKEN_TABLES,
    body_rows,
    decoder_landmarks,
    language_model_rows,
)
from tfmodels.modeling.heads import CLASSIFIER_ROWS, SPAN_ROWS, Seq2SeqClassifier, Seq2SeqQuestionAnswerer
from tfmodels.modeling.language_model import Seq2SeqLM
from tfmodels.modeling.seq2seq import Seq2Seq


class LEDParts(Seq2Seq):
    """What LED's models are made of."""

    config_class: ClassVar[type] = LEDConfig
    encoder_inputs: ClassVar[tuple[str, ...]] = ENCODER_INPUTS
    left_out: ClassVar[tuple[str, ...]] = HEAD_PREFIXES
    token_tables: ClassVar[tuple[str, ...]] = TOKEN_TABLES
    landmarks = staticmethod(decoder_landmarks)
    harmless_tensors: ClassVar[tuple[str, ...]] = HARMLESS_TENSORS
    position_fields: ClassVar[tuple[str, ...]] = POSITION_FIELDS

    def resize_position_embeddings(self, **positions: int) -> None:
        """Repeat the learnt positions over and over, or cut them (Beltagy et al. 2020, section 5). Compile again.

        Args:
            **positions: `max_encoder_position_embeddings`, `max_decoder_position_embeddings`.

        Raises:
            ValueError: another name, or a number that is not positive.
        """
        tables = (self.encoder.embed_positions, self.decoder.embed_positions)
        config = resize_positions(self, dict(zip(POSITION_FIELDS, tables, strict=True)), positions)
        self._set_config(config)
        self.decoder.max_length = config.max_decoder_position_embeddings
        self.forget_compiled()

    def make_parts(self, policy: Any) -> None:
        """Create the embeddings, the encoder and the decoder."""
        self.shared = token_embedding(self.config, policy, "shared")
        self.encoder = LEDEncoder(self.config, embed_tokens=self.shared, dtype=policy, name="encoder")
        self.decoder = LEDDecoder(self.config, embed_tokens=self.shared, dtype=policy, name="decoder")
        self.decoder.build((None, None))


@keras.saving.register_keras_serializable("tfmodels")
class LEDModel(LEDParts):
    """LED without a head: the decoder's hidden states. Inputs, outputs and methods: see `Seq2Seq`.

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

    reference_name: ClassVar[str] = "LEDModel"

    @classmethod
    def weight_rows(cls, config: LEDConfig) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return body_rows("")


@keras.saving.register_keras_serializable("tfmodels")
class LEDForConditionalGeneration(LEDParts, Seq2SeqLM):
    """LED with a language-model head: long document in, text out (Beltagy et al. 2020, section 7).

    Inputs, outputs and methods: see `Seq2Seq` and `Seq2SeqLM`.

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

    reference_name: ClassVar[str] = "LEDForConditionalGeneration"
    head_prefixes: ClassVar[tuple[str, ...]] = ("final_logits_bias", "lm_head.")
    # Zeros at first and in the public models, and missing in TensorFlow files, which once held weights of layers alone.
    may_lack: ClassVar[tuple[str, ...]] = ("final_logits_bias",)

    @classmethod
    def weight_rows(cls, config: LEDConfig) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return language_model_rows(config)

    def make_head(self, policy: Any) -> None:
        """Create the head, and the bias that the reference adds to its logits."""
        self.make_lm_head(self.config.init_std, policy)
        self.final_logits_bias = self.add_weight(
            shape=(1, self.config.vocab_size), initializer="zeros", trainable=False, name="final_logits_bias"
        )

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """(..., E) -> (..., V)."""
        logits = self.unembedded(hidden_states, tied_kernel)
        return logits + keras.ops.cast(self.final_logits_bias[0], logits.dtype)

    def head_variables(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """What `logits` uses: trainable variables and others."""
        trainable, frozen = super().head_variables()
        return trainable, [*frozen, self.final_logits_bias]

    def resize_head(self, vocab_size: int) -> None:
        """Give the head another number of tokens; new ones have no bias."""
        super().resize_head(vocab_size)
        bias = np.asarray(self.final_logits_bias)[:, :vocab_size]
        missing = vocab_size - bias.shape[1]
        replace_weight(self, "final_logits_bias", np.pad(bias, ((0, 0), (0, missing))))


@keras.saving.register_keras_serializable("tfmodels")
class LEDForSequenceClassification(LEDParts, Seq2SeqClassifier):
    """LED with a classification head. Inputs, outputs and methods: see `Seq2Seq` and `Seq2SeqClassifier`.

    Args:
        config: an `LEDConfig` with `num_labels` and, where the labels do not tell, `problem_type`.
    """

    reference_name: ClassVar[str] = "LEDForSequenceClassification"

    @classmethod
    def weight_rows(cls, config: LEDConfig) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return [*body_rows(PREFIX), *CLASSIFIER_ROWS]

    def make_head(self, policy: Any) -> None:
        """Create the head."""
        self.make_classifier(self.config.init_std, policy)


@keras.saving.register_keras_serializable("tfmodels")
class LEDForQuestionAnswering(LEDParts, Seq2SeqQuestionAnswerer):
    """LED with a head that finds an answer's span. Inputs, outputs: see `Seq2Seq` and `Seq2SeqQuestionAnswerer`.

    Args:
        config: an `LEDConfig`.
    """

    reference_name: ClassVar[str] = "LEDForQuestionAnswering"

    @classmethod
    def weight_rows(cls, config: LEDConfig) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return [*body_rows(PREFIX), *SPAN_ROWS]

    def make_head(self, policy: Any) -> None:
        """Create the head."""
        self.make_span_head(self.config.init_std, policy)

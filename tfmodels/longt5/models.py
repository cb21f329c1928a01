"""LongT5's models."""

from typing import Any, ClassVar

import keras

from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightRule
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.decoder import LongT5Decoder
from tfmodels.longt5.encoder import ENCODER_INPUTS, LongT5Encoder, token_embedding
from tfmodels.longt5.weights import (
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


class LongT5Parts(Seq2Seq):
    """What LongT5's models are made of."""

    config_class: ClassVar[type] = LongT5Config
    encoder_inputs: ClassVar[tuple[str, ...]] = ENCODER_INPUTS
    left_out: ClassVar[tuple[str, ...]] = HEAD_PREFIXES
    token_tables: ClassVar[tuple[str, ...]] = TOKEN_TABLES
    landmarks = staticmethod(decoder_landmarks)
    harmless_tensors: ClassVar[tuple[str, ...]] = HARMLESS_TENSORS

    def make_parts(self, policy: Any) -> None:
        """Create the embeddings, the encoder and the decoder."""
        self.shared = token_embedding(self.config, policy, "shared")
        self.encoder = LongT5Encoder(self.config, embed_tokens=self.shared, dtype=policy, name="encoder")
        self.decoder = LongT5Decoder(self.config, embed_tokens=self.shared, dtype=policy, name="decoder")
        self.decoder.build((None, None))

    def head_stddev(self) -> float:
        """Standard deviation of the initial kernels of T5's small heads."""
        return self.config.initializer_factor * self.config.d_model**-0.5


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Model(LongT5Parts):
    """LongT5 without a head: the decoder's hidden states. Inputs, outputs and methods: see `Seq2Seq`.

    Args:
        config: a `LongT5Config`.

    >>> import numpy as np
    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> ids = np.ones((1, 10), "int32")
    >>> LongT5Model(config)(ids, decoder_input_ids=ids[:, :3])["last_hidden_state"].shape[1]
    3
    """

    reference_name: ClassVar[str] = "LongT5Model"

    @classmethod
    def weight_rows(cls, config: LongT5Config) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return body_rows(config, "")


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForConditionalGeneration(LongT5Parts, Seq2SeqLM):
    """LongT5 with a language-model head: long document in, text out (Guo et al. 2022).

    Inputs, outputs and methods: see `Seq2Seq` and `Seq2SeqLM`.

    Args:
        config: a `LongT5Config`.

    >>> import numpy as np
    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> model = LongT5ForConditionalGeneration(config)
    >>> np.asarray(model.generate(np.ones((1, 10), "int32"), max_new_tokens=4)).shape
    (1, 5)
    """

    reference_name: ClassVar[str] = "LongT5ForConditionalGeneration"
    head_prefixes: ClassVar[tuple[str, ...]] = ("lm_head.",)

    @classmethod
    def weight_rows(cls, config: LongT5Config) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return language_model_rows(config)

    def make_head(self, policy: Any) -> None:
        """Create the head."""
        self.make_lm_head(self.config.initializer_factor, policy)

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """(..., E) -> (..., V). Only a tied head scales its input."""
        if self.lm_head is None:
            hidden_states = hidden_states * self.config.d_model**-0.5
        return self.unembedded(hidden_states, tied_kernel)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForSequenceClassification(LongT5Parts, Seq2SeqClassifier):
    """LongT5 with T5's classification head. Inputs, outputs and methods: see `Seq2Seq` and `Seq2SeqClassifier`.

    The reference has no such class; the tensors are named as in its T5 of that name.

    Args:
        config: a `LongT5Config` with `num_labels` and, where the labels do not tell, `problem_type`.
    """

    reference_name: ClassVar[str] = "LongT5ForSequenceClassification"

    @classmethod
    def weight_rows(cls, config: LongT5Config) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return [*body_rows(config, PREFIX), *CLASSIFIER_ROWS]

    def make_head(self, policy: Any) -> None:
        """Create the head."""
        self.make_classifier(self.head_stddev(), policy)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForQuestionAnswering(LongT5Parts, Seq2SeqQuestionAnswerer):
    """LongT5 with a head that finds an answer's span. Inputs, outputs: see `Seq2Seq` and `Seq2SeqQuestionAnswerer`.

    The reference has no such class; the tensors are named as in its T5 of that name.

    Args:
        config: a `LongT5Config`.
    """

    reference_name: ClassVar[str] = "LongT5ForQuestionAnswering"

    @classmethod
    def weight_rows(cls, config: LongT5Config) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return [*body_rows(config, ""), *SPAN_ROWS]

    def make_head(self, policy: Any) -> None:
        """Create the head."""
        self.make_span_head(self.head_stddev(), policy)

"""LongT5's models: a backbone, and the heads on it."""

from typing import ClassVar

import keras

from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.decoder import LongT5Decoder
from tfmodels.longt5.encoder import ENCODER_INPUTS, LongT5Encoder
from tfmodels.longt5.modules import token_embedding
from tfmodels.longt5.weights import PREFIX, head_map, language_model_map, model_map
from tfmodels.modeling.family import Backbone
from tfmodels.modeling.heads import (
    CLASSIFICATION_RULES,
    SPAN_RULES,
    Seq2SeqForQuestionAnswering,
    Seq2SeqForSequenceClassification,
)
from tfmodels.modeling.language_model import Seq2SeqLM
from tfmodels.modeling.seq2seq import Seq2SeqModel


def _create(config: LongT5Config, policy: keras.DTypePolicy) -> tuple[keras.layers.Layer, LongT5Encoder, LongT5Decoder]:
    """Create the table of token embeddings, the encoder and the decoder."""
    shared = token_embedding(config, policy, "shared")
    encoder = LongT5Encoder(config, embed_tokens=shared, dtype=policy, name="encoder")
    return shared, encoder, LongT5Decoder(config, embed_tokens=shared, dtype=policy, name="decoder")


BACKBONE = Backbone(
    encoder_inputs=ENCODER_INPUTS,
    create=_create,
    head_stddev=lambda config: config.initializer_factor * config.d_model**-0.5,
)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Model(Seq2SeqModel):
    """LongT5 without a head: the decoder's hidden states. Inputs, outputs and methods: see `Seq2SeqModel`.

    Args:
        config: a `LongT5Config`.

    >>> import numpy as np
    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> ids = np.ones((1, 10), "int32")
    >>> LongT5Model(config)(ids, decoder_input_ids=ids[:, :3])["last_hidden_state"].shape[1]
    3
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LongT5Config

    @classmethod
    def weight_map(cls, config: LongT5Config) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return model_map(config)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForConditionalGeneration(Seq2SeqLM):
    """LongT5 with a language-model head: long document in, text out (Guo et al. 2022).

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqLM`.

    Args:
        config: a `LongT5Config`.

    >>> import numpy as np
    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> model = LongT5ForConditionalGeneration(config)
    >>> np.asarray(model.generate(np.ones((1, 10), "int32"), max_new_tokens=4)).shape
    (1, 5)
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LongT5Config

    @classmethod
    def weight_map(cls, config: LongT5Config) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return language_model_map(config)

    def head_stddev(self) -> float:
        """The standard deviation of an untied head's initial kernel."""
        return self.config.initializer_factor

    def logits(self, hidden_states: Tensor, tied_kernel: Tensor | None = None) -> Tensor:
        """(..., E) -> (..., V). A tied head scales its input."""
        if self.lm_head is None:
            hidden_states = hidden_states * self.config.d_model**-0.5
        return self._to_vocabulary(hidden_states, tied_kernel)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForSequenceClassification(Seq2SeqForSequenceClassification):
    """LongT5 with T5's classification head.

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqForSequenceClassification`.

    transformers has no such class; the tensors have the names of its T5 class with this head.

    Args:
        config: a `LongT5Config` with `num_labels` and, for labels of an ambiguous dtype, `problem_type`.
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LongT5Config

    @classmethod
    def weight_map(cls, config: LongT5Config) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return head_map(config, CLASSIFICATION_RULES, PREFIX)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5ForQuestionAnswering(Seq2SeqForQuestionAnswering):
    """LongT5 with a head that finds an answer's span.

    Inputs, outputs and methods: see `Seq2SeqModel` and `Seq2SeqForQuestionAnswering`.

    transformers has no such class; the tensors have the names of its T5 class with this head.

    Args:
        config: a `LongT5Config`.
    """

    backbone = BACKBONE
    config_class: ClassVar[type] = LongT5Config

    @classmethod
    def weight_map(cls, config: LongT5Config) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return head_map(config, SPAN_RULES, "")

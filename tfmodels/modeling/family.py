"""The two objects by which a family of models enters the library.

A `Backbone` is the family's part of every model: layers and positions. A `Family` lists the family's public classes.
Code over all families or all heads reads `tfmodels.auto.FAMILIES`, and no other file names a family.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.decoder import Decoder
from tfmodels.modeling.encoder import Encoder
from tfmodels.modeling.pretrained import PretrainedModel


@dataclass(frozen=True)
class Backbone:
    """The family's part of an encoder-decoder.

    Attributes:
        encoder_inputs: the family's inputs of the encoder, in the order of a list.
        create: (config, dtype policy) -> the table of token embeddings, the encoder and the decoder, in a model's name
            scope; encoder and table are built.
        head_stddev: config -> the standard deviation of a small head's initial kernels.
        position_fields: the config fields with the numbers of learned positions; empty without learned positions.
        resize_positions: (model, {field: new number}) -> None, changes the tables and the config; None without learned
            positions.
    """

    encoder_inputs: tuple[str, ...]
    create: Callable[[Any, keras.DTypePolicy], tuple[keras.layers.Layer, Encoder, Decoder]]
    head_stddev: Callable[[Any], float]
    position_fields: tuple[str, ...] = ()
    resize_positions: Callable[[Any, dict[str, int]], None] | None = None


@dataclass(frozen=True)
class Family:
    """The public classes of a family.

    Attributes:
        model_type: the key of `config.json` by which transformers names the family.
        config: the config class.
        tokenizer: the tokenizer class.
        encoder: the encoder class.
        models: the model class of each head that the family has: "none", "language_model", "sequence_classification",
            "question_answering".
        variants: {name such as "led": config fields} for each variant of the architecture; at least one.
        sizes: config fields of small models to train from scratch, by name, shared by all variants: "tiny" trains in
            minutes, "small" in hours. Such models underfit, so they need no dropout.
        minimal: config fields of a model that is created in a moment, for tests and examples.
    """

    model_type: str
    config: type[ModelConfig]
    tokenizer: type
    encoder: type[Encoder]
    models: Mapping[str, type[PretrainedModel]]
    variants: Mapping[str, Mapping[str, Any]]
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    minimal: Mapping[str, Any] = field(default_factory=dict)

    def model_named(self, architectures: Sequence[str] | None) -> type[PretrainedModel]:
        """The class named in the `architectures` of a `config.json`; by default the language model."""
        named = [model for model in self.models.values() if model.__name__ in (architectures or ())]
        with_head = [model for model in named if model is not self.models.get("none")]
        return (with_head or [self.models["language_model"]])[0]

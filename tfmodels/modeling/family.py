"""The two objects by which a family of models enters the library.

A `Backbone` is the family's part of every model: its config, layers and positions. A `Family` lists the family's public
classes; whoever needs "all families" or "all heads" reads `tfmodels.auto.FAMILIES`, and no other file names a family.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras


@dataclass(frozen=True)
class Backbone:
    """The family's part of an encoder-decoder.

    Attributes:
        encoder_inputs: the encoder's inputs that the family has, in the order of a list.
        create: (config, dtype policy) -> the table of token embeddings, the encoder and the decoder, in a model's name
            scope; encoder and table are built.
        head_stddev: standard deviation of the initial kernels of a small head, from the config.
        position_fields: fields of the config that say how many positions are learnt; none: positions are not learnt.
        resize_positions: (model, new numbers by field) -> changes the tables and the config; with learnt positions.
    """

    encoder_inputs: tuple[str, ...]
    create: Callable[[Any, Any], tuple[keras.layers.Layer, Any, Any]]
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
        encoder: the encoder, a model of its own.
        models: the model class of each head that the family has: "none", "language_model", "sequence_classification",
            "question_answering".
        variants: config fields of each kind of model that the family has, by a name such as "led"; one is enough.
        small: config fields of a small model that trains in minutes, shared by all variants. It underfits in that
            time, so that dropout would only slow it.
        tiny: config fields of a model that is built in a moment, for tests and examples.
    """

    model_type: str
    config: type
    tokenizer: type
    encoder: type
    models: Mapping[str, type]
    variants: Mapping[str, Mapping[str, Any]]
    small: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)

    def model_named(self, architectures: Any) -> type:
        """The class that a `config.json` names in `architectures`; without one, the language model."""
        named = [model for model in self.models.values() if model.__name__ in (architectures or ())]
        with_head = [model for model in named if model is not self.models.get("none")]
        return (with_head or [self.models["language_model"]])[0]

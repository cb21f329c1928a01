"""Small models to train from scratch, by name."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tfmodels.auto import FAMILIES
from training.examples import Example, spread

_LONGT5_TINY: dict[str, Any] = {
    "d_model": 128,
    "d_kv": 32,
    "d_ff": 256,
    "num_layers": 2,
    "num_heads": 4,
    "local_radius": 63,
    # Trained for minutes, they underfit: dropout would only slow them.
    "dropout_rate": 0.0,
    "feed_forward_proj": "gated-gelu",
}
_LED_TINY: dict[str, Any] = {
    "d_model": 128,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    "decoder_ffn_dim": 256,
    "dropout": 0.0,
    "attention_window": 64,
    "max_global_tokens": 4,
    "max_encoder_position_embeddings": 4096,
    "max_decoder_position_embeddings": 256,
}


# A vocabulary is trained on all summaries, whose words the model must write, and on the heads of some documents.
_VOCABULARY_DOCUMENTS = 4000
_VOCABULARY_CHARACTERS = 600


def vocabulary_texts(examples: Sequence[Example]) -> list[str]:
    """The texts that a small model's vocabulary is trained on."""
    documents = [example.document for example in spread(examples, _VOCABULARY_DOCUMENTS)]
    return [example.summary for example in examples] + [text[:_VOCABULARY_CHARACTERS] for text in documents]


@dataclasses.dataclass(frozen=True)
class Preset:
    """A family and the config fields of a model in it; the vocabulary is trained with it."""

    family: str
    fields: Mapping[str, Any]

    def create(self, examples: Sequence[Example], vocab_size: int, dtype: Any = None) -> tuple[Any, Any]:
        """A model with random weights, and a tokenizer trained on `examples`."""
        model_class, tokenizer_class = FAMILIES[self.family]
        tokenizer = tokenizer_class.train_from_iterator(vocabulary_texts(examples), vocab_size)
        config = model_class.config_class(vocab_size=tokenizer.vocab_size, **self.fields)
        return model_class(config, dtype=dtype), tokenizer


PRESETS: dict[str, Preset] = {
    "longt5-tglobal-tiny": Preset("longt5", {**_LONGT5_TINY, "encoder_attention_type": "transient-global"}),
    "longt5-local-tiny": Preset("longt5", {**_LONGT5_TINY, "encoder_attention_type": "local"}),
    "led-tiny": Preset("led", _LED_TINY),
}

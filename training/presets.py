"""Small models to train from scratch, by name."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tfmodels.auto import FAMILIES

_LONGT5_TINY: dict[str, Any] = {
    "d_model": 192,
    "d_kv": 48,
    "d_ff": 384,
    "num_layers": 2,
    "num_heads": 4,
    "local_radius": 63,
    "dropout_rate": 0.05,
    "feed_forward_proj": "gated-gelu",
}
_LED_TINY: dict[str, Any] = {
    "d_model": 192,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 512,
    "decoder_ffn_dim": 512,
    "dropout": 0.05,
    "attention_window": 128,
    "max_global_tokens": 4,
    "max_encoder_position_embeddings": 4096,
    "max_decoder_position_embeddings": 256,
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A family and the config fields of a model in it; the vocabulary is trained with it."""

    family: str
    fields: Mapping[str, Any]

    def create(self, texts: Iterable[str], vocab_size: int, dtype: Any = None) -> tuple[Any, Any]:
        """A model with random weights, and a tokenizer trained on `texts`."""
        model_class, tokenizer_class = FAMILIES[self.family]
        tokenizer = tokenizer_class.train_from_iterator(texts, vocab_size)
        config = model_class.config_class(vocab_size=tokenizer.vocab_size, **self.fields)
        return model_class(config, dtype=dtype), tokenizer


PRESETS: dict[str, Preset] = {
    "longt5-tglobal-tiny": Preset("longt5", {**_LONGT5_TINY, "encoder_attention_type": "transient-global"}),
    "longt5-local-tiny": Preset("longt5", {**_LONGT5_TINY, "encoder_attention_type": "local"}),
    "led-tiny": Preset("led", _LED_TINY),
}

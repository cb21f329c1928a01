"""Long-document encoder-decoders in Keras: LED and LongT5.

A public name is imported on first use (PEP 562): `import tfmodels` alone costs next to nothing beside `import keras`,
and a model needs no tokenizer library and, under the JAX backend, no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tfmodels.backend.saved_classes import announce_saved_classes

if TYPE_CHECKING:
    from tfmodels.backend.adamw import AdamW
    from tfmodels.backend.kept_programs import keep_programs
    from tfmodels.generation.config import GenerationConfig
    from tfmodels.layers.attention.longformer_self_attention import LongformerSelfAttention
    from tfmodels.layers.attention.longt5_local_self_attention import LongT5LocalSelfAttention
    from tfmodels.layers.attention.longt5_transient_global_self_attention import LongT5TransientGlobalSelfAttention
    from tfmodels.led.config import LEDConfig
    from tfmodels.led.encoder import LEDEncoder
    from tfmodels.led.models import (
        LEDForConditionalGeneration,
        LEDForQuestionAnswering,
        LEDForSequenceClassification,
        LEDModel,
    )
    from tfmodels.led.tokenizer import LEDTokenizer
    from tfmodels.longt5.config import LongT5Config
    from tfmodels.longt5.encoder import LongT5Encoder, LongT5EncoderModel
    from tfmodels.longt5.models import (
        LongT5ForConditionalGeneration,
        LongT5ForQuestionAnswering,
        LongT5ForSequenceClassification,
        LongT5Model,
    )
    from tfmodels.longt5.tokenizer import LongT5Tokenizer
    from tfmodels.modeling.heads import best_spans
    from tfmodels.text.offsets import answer_positions

__version__ = "0.1.0"

__all__ = [
    "AdamW",
    "GenerationConfig",
    "LEDConfig",
    "LEDEncoder",
    "LEDForConditionalGeneration",
    "LEDForQuestionAnswering",
    "LEDForSequenceClassification",
    "LEDModel",
    "LEDTokenizer",
    "LongT5Config",
    "LongT5Encoder",
    "LongT5EncoderModel",
    "LongT5ForConditionalGeneration",
    "LongT5ForQuestionAnswering",
    "LongT5ForSequenceClassification",
    "LongT5LocalSelfAttention",
    "LongT5Model",
    "LongT5Tokenizer",
    "LongT5TransientGlobalSelfAttention",
    "LongformerSelfAttention",
    "answer_positions",
    "best_spans",
    "keep_programs",
]

_MODULES = {
    "AdamW": "tfmodels.backend.adamw",
    "GenerationConfig": "tfmodels.generation.config",
    "LEDConfig": "tfmodels.led.config",
    "LEDEncoder": "tfmodels.led.encoder",
    "LEDForConditionalGeneration": "tfmodels.led.models",
    "LEDForQuestionAnswering": "tfmodels.led.models",
    "LEDForSequenceClassification": "tfmodels.led.models",
    "LEDModel": "tfmodels.led.models",
    "LEDTokenizer": "tfmodels.led.tokenizer",
    "LongT5Config": "tfmodels.longt5.config",
    "LongT5Encoder": "tfmodels.longt5.encoder",
    "LongT5EncoderModel": "tfmodels.longt5.encoder",
    "LongT5ForConditionalGeneration": "tfmodels.longt5.models",
    "LongT5ForQuestionAnswering": "tfmodels.longt5.models",
    "LongT5ForSequenceClassification": "tfmodels.longt5.models",
    "LongT5LocalSelfAttention": "tfmodels.layers.attention.longt5_local_self_attention",
    "LongT5Model": "tfmodels.longt5.models",
    "LongT5Tokenizer": "tfmodels.longt5.tokenizer",
    "LongT5TransientGlobalSelfAttention": "tfmodels.layers.attention.longt5_transient_global_self_attention",
    "LongformerSelfAttention": "tfmodels.layers.attention.longformer_self_attention",
    "answer_positions": "tfmodels.text.offsets",
    "best_spans": "tfmodels.modeling.heads",
    "keep_programs": "tfmodels.backend.kept_programs",
}

# Public by their folder's name.
_FOLDERS = ("distribution",)

# By module: the classes that Keras' files name.
_SAVED_CLASSES = {
    "tfmodels.backend.initializers": ("Normal",),
    "tfmodels.layers.attention.cached_attention": ("CachedAttention",),
    "tfmodels.layers.attention.longformer_self_attention": ("LongformerSelfAttention",),
    "tfmodels.layers.attention.longt5_local_self_attention": ("LongT5LocalSelfAttention",),
    "tfmodels.layers.attention.longt5_transient_global_self_attention": ("LongT5TransientGlobalSelfAttention",),
    "tfmodels.layers.attention.relative_position": ("RelativePositionBias",),
    "tfmodels.layers.feed_forward": ("FeedForward",),
    "tfmodels.layers.normalization": ("ScaledRMSNormalization",),
    "tfmodels.led.decoder": ("LEDDecoder",),
    "tfmodels.led.encoder": ("LEDEncoder",),
    "tfmodels.led.models": (
        "LEDForConditionalGeneration",
        "LEDForQuestionAnswering",
        "LEDForSequenceClassification",
        "LEDModel",
    ),
    "tfmodels.led.modules": ("PaddedNormal",),
    "tfmodels.led.tokenizer": ("LEDTokenizer",),
    "tfmodels.longt5.decoder": ("LongT5Decoder",),
    "tfmodels.longt5.encoder": ("LongT5Encoder",),
    "tfmodels.longt5.models": (
        "LongT5ForConditionalGeneration",
        "LongT5ForQuestionAnswering",
        "LongT5ForSequenceClassification",
        "LongT5Model",
    ),
    "tfmodels.longt5.tokenizer": ("LongT5Tokenizer",),
    "tfmodels.text.layers": ("DetokenizerLayer", "TokenizerLayer"),
}


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return importlib.import_module(f"tfmodels.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_FOLDERS})


announce_saved_classes("tfmodels", _SAVED_CLASSES)

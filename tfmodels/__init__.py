"""Long-document encoder-decoders in Keras: LED and LongT5."""

from tfmodels.generation import GenerationConfig
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
from tfmodels.text.offsets import answer_positions

__version__ = "0.1.0"

__all__ = [
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
]

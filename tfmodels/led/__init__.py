"""LED: the Longformer encoder-decoder (Beltagy et al. 2020)."""

from tfmodels.led.config import LEDConfig
from tfmodels.led.encoder import LEDEncoder
from tfmodels.led.models import (
    LEDForConditionalGeneration,
    LEDForQuestionAnswering,
    LEDForSequenceClassification,
    LEDModel,
)
from tfmodels.led.tokenizer import LEDTokenizer
from tfmodels.modeling.family import Family

FAMILY = Family(
    model_type="led",
    config=LEDConfig,
    tokenizer=LEDTokenizer,
    encoder=LEDEncoder,
    models={
        "none": LEDModel,
        "language_model": LEDForConditionalGeneration,
        "sequence_classification": LEDForSequenceClassification,
        "question_answering": LEDForQuestionAnswering,
    },
    variants={"led": {}},
    sizes={
        "tiny": {
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
        },
        "small": {
            "d_model": 192,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 6,
            "decoder_attention_heads": 6,
            "encoder_ffn_dim": 512,
            "decoder_ffn_dim": 512,
            "dropout": 0.0,
            "attention_window": 128,
            "max_global_tokens": 4,
            "max_encoder_position_embeddings": 2048,
            "max_decoder_position_embeddings": 128,
        },
    },
    minimal={
        "vocab_size": 90,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "attention_window": [8, 16],
        "max_encoder_position_embeddings": 160,
        "max_decoder_position_embeddings": 32,
    },
)

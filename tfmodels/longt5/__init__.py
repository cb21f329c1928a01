"""LongT5: T5 for long documents (Guo et al. 2022)."""

from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.encoder import LongT5Encoder
from tfmodels.longt5.models import (
    LongT5ForConditionalGeneration,
    LongT5ForQuestionAnswering,
    LongT5ForSequenceClassification,
    LongT5Model,
)
from tfmodels.longt5.tokenizer import LongT5Tokenizer
from tfmodels.modeling.family import Family

FAMILY = Family(
    model_type="longt5",
    config=LongT5Config,
    tokenizer=LongT5Tokenizer,
    encoder=LongT5Encoder,
    models={
        "none": LongT5Model,
        "language_model": LongT5ForConditionalGeneration,
        "sequence_classification": LongT5ForSequenceClassification,
        "question_answering": LongT5ForQuestionAnswering,
    },
    variants={
        "longt5-tglobal": {"encoder_attention_type": "transient-global"},
        "longt5-local": {"encoder_attention_type": "local"},
    },
    sizes={
        "tiny": {
            "d_model": 128,
            "d_kv": 32,
            "d_ff": 256,
            "num_layers": 2,
            "num_heads": 4,
            "local_radius": 63,
            "dropout_rate": 0.0,
            "feed_forward_proj": "gated-gelu",
        },
        "small": {
            "d_model": 192,
            "d_kv": 32,
            "d_ff": 384,
            "num_layers": 2,
            "num_heads": 6,
            "local_radius": 63,
            "dropout_rate": 0.0,
            "feed_forward_proj": "gated-gelu",
        },
    },
    minimal={
        "vocab_size": 90,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "local_radius": 7,
        "global_block_size": 4,
        "decoder_start_token_id": 0,
    },
)

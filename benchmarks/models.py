"""The models and inputs that both sides of every benchmark share. Needs NumPy alone."""

from typing import Any

import numpy as np

LED = {
    "vocab_size": 50265,
    "d_model": 768,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "attention_window": 1024,
    "max_encoder_position_embeddings": 16384,
    "max_decoder_position_embeddings": 1024,
}
LONGT5 = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "local_radius": 127,
    "global_block_size": 16,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
TINY = {
    "LED": {
        "vocab_size": 90,
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "attention_window": 16,
    },
    "LongT5": {
        "vocab_size": 90,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
        "local_radius": 7,
        "global_block_size": 4,
    },
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "led": ("LED", LED),
    "longt5-tglobal": ("LongT5", {**LONGT5, "encoder_attention_type": "transient-global"}),
    "longt5-local": ("LongT5", {**LONGT5, "encoder_attention_type": "local"}),
}
SIZES = ("base", "tiny")
SHRINK = 64
"""How many times shorter the documents are at the size "tiny"."""
TARGET_LENGTHS = {"base": 256, "tiny": 8}
NEW_TOKENS = {"base": 64, "tiny": 4}
GLOBAL_TOKENS = 1
_FIRST_WORD_ID = 5


def class_name(family: str, suffix: str) -> str:
    """A class of the family, of the same name in both libraries.

    >>> class_name("longt5-local", "Config")
    'LongT5Config'
    """
    return FAMILIES[family][0] + suffix


def config_fields(family: str, size: str, length: int, half_window: bool = False) -> dict[str, Any]:
    """Fields of the config, which both libraries take.

    Args:
        family: a name in `FAMILIES`.
        size: "base" or "tiny".
        length: tokens of the longest document; LED gets the positions for it.
        half_window: let a token see half as far.
    """
    name, base = FAMILIES[family]
    fields = dict(base)
    if size == "tiny":
        fields |= TINY[name]
    if name == "LED":
        fields["max_encoder_position_embeddings"] = max(length, fields["max_encoder_position_embeddings"])
    if half_window and name == "LED":
        fields["attention_window"] //= 2
    elif half_window:
        # Blocks are one token longer than the radius.
        fields["local_radius"] = (fields["local_radius"] + 1) // 2 - 1
    return fields


def make_encoded(family: str, size: str, length: int, batch: int = 1) -> dict[str, np.ndarray]:
    """Documents as an encoder leaves them, made up: as large as after a norm, and the same for both sides.

    Not encoded, which would take longer than the search and, since TensorFlow keeps memory, count as the search's. How
    long a search takes does not depend on the numbers.

    Returns:
        float32 "states" (batch, length, E), and int32 "attention_mask" (batch, length) without padding.
    """
    width = config_fields(family, size, length)["d_model"]
    states = np.random.default_rng(0).standard_normal((batch, length, width), "float32")
    return {"states": states, "attention_mask": np.ones((batch, length), "int32")}


def window_field(family: str) -> str:
    """The field that says how far a token sees."""
    return "attention_window" if family == "led" else "local_radius"


def make_inputs(family: str, size: str, length: int, batch: int = 1, labels: bool = False) -> dict[str, np.ndarray]:
    """Documents of random words without padding, the first token global for LED, and random labels on request.

    Returns:
        int32 "input_ids", "attention_mask", (LED) "global_attention_mask" (batch, length), and "labels" (batch, T).
    """
    generator = np.random.default_rng(0)
    words = config_fields(family, size, length)["vocab_size"]
    ids = generator.integers(_FIRST_WORD_ID, words, (batch, length)).astype("int32")
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if family == "led":
        is_global = (np.arange(length) < GLOBAL_TOKENS).astype("int32")
        inputs["global_attention_mask"] = np.tile(is_global, (batch, 1))
    if labels:
        shape = batch, TARGET_LENGTHS[size]
        inputs["labels"] = generator.integers(_FIRST_WORD_ID, words, shape).astype("int32")
    return inputs

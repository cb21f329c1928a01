"""The models and inputs that both sides of every benchmark share. Needs NumPy alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

GLOBAL_TOKEN_KEYS = "global tokens"
SUMMARY_KEYS = "summaries"


@dataclass(frozen=True)
class StackFields:
    """The config fields with the sizes of an encoder or a decoder: layers, attention heads, feed-forward width."""

    layers: str
    heads: str
    hidden_size: str


@dataclass(frozen=True)
class Family:
    """A kind of model, described by the names of its config fields, which both libraries share.

    Attributes:
        class_prefix: the beginning of the classes' names in both libraries.
        base, tiny: config fields of the size "base", and changes of them for "tiny".
        encoder, decoder: names of the fields with their sizes.
        window_field: the field with the window, as the width of both sides (`window_is_width`) or as a radius.
        position_field: the field with the number of learned positions of the encoder; None: no learned positions.
        head_size_field: the field with the size of a head; None: the model size over the heads.
        gate_field: the field that begins with "gated-" for a gated feed-forward part; None: never gated.
        side_keys: `GLOBAL_TOKEN_KEYS`, `SUMMARY_KEYS` or None.
        rest_of_attention: the parts of a self-attention layer that a profile computes by difference.
    """

    class_prefix: str
    base: Mapping[str, Any]
    tiny: Mapping[str, Any]
    encoder: StackFields
    decoder: StackFields
    window_field: str
    window_is_width: bool
    rest_of_attention: str
    position_field: str | None = None
    head_size_field: str | None = None
    gate_field: str | None = None
    side_keys: str | None = None

    def inner_size(self, fields: Mapping[str, Any], stack: StackFields) -> int:
        """Heads times head size."""
        size = self.head_size_field
        return fields["d_model"] if size is None else fields[stack.heads] * fields[size]

    def feed_forward_matrices(self, fields: Mapping[str, Any]) -> int:
        """3 for a gated feed-forward part, 2 otherwise."""
        return 3 if self.gate_field is not None and fields[self.gate_field].startswith("gated-") else 2

    def radius(self, fields: Mapping[str, Any]) -> int:
        """The tokens that a token sees to either side."""
        window = fields[self.window_field]
        return window // 2 if self.window_is_width else window

    def half_window(self, fields: Mapping[str, Any]) -> int:
        """The value of the window field for a window of half the size."""
        window = fields[self.window_field]
        # Blocks of a window given as a radius are one token longer than the radius.
        return window // 2 if self.window_is_width else (window + 1) // 2 - 1


_LED = Family(
    class_prefix="LED",
    base={
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
    },
    tiny={
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
    encoder=StackFields("encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"),
    decoder=StackFields("decoder_layers", "decoder_attention_heads", "decoder_ffn_dim"),
    window_field="attention_window",
    window_is_width=True,
    position_field="max_encoder_position_embeddings",
    side_keys=GLOBAL_TOKEN_KEYS,
    rest_of_attention="global rows, masks, reshapes",
)


def _long_t5(attention_type: str, side_keys: str | None, rest_of_attention: str) -> Family:
    sizes = StackFields("num_layers", "num_heads", "d_ff")
    return Family(
        class_prefix="LongT5",
        base={
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
            "encoder_attention_type": attention_type,
        },
        tiny={
            "vocab_size": 90,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 1,
            "num_heads": 4,
            "local_radius": 7,
            "global_block_size": 4,
        },
        encoder=sizes,
        decoder=sizes,
        window_field="local_radius",
        window_is_width=False,
        head_size_field="d_kv",
        gate_field="feed_forward_proj",
        side_keys=side_keys,
        rest_of_attention=rest_of_attention,
    )


FAMILIES: dict[str, Family] = {
    "led": _LED,
    "longt5-tglobal": _long_t5("transient-global", SUMMARY_KEYS, "summaries, reshapes, dropout"),
    "longt5-local": _long_t5("local", None, "reshapes, dropout"),
}
SIZES = ("base", "tiny")
SHRINK = 64
"""The factor by which documents are shorter at the size "tiny"."""
TARGET_LENGTHS = {"base": 256, "tiny": 8}
NEW_TOKENS = {"base": 64, "tiny": 4}
GLOBAL_TOKENS = 1
_FIRST_WORD_ID = 5


def class_name(family: str, suffix: str) -> str:
    """A class of the family, of the same name in both libraries.

    >>> class_name("longt5-local", "Config")
    'LongT5Config'
    """
    return FAMILIES[family].class_prefix + suffix


def config_fields(family: str, size: str, length: int, half_window: bool = False) -> dict[str, Any]:
    """The config fields, which both libraries take.

    Args:
        family: a name in `FAMILIES`.
        size: "base" or "tiny".
        length: tokens of the longest document; learned positions reach at least as far.
        half_window: halve the window.
    """
    model = FAMILIES[family]
    fields = {**model.base, **(model.tiny if size == "tiny" else {})}
    if model.position_field is not None:
        fields[model.position_field] = max(length, fields[model.position_field])
    if half_window:
        fields[model.window_field] = model.half_window(fields)
    return fields


def make_encoded(family: str, size: str, length: int, batch: int = 1) -> dict[str, np.ndarray]:
    """Random encoder outputs, as large as after a norm, and the same for both sides.

    Encoding would take longer than the search, and its memory, which TensorFlow keeps, would count as the search's. The
    time of a search is independent of the numbers.

    Returns:
        float32 "states" (batch, length, E), and int32 "attention_mask" (batch, length) without padding.
    """
    width = config_fields(family, size, length)["d_model"]
    states = np.random.default_rng(0).standard_normal((batch, length, width), "float32")
    return {"states": states, "attention_mask": np.ones((batch, length), "int32")}


def make_inputs(family: str, size: str, length: int, batch: int = 1, labels: bool = False) -> dict[str, np.ndarray]:
    """Documents of random words without padding, and random labels on request; if the family has global tokens, the
    first token is global.

    Returns:
        int32 "input_ids", "attention_mask", with global tokens "global_attention_mask" (batch, length), and "labels"
        (batch, T).
    """
    generator = np.random.default_rng(0)
    words = config_fields(family, size, length)["vocab_size"]
    ids = generator.integers(_FIRST_WORD_ID, words, (batch, length)).astype("int32")
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if FAMILIES[family].side_keys == GLOBAL_TOKEN_KEYS:
        is_global = (np.arange(length) < GLOBAL_TOKENS).astype("int32")
        inputs["global_attention_mask"] = np.tile(is_global, (batch, 1))
    if labels:
        shape = batch, TARGET_LENGTHS[size]
        inputs["labels"] = generator.integers(_FIRST_WORD_ID, words, shape).astype("int32")
    return inputs

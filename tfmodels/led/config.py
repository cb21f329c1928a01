"""Configuration of LED."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from tfmodels.layers.feed_forward import activation_function
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.config_keys import SAME_ACTIVATIONS, resolved
from tfmodels.utils.checks import check_divides, check_even_positive, check_not_negative, check_positive, check_rate

DEFAULT_SLOTS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class LEDConfig(ModelConfig):
    """Sizes and settings of an LED model (Beltagy et al. 2020, section 7), under the reference's names and defaults.

    `attention_window` is one width for all encoder layers or one per layer, both sides of the window together.
    `max_global_tokens` is ours: the slots for global tokens (see `LongformerSelfAttention`).

    Raises:
        ValueError: a field out of range.

    >>> LEDConfig(encoder_layers=2, attention_window=[8, 16]).attention_windows
    (8, 16)
    """

    model_type: ClassVar[str] = "led"
    ids_of_reference: ClassVar[tuple[str, ...]] = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
    aliases: ClassVar[Mapping[str, str]] = {
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "attention_probs_dropout_prob": "attention_dropout",
        "initializer_range": "init_std",
    }

    vocab_size: int = 50265
    max_encoder_position_embeddings: int = 16384
    max_decoder_position_embeddings: int = 1024
    d_model: int = 1024
    encoder_layers: int = 12
    encoder_ffn_dim: int = 4096
    encoder_attention_heads: int = 16
    decoder_layers: int = 12
    decoder_ffn_dim: int = 4096
    decoder_attention_heads: int = 16
    activation_function: str = "gelu"
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    classifier_dropout: float = 0.0
    encoder_layerdrop: float = 0.0
    decoder_layerdrop: float = 0.0
    tie_word_embeddings: bool = True
    attention_window: int | list[int] | tuple[int, ...] = 512
    max_global_tokens: int = DEFAULT_SLOTS
    pad_token_id: int = 1
    bos_token_id: int = 0
    eos_token_id: int = 2
    decoder_start_token_id: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "vocab_size",
            "max_encoder_position_embeddings",
            "max_decoder_position_embeddings",
            "d_model",
            "encoder_layers",
            "encoder_ffn_dim",
            "encoder_attention_heads",
            "decoder_layers",
            "decoder_ffn_dim",
            "decoder_attention_heads",
        ):
            check_positive(name, getattr(self, name))
        for name in (
            "dropout",
            "attention_dropout",
            "activation_dropout",
            "classifier_dropout",
            "encoder_layerdrop",
            "decoder_layerdrop",
        ):
            check_rate(name, getattr(self, name))
        check_not_negative("init_std", self.init_std)
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            check_divides(name, getattr(self, name), "d_model", self.d_model)
        most = max(DEFAULT_SLOTS, self.max_encoder_position_embeddings)
        if not 0 <= self.max_global_tokens <= most:
            raise ValueError(
                f"max_global_tokens must be from 0 to {most}. Received: max_global_tokens={self.max_global_tokens!r}"
            )
        activation_function(self.activation_function)
        window = self.attention_window
        widest = 2 * self.max_encoder_position_embeddings
        for width in window if isinstance(window, (list, tuple)) else [window]:
            check_even_positive("attention_window", width, received=window)
            if width > widest:
                raise ValueError(
                    f"attention_window must be at most 2 * max_encoder_position_embeddings={widest}. "
                    f"Received: attention_window={window!r:.80}"
                )
        if isinstance(window, (list, tuple)) and len(window) != self.encoder_layers:
            raise ValueError(
                f"attention_window must be one number or one for each of encoder_layers={self.encoder_layers}. "
                f"Received: attention_window={window}"
            )

    @classmethod
    def resolved_keys(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The keys under the fields' own names, and remarks."""
        found, told = resolved(values, cls.aliases)
        # transformers writes it and compares it with the list of windows; `encoder_layers` is what it builds.
        number, layers = found.pop("num_hidden_layers", None), found.get("encoder_layers", cls.encoder_layers)
        if number not in (None, layers):
            told.append(f"num_hidden_layers={number!r:.80}: encoder_layers={layers!r:.80} is followed")
        name = found.get("activation_function")
        if isinstance(name, str):
            found["activation_function"] = SAME_ACTIVATIONS.get(name, name)
        return found, told

    @property
    def hidden_size(self) -> int:
        """The reference's other name of `d_model`."""
        return self.d_model

    @property
    def num_hidden_layers(self) -> int:
        """The reference's other name of `encoder_layers`."""
        return self.encoder_layers

    @property
    def num_attention_heads(self) -> int:
        """The reference's other name of `encoder_attention_heads`."""
        return self.encoder_attention_heads

    def min_parameters(self, with_decoder: bool) -> int:
        """Numbers in the matrices of a model's body: what a file must hold at least, whatever its head."""
        width = self.d_model
        left_out = sum(map(len, self.pruned_heads.values())) * (width // self.encoder_attention_heads)
        # Six projections of the attention and its output; two of the feed-forward part.
        total = self.encoder_layers * (7 * width * width + 2 * width * self.encoder_ffn_dim) - 7 * width * left_out
        total += self.vocab_size * width + self.max_encoder_position_embeddings * width
        if with_decoder:
            total += self.decoder_layers * (8 * width * width + 2 * width * self.decoder_ffn_dim)
            total += self.max_decoder_position_embeddings * width
        return total

    @property
    def encoder_sizes(self) -> tuple[int, int]:
        """Layers of the encoder, and heads in each."""
        return self.encoder_layers, self.encoder_attention_heads

    @property
    def attention_windows(self) -> tuple[int, ...]:
        """The window of each encoder layer."""
        if isinstance(self.attention_window, (list, tuple)):
            return tuple(self.attention_window)
        return (self.attention_window,) * self.encoder_layers

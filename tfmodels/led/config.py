"""Configuration of LED."""

import dataclasses
from typing import ClassVar

from tfmodels.layers.checks import check_divides, check_even_positive, check_positive, check_rate
from tfmodels.layers.feed_forward import activation_function
from tfmodels.model_config import ModelConfig


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
    architecture: ClassVar[str] = "LEDForConditionalGeneration"

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
    attention_window: int | list[int] | tuple[int, ...] = 512
    max_global_tokens: int = 64
    pad_token_id: int = 1
    bos_token_id: int = 0
    eos_token_id: int = 2
    decoder_start_token_id: int = 2

    def __post_init__(self) -> None:
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
        for name in ("dropout", "attention_dropout", "activation_dropout"):
            check_rate(name, getattr(self, name))
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            check_divides(name, getattr(self, name), "d_model", self.d_model)
        if not isinstance(self.max_global_tokens, int) or self.max_global_tokens < 0:
            raise ValueError(
                f"max_global_tokens must be 0 or more. Received: max_global_tokens={self.max_global_tokens!r}"
            )
        activation_function(self.activation_function)
        for window in self.attention_windows:
            check_even_positive("attention_window", window, received=self.attention_window)
        if len(self.attention_windows) != self.encoder_layers:
            raise ValueError(
                f"attention_window must be one number or one for each of encoder_layers={self.encoder_layers}. "
                f"Received: attention_window={self.attention_window}"
            )

    @property
    def attention_windows(self) -> tuple[int, ...]:
        """The window of each encoder layer."""
        if isinstance(self.attention_window, (list, tuple)):
            return tuple(self.attention_window)
        return (self.attention_window,) * self.encoder_layers

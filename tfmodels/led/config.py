"""Configuration of LED."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from tfmodels.layers.feed_forward import activation_function
from tfmodels.modeling.config import FieldCheck, ModelConfig
from tfmodels.modeling.config_keys import SAME_ACTIVATIONS, resolved
from tfmodels.utils.checks import check_divides, check_even_positive, check_not_negative, check_positive, check_rate

DEFAULT_SLOTS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class LEDConfig(ModelConfig):
    """Sizes and settings of an LED model (Beltagy et al. 2020, section 7), under transformers' names and defaults.

    `attention_window` is one width for all encoder layers or one per layer, both sides of the window together.
    `max_global_tokens`, unknown to transformers, is the number of slots for global tokens (see
    `LongformerSelfAttention`).

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
    field_checks: ClassVar[Mapping[str, FieldCheck]] = {
        "vocab_size": check_positive,
        "max_encoder_position_embeddings": check_positive,
        "max_decoder_position_embeddings": check_positive,
        "d_model": check_positive,
        "encoder_layers": check_positive,
        "encoder_ffn_dim": check_positive,
        "encoder_attention_heads": check_positive,
        "decoder_layers": check_positive,
        "decoder_ffn_dim": check_positive,
        "decoder_attention_heads": check_positive,
        "dropout": check_rate,
        "attention_dropout": check_rate,
        "activation_dropout": check_rate,
        "classifier_dropout": check_rate,
        "encoder_layerdrop": check_rate,
        "decoder_layerdrop": check_rate,
        "init_std": check_not_negative,
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
        for name in ("encoder_attention_heads", "decoder_attention_heads"):
            check_divides(name, getattr(self, name), "d_model", self.d_model)
        most = max(DEFAULT_SLOTS, self.max_encoder_position_embeddings)
        if not 0 <= self.max_global_tokens <= most:
            raise ValueError(
                f"max_global_tokens must be from 0 to {most}. Received: max_global_tokens={self.max_global_tokens!r}"
            )
        activation_function(self.activation_function)
        self._check_windows()

    def _check_windows(self) -> None:
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
        """The keys of a `config.json` under the names of the fields, and remarks on keys that are not followed."""
        fields, remarks = resolved(values, cls.aliases)
        # transformers writes it and compares it with the list of windows, and builds `encoder_layers` layers.
        number, layers = fields.pop("num_hidden_layers", None), fields.get("encoder_layers", cls.encoder_layers)
        if number not in (None, layers):
            remarks.append(f"num_hidden_layers={number!r:.80}: encoder_layers={layers!r:.80} is followed")
        name = fields.get("activation_function")
        if isinstance(name, str):
            fields["activation_function"] = SAME_ACTIVATIONS.get(name, name)
        return fields, remarks

    @property
    def hidden_size(self) -> int:
        """transformers' second name of `d_model`."""
        return self.d_model

    @property
    def num_hidden_layers(self) -> int:
        """transformers' second name of `encoder_layers`."""
        return self.encoder_layers

    @property
    def num_attention_heads(self) -> int:
        """transformers' second name of `encoder_attention_heads`."""
        return self.encoder_attention_heads

    def min_parameters(self, with_decoder: bool) -> int:
        """The count of numbers in the matrices of a model's body, the least that a file with any head holds."""
        width = self.d_model
        pruned = sum(map(len, self.pruned_heads.values())) * (width // self.encoder_attention_heads)
        # Six projections of the attention and its output; two of the feed-forward part.
        total = self.encoder_layers * (7 * width * width + 2 * width * self.encoder_ffn_dim) - 7 * width * pruned
        total += self.vocab_size * width + self.max_encoder_position_embeddings * width
        if with_decoder:
            total += self.decoder_layers * (8 * width * width + 2 * width * self.decoder_ffn_dim)
            total += self.max_decoder_position_embeddings * width
        return total

    @property
    def encoder_sizes(self) -> tuple[int, int]:
        """The number of encoder layers, and of heads in each."""
        return self.encoder_layers, self.encoder_attention_heads

    @property
    def attention_windows(self) -> tuple[int, ...]:
        """The window of each encoder layer."""
        if isinstance(self.attention_window, (list, tuple)):
            return tuple(self.attention_window)
        return (self.attention_window,) * self.encoder_layers

"""Configuration of LongT5."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from tfmodels.layers.feed_forward import activation_function
from tfmodels.modeling.config import ModelConfig
from tfmodels.modeling.config_keys import SAME_ACTIVATIONS, resolved
from tfmodels.utils.checks import check_not_negative, check_positive, check_rate

WIDEST_BLOCK = 8192
"""A block of queries takes memory with the square of its width, however short the document is."""
ATTENTION_TYPES = ("local", "transient-global")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongT5Config(ModelConfig):
    """Sizes and settings of a LongT5 model (Guo et al. 2022), under the reference's names and defaults.

    The defaults are the reference class's, not those of the public checkpoints (12 layers of 768, gated-gelu, untied).

    Raises:
        ValueError: a field out of range.

    >>> LongT5Config(d_model=64, num_heads=2, d_kv=32).decoder_layers
    6
    """

    model_type: ClassVar[str] = "longt5"
    ids_of_reference: ClassVar[tuple[str, ...]] = ("pad_token_id", "eos_token_id")
    aliases: ClassVar[Mapping[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }

    vocab_size: int = 32128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2048
    num_layers: int = 6
    num_decoder_layers: int | None = None
    num_heads: int = 8
    local_radius: int = 127
    global_block_size: int = 16
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    dropout_rate: float = 0.1
    layer_norm_epsilon: float = 1e-6
    initializer_factor: float = 1.0
    feed_forward_proj: str = "relu"
    encoder_attention_type: str = "local"
    tie_word_embeddings: bool = True
    classifier_dropout: float = 0.0
    pad_token_id: int = 0
    eos_token_id: int = 1
    decoder_start_token_id: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            "vocab_size",
            "d_model",
            "d_kv",
            "d_ff",
            "num_layers",
            "num_heads",
            "local_radius",
            "global_block_size",
            "relative_attention_num_buckets",
            "relative_attention_max_distance",
            "decoder_layers",
        ):
            check_positive(name, getattr(self, name))
        for name in ("local_radius", "global_block_size"):
            if getattr(self, name) > WIDEST_BLOCK:
                raise ValueError(f"{name} must be at most {WIDEST_BLOCK}. Received: {name}={getattr(self, name)}")
        check_rate("dropout_rate", self.dropout_rate)
        check_rate("classifier_dropout", self.classifier_dropout)
        check_not_negative("initializer_factor", self.initializer_factor)
        check_not_negative("layer_norm_epsilon", self.layer_norm_epsilon)
        buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4 or distance <= buckets // 2:
            raise ValueError(
                "relative_attention_num_buckets must be at least 4 and relative_attention_max_distance above its half. "
                f"Received: {buckets} buckets, distance {distance}"
            )
        if self.encoder_attention_type not in ATTENTION_TYPES:
            raise ValueError(
                f"encoder_attention_type must be one of {ATTENTION_TYPES}. "
                f"Received: encoder_attention_type={self.encoder_attention_type!r}"
            )
        parts = self.feed_forward_proj.split("-")
        if len(parts) > 2 or (len(parts) == 2 and parts[0] != "gated"):
            raise ValueError(
                "feed_forward_proj must be an activation or 'gated-' and an activation. "
                f"Received: feed_forward_proj={self.feed_forward_proj!r}"
            )
        activation_function(self.activation)

    def min_parameters(self, with_decoder: bool) -> int:
        """Numbers in the matrices of a model's body: what a file must hold at least, whatever its head."""
        inner, width = self.num_heads * self.d_kv, self.d_model
        forward = (3 if self.is_gated else 2) * width * self.d_ff
        left_out = sum(map(len, self.pruned_heads.values())) * self.d_kv
        total = self.vocab_size * width + self.num_layers * (4 * width * inner + forward) - 4 * width * left_out
        return total + (self.decoder_layers * (8 * width * inner + forward) if with_decoder else 0)

    @classmethod
    def resolved_keys(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The keys under the fields' own names, and remarks."""
        found, told = resolved(values, cls.aliases)
        if "num_hidden_layers" in values and values.get("num_decoder_layers") is None:
            # transformers gives the decoder the layers that it read before the other name.
            found["num_decoder_layers"] = values.get("num_layers", cls.num_layers)
        name, is_gated = found.pop("dense_act_fn", None), found.pop("is_gated_act", None)
        form = found.get("feed_forward_proj", cls.feed_forward_proj)
        if isinstance(form, str) and (name is not None or is_gated is not None):
            found["feed_forward_proj"] = _feed_forward_of(form, name, is_gated)
        return found, told

    @property
    def hidden_size(self) -> int:
        """The reference's other name of `d_model`."""
        return self.d_model

    @property
    def num_hidden_layers(self) -> int:
        """The reference's other name of `num_layers`."""
        return self.num_layers

    @property
    def num_attention_heads(self) -> int:
        """The reference's other name of `num_heads`."""
        return self.num_heads

    @property
    def encoder_sizes(self) -> tuple[int, int]:
        """Layers of the encoder, and heads in each."""
        return self.num_layers, self.num_heads

    @property
    def decoder_layers(self) -> int:
        """Layers of the decoder: those of the encoder unless `num_decoder_layers` says otherwise."""
        return self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward parts are gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """Activation of the feed-forward parts; the reference reads gated-gelu as the tanh form."""
        name = self.feed_forward_proj.split("-")[-1]
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else SAME_ACTIVATIONS.get(name, name)


def _feed_forward_of(form: str, activation: Any, is_gated: Any) -> str:
    """The `feed_forward_proj` that says the same as the two keys into which transformers takes it apart.

    >>> _feed_forward_of("relu", "gelu_new", True), _feed_forward_of("gated-gelu", "gelu_new", True)
    ('gated-gelu_new', 'gated-gelu')
    """
    parts = form.split("-")
    gated = parts[0] == "gated" if is_gated is None else bool(is_gated)
    usual = "gelu_new" if form == "gated-gelu" else parts[-1]
    name = usual if activation is None else str(activation)
    if gated == (parts[0] == "gated") and name == usual:
        return form
    # "gated-gelu" means the tanh form; the exact one has another name, too.
    return f"gated-{'gelu_python' if name == 'gelu' else name}" if gated else name

"""Configuration of LongT5."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from tfmodels.layers.feed_forward import activation_function
from tfmodels.modeling.config import FieldCheck, ModelConfig
from tfmodels.modeling.config_keys import SAME_ACTIVATIONS, resolved
from tfmodels.utils.checks import check_not_negative, check_positive, check_rate

WIDEST_BLOCK = 8192
"""The memory of a block of queries grows with the square of its width, even for short documents."""
ATTENTION_TYPES = ("local", "transient-global")


def _check_block(name: str, value: Any) -> None:
    check_positive(name, value)
    if value > WIDEST_BLOCK:
        raise ValueError(f"{name} must be at most {WIDEST_BLOCK}. Received: {name}={value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongT5Config(ModelConfig):
    """Sizes and settings of a LongT5 model (Guo et al. 2022), under transformers' names and defaults.

    The public checkpoints differ from the defaults: 12 layers of 768, gated-gelu, untied.

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
    field_checks: ClassVar[Mapping[str, FieldCheck]] = {
        "vocab_size": check_positive,
        "d_model": check_positive,
        "d_kv": check_positive,
        "d_ff": check_positive,
        "num_layers": check_positive,
        "num_heads": check_positive,
        "local_radius": _check_block,
        "global_block_size": _check_block,
        "relative_attention_num_buckets": check_positive,
        "relative_attention_max_distance": check_positive,
        "decoder_layers": check_positive,
        "dropout_rate": check_rate,
        "classifier_dropout": check_rate,
        "initializer_factor": check_not_negative,
        "layer_norm_epsilon": check_not_negative,
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
        """The count of numbers in the matrices of a model's body, the least that a file with any head holds."""
        inner, width = self.num_heads * self.d_kv, self.d_model
        forward = (3 if self.is_gated else 2) * width * self.d_ff
        pruned = sum(map(len, self.pruned_heads.values())) * self.d_kv
        total = self.vocab_size * width + self.num_layers * (4 * width * inner + forward) - 4 * width * pruned
        return total + (self.decoder_layers * (8 * width * inner + forward) if with_decoder else 0)

    @classmethod
    def resolved_keys(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The keys of a `config.json` under the names of the fields, and remarks on keys that are not followed."""
        fields, remarks = resolved(values, cls.aliases)
        if "num_hidden_layers" in values and values.get("num_decoder_layers") is None:
            # transformers reads the decoder's number of layers before it reads this name.
            fields["num_decoder_layers"] = values.get("num_layers", cls.num_layers)
        name, is_gated = fields.pop("dense_act_fn", None), fields.pop("is_gated_act", None)
        form = fields.get("feed_forward_proj", cls.feed_forward_proj)
        if isinstance(form, str) and (name is not None or is_gated is not None):
            fields["feed_forward_proj"] = _feed_forward_of(form, name, is_gated)
        return fields, remarks

    @property
    def hidden_size(self) -> int:
        """transformers' second name of `d_model`."""
        return self.d_model

    @property
    def num_hidden_layers(self) -> int:
        """transformers' second name of `num_layers`."""
        return self.num_layers

    @property
    def num_attention_heads(self) -> int:
        """transformers' second name of `num_heads`."""
        return self.num_heads

    @property
    def encoder_sizes(self) -> tuple[int, int]:
        """The number of encoder layers, and of heads in each."""
        return self.num_layers, self.num_heads

    @property
    def decoder_layers(self) -> int:
        """The number of decoder layers: `num_decoder_layers`, or as many as the encoder has."""
        return self.num_layers if self.num_decoder_layers is None else self.num_decoder_layers

    @property
    def written_out(self) -> dict[str, Any]:
        """The number of decoder layers, as transformers writes it; transformers.js takes None for none."""
        return {"num_decoder_layers": self.decoder_layers}

    @property
    def is_gated(self) -> bool:
        """Whether the feed-forward parts are gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """The activation of the feed-forward parts; as in transformers, gated-gelu is the tanh form."""
        name = self.feed_forward_proj.split("-")[-1]
        return "gelu_new" if self.feed_forward_proj == "gated-gelu" else SAME_ACTIVATIONS.get(name, name)


def _feed_forward_of(form: str, activation: Any, is_gated: Any) -> str:
    """The `feed_forward_proj` for the two keys into which transformers splits it.

    >>> _feed_forward_of("relu", "gelu_new", True), _feed_forward_of("gated-gelu", "gelu_new", True)
    ('gated-gelu_new', 'gated-gelu')
    """
    parts = form.split("-")
    gated = parts[0] == "gated" if is_gated is None else bool(is_gated)
    usual = "gelu_new" if form == "gated-gelu" else parts[-1]
    name = usual if activation is None else str(activation)
    if gated == (parts[0] == "gated") and name == usual:
        return form
    # "gated-gelu" means the tanh form; gelu_python is a second name of the exact form.
    return f"gated-{'gelu_python' if name == 'gelu' else name}" if gated else name

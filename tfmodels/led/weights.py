"""The maps from the tensors of LED's checkpoints to weights.

The body's tensors have the prefix "led." in a model with a head and none in `LEDModel`'s files; a map names one of the
two forms and accepts both.
"""

from collections.abc import Mapping, Sequence

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, LAYER_NORM, WEIGHT, WeightMap, WeightRule, also_under
from tfmodels.led.config import LEDConfig

PREFIX = "led."
_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
TOKEN_EMBEDDING_NAMES = (*(PREFIX + name for name in _TABLES), *_TABLES)
"""The names under which a file may hold the table of token embeddings."""
HEAD_PREFIXES = ("final_logits_bias", "lm_head.", "classification_head.", "qa_outputs.")
DECODER_PREFIXES = ("led.decoder.", "decoder.")
IGNORED_NAMES = ("led.encoder.version", "led.decoder.version", "encoder.version", "decoder.version")
"""Tensors that fairseq's BART wrote; transformers' LED ignored them by name while files held them."""
_LONGFORMER_PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def encoder_map(config: LEDConfig) -> WeightMap:
    """The map of the encoder alone."""
    shared = WeightRule("shared", "shared", EMBEDDING, copies=("encoder.embed_tokens",))
    return WeightMap(
        rules=also_under(PREFIX, [shared, *_encoder_rules("")]),
        required_shapes=_required_shapes(config),
        token_embedding_names=TOKEN_EMBEDDING_NAMES,
        min_parameters=config.min_parameters(with_decoder=False),
        unused_prefixes=(*HEAD_PREFIXES, *DECODER_PREFIXES),
        ignored_names=IGNORED_NAMES,
    )


def model_map(config: LEDConfig) -> WeightMap:
    """The map of the model without a head."""
    return _map(config, _body_rules(""))


def language_model_map(config: LEDConfig) -> WeightMap:
    """The map of the model for conditional generation."""
    bias = WeightRule("final_logits_bias", "final_logits_bias", WEIGHT)
    if config.tie_word_embeddings:
        rules = [*_body_rules(PREFIX, ("lm_head",)), bias]
    else:
        rules = [*_body_rules(PREFIX), bias, WeightRule("lm_head", "lm_head", DENSE)]
    # Zero initially and in the public models, and absent from older TensorFlow files, which hold layers' weights alone.
    return _map(config, rules, ("final_logits_bias", "lm_head."), optional_prefixes=("final_logits_bias",))


def head_map(config: LEDConfig, head_rules: Sequence[WeightRule]) -> WeightMap:
    """The map of a model with one of the small heads."""
    prefixes = tuple(dict.fromkeys(f"{rule.reference.partition('.')[0]}." for rule in head_rules))
    return _map(config, [*_body_rules(PREFIX), *head_rules], prefixes)


def _map(
    config: LEDConfig,
    rules: Sequence[WeightRule],
    head_prefixes: tuple[str, ...] = (),
    optional_prefixes: tuple[str, ...] = (),
) -> WeightMap:
    return WeightMap(
        rules=rules,
        required_shapes=_required_shapes_with_decoder(config),
        token_embedding_names=TOKEN_EMBEDDING_NAMES,
        min_parameters=config.min_parameters(with_decoder=True),
        head_prefixes=head_prefixes,
        unused_prefixes=tuple(prefix for prefix in HEAD_PREFIXES if prefix not in head_prefixes),
        optional_prefixes=optional_prefixes,
        ignored_names=IGNORED_NAMES,
    )


def _required_shapes(config: LEDConfig) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Tensors that every file of this config must hold, and their shapes."""
    last, width = config.encoder_layers - 1, config.d_model
    shapes = {
        "encoder.embed_positions.weight": (config.max_encoder_position_embeddings, width),
        f"encoder.layers.{last}.fc1.weight": (config.encoder_ffn_dim, width),
    }
    required: dict[tuple[str, ...], tuple[int, ...]] = {(PREFIX + name, name): shape for name, shape in shapes.items()}
    return {TOKEN_EMBEDDING_NAMES: (config.vocab_size, width), **required}


def _required_shapes_with_decoder(config: LEDConfig) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """As `_required_shapes`, for files with a decoder."""
    last, width = config.decoder_layers - 1, config.d_model
    shapes = {
        "decoder.embed_positions.weight": (config.max_decoder_position_embeddings, width),
        f"decoder.layers.{last}.fc1.weight": (config.decoder_ffn_dim, width),
    }
    return {**_required_shapes(config), **{(PREFIX + name, name): shape for name, shape in shapes.items()}}


def _body_rules(prefix: str, shared_copies: tuple[str, ...] = ()) -> list[WeightRule]:
    """Rules of embeddings, encoder and decoder; `shared_copies` are further names of the shared table."""
    copies = (*(f"{prefix}{side}.embed_tokens" for side in ("encoder", "decoder")), *shared_copies)
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=copies)
    return also_under(PREFIX, [shared, *_encoder_rules(prefix), *_decoder_rules(prefix)])


def _encoder_rules(prefix: str) -> list[WeightRule]:
    reference, ours = f"{prefix}encoder.layers.{{n}}", "encoder.blocks.{n}"
    longformer = f"{reference}.self_attn.longformer_self_attn"
    return [
        *_embedding_rules(prefix, "encoder"),
        *(
            WeightRule(f"{longformer}.{name}", f"{ours}.self_attention.{name}", DENSE)
            for name in _LONGFORMER_PROJECTIONS
        ),
        WeightRule(f"{reference}.self_attn.output", f"{ours}.attention_output", DENSE),
        WeightRule(f"{reference}.self_attn_layer_norm", f"{ours}.self_attention_norm", LAYER_NORM),
        *_feed_forward_rules(reference, ours),
    ]


def _decoder_rules(prefix: str) -> list[WeightRule]:
    reference, ours = f"{prefix}decoder.layers.{{n}}", "decoder.blocks.{n}"
    rules = _embedding_rules(prefix, "decoder")
    for reference_name, name in (("self_attn", "self_attention"), ("encoder_attn", "cross_attention")):
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            rules.append(WeightRule(f"{reference}.{reference_name}.{projection}", f"{ours}.{name}.{projection}", DENSE))
        rules.append(WeightRule(f"{reference}.{reference_name}_layer_norm", f"{ours}.{name}_norm", LAYER_NORM))
    return [*rules, *_feed_forward_rules(reference, ours)]


def _embedding_rules(prefix: str, side: str) -> list[WeightRule]:
    return [
        WeightRule(f"{prefix}{side}.embed_positions", f"{side}.embed_positions", EMBEDDING),
        WeightRule(f"{prefix}{side}.layernorm_embedding", f"{side}.embedding_norm", LAYER_NORM),
    ]


def _feed_forward_rules(reference: str, ours: str) -> list[WeightRule]:
    return [
        WeightRule(f"{reference}.fc1", f"{ours}.feed_forward.wi", DENSE),
        WeightRule(f"{reference}.fc2", f"{ours}.feed_forward.wo", DENSE),
        WeightRule(f"{reference}.final_layer_norm", f"{ours}.final_norm", LAYER_NORM),
    ]

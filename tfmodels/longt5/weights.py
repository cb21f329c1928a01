"""The maps from the tensors of LongT5's checkpoints to weights.

The body's tensors have no prefix, but "transformer." in a sequence classifier, as in T5's; a map names one of the two
forms and accepts both.
"""

from collections.abc import Mapping, Sequence

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, RMS_NORM, WeightMap, WeightRule, also_under
from tfmodels.longt5.config import LongT5Config

PREFIX = "transformer."
_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
TOKEN_EMBEDDING_NAMES = (*(PREFIX + name for name in _TABLES), *_TABLES)
"""The names under which a file may hold the table of token embeddings."""
HEAD_PREFIXES = ("lm_head.", "classification_head.", "qa_outputs.")
DECODER_PREFIXES = ("transformer.decoder.", "decoder.")
_UNUSED_BIAS = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
IGNORED_NAMES = (_UNUSED_BIAS, PREFIX + _UNUSED_BIAS)
"""An unused bias of older cross-attentions; transformers ignores it by name."""


def encoder_map(config: LongT5Config) -> WeightMap:
    """The map of the encoder alone."""
    shared = WeightRule("shared", "shared", EMBEDDING, copies=("encoder.embed_tokens",))
    return WeightMap(
        rules=also_under(PREFIX, [shared, *_encoder_rules(config, "")]),
        required_shapes=_required_shapes(config),
        token_embedding_names=TOKEN_EMBEDDING_NAMES,
        min_parameters=config.min_parameters(with_decoder=False),
        unused_prefixes=(*HEAD_PREFIXES, *DECODER_PREFIXES),
        ignored_names=IGNORED_NAMES,
    )


def model_map(config: LongT5Config) -> WeightMap:
    """The map of the model without a head."""
    return _map(config, _body_rules(config, ""))


def language_model_map(config: LongT5Config) -> WeightMap:
    """The map of the model for conditional generation."""
    if config.tie_word_embeddings:
        rules = _body_rules(config, "", ("lm_head",))
    else:
        rules = [*_body_rules(config, ""), WeightRule("lm_head", "lm_head", DENSE)]
    return _map(config, rules, ("lm_head.",))


def head_map(config: LongT5Config, head_rules: Sequence[WeightRule], prefix: str) -> WeightMap:
    """The map of a model with one of the small heads; `prefix` is the body's."""
    prefixes = tuple(dict.fromkeys(f"{rule.reference.partition('.')[0]}." for rule in head_rules))
    return _map(config, [*_body_rules(config, prefix), *head_rules], prefixes)


def _map(config: LongT5Config, rules: Sequence[WeightRule], head_prefixes: tuple[str, ...] = ()) -> WeightMap:
    return WeightMap(
        rules=rules,
        required_shapes=_required_shapes_with_decoder(config),
        token_embedding_names=TOKEN_EMBEDDING_NAMES,
        min_parameters=config.min_parameters(with_decoder=True),
        head_prefixes=head_prefixes,
        unused_prefixes=tuple(prefix for prefix in HEAD_PREFIXES if prefix not in head_prefixes),
        ignored_names=IGNORED_NAMES,
    )


def _required_shapes(config: LongT5Config) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Tensors that every file of this config must hold, and their shapes."""
    inner, last = config.num_heads * config.d_kv, config.num_layers - 1
    feed_forward = f"encoder.block.{last}.layer.1.DenseReluDense.{'wi_0' if config.is_gated else 'wi'}.weight"
    attention = f"encoder.block.0.layer.0.{_attention_module(config)}.q.weight"
    shapes = {feed_forward: (config.d_ff, config.d_model)}
    buckets = f"encoder.block.0.layer.0.{_attention_module(config)}.relative_attention_bias.weight"
    shapes[buckets] = (config.relative_attention_num_buckets, config.num_heads)
    if 0 not in config.pruned_heads:
        shapes[attention] = (inner, config.d_model)
    required: dict[tuple[str, ...], tuple[int, ...]] = {(name, PREFIX + name): shape for name, shape in shapes.items()}
    return {TOKEN_EMBEDDING_NAMES: (config.vocab_size, config.d_model), **required}


def _required_shapes_with_decoder(config: LongT5Config) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """As `_required_shapes`, for files with a decoder."""
    name = f"decoder.block.{config.decoder_layers - 1}.layer.1.EncDecAttention.q.weight"
    return {**_required_shapes(config), (name, PREFIX + name): (config.num_heads * config.d_kv, config.d_model)}


def _body_rules(config: LongT5Config, prefix: str, shared_copies: tuple[str, ...] = ()) -> list[WeightRule]:
    """Rules of embeddings, encoder and decoder; `shared_copies` are further names of the shared table."""
    copies = (*(f"{prefix}{side}.embed_tokens" for side in ("encoder", "decoder")), *shared_copies)
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=copies)
    return also_under(PREFIX, [shared, *_encoder_rules(config, prefix), *_decoder_rules(config, prefix)])


def _attention_module(config: LongT5Config) -> str:
    is_local = config.encoder_attention_type == "local"
    return "LocalSelfAttention" if is_local else "TransientGlobalSelfAttention"


def _encoder_rules(config: LongT5Config, prefix: str) -> list[WeightRule]:
    module = f"{prefix}encoder.block.{{n}}.layer.0.{_attention_module(config)}"
    reference, ours = module, "encoder.blocks.{n}.self_attention"
    first_reference, first_ours = reference.format(n=0), ours.format(n=0)
    biases = ["relative_attention_bias"]
    rules = [WeightRule(f"{reference}.{name}", f"{ours}.{name}", DENSE) for name in "qkvo"]
    if config.encoder_attention_type == "transient-global":
        biases.append("global_relative_attention_bias")
        rules.append(WeightRule(f"{reference}.global_input_layer_norm", f"{ours}.global_input_layer_norm", RMS_NORM))
    return [
        *rules,
        *(WeightRule(f"{first_reference}.{bias}", f"{first_ours}.{bias}.embedding", EMBEDDING) for bias in biases),
        WeightRule(
            f"{prefix}encoder.block.{{n}}.layer.0.layer_norm", "encoder.blocks.{n}.self_attention_norm", RMS_NORM
        ),
        *_feed_forward_rules(config, f"{prefix}encoder.block.{{n}}.layer.1", "encoder.blocks.{n}"),
        WeightRule(f"{prefix}encoder.final_layer_norm", "encoder.final_norm", RMS_NORM),
    ]


def _decoder_rules(config: LongT5Config, prefix: str) -> list[WeightRule]:
    rules = []
    parts = (("layer.0", "SelfAttention", "self_attention"), ("layer.1", "EncDecAttention", "cross_attention"))
    for layer, module, ours in parts:
        reference = f"{prefix}decoder.block.{{n}}.{layer}"
        for name in ("q", "k", "v", "out"):
            tensor = f"{reference}.{module}.{name[0]}"
            rules.append(WeightRule(tensor, f"decoder.blocks.{{n}}.{ours}.{name}_proj", DENSE))
        rules.append(WeightRule(f"{reference}.layer_norm", f"decoder.blocks.{{n}}.{ours}_norm", RMS_NORM))
    bias = f"{prefix}decoder.block.0.layer.0.SelfAttention.relative_attention_bias"
    return [
        *rules,
        WeightRule(bias, "decoder.relative_attention_bias.embedding", EMBEDDING),
        *_feed_forward_rules(config, f"{prefix}decoder.block.{{n}}.layer.2", "decoder.blocks.{n}"),
        WeightRule(f"{prefix}decoder.final_layer_norm", "decoder.final_norm", RMS_NORM),
    ]


def _feed_forward_rules(config: LongT5Config, reference: str, ours: str) -> list[WeightRule]:
    names = {"wi_0": "wi", "wi_1": "wi_linear", "wo": "wo"} if config.is_gated else {"wi": "wi", "wo": "wo"}
    rules = [WeightRule(f"{reference}.DenseReluDense.{r}", f"{ours}.feed_forward.{o}", DENSE) for r, o in names.items()]
    return [*rules, WeightRule(f"{reference}.layer_norm", f"{ours}.feed_forward_norm", RMS_NORM)]

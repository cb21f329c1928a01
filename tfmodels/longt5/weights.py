"""Where each of the reference's LongT5 tensors lives in our models.

Bodies stand under their bare names, but under "transformer." in a sequence classifier, as T5's does; a table names one
of the two and accepts the other.
"""

from collections.abc import Mapping

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, RMS_NORM, WeightRule, also_under
from tfmodels.longt5.config import LongT5Config

PREFIX = "transformer."
_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
TOKEN_TABLES = (*(PREFIX + name for name in _TABLES), *_TABLES)
"""The names under which a file may hold the table of token embeddings."""
HEAD_PREFIXES = ("lm_head.", "classification_head.", "qa_outputs.")
DECODER_PREFIXES = ("transformer.decoder.", "decoder.")
_UNUSED_BIAS = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
HARMLESS_TENSORS = (_UNUSED_BIAS, PREFIX + _UNUSED_BIAS)
"""A bias that older cross-attentions had and none used; transformers passes over it by name."""


def landmarks(config: LongT5Config) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Tensors that every file of this config must hold, and their shapes."""
    inner, last = config.num_heads * config.d_kv, config.num_layers - 1
    feed_forward = f"encoder.block.{last}.layer.1.DenseReluDense.{'wi_0' if config.is_gated else 'wi'}.weight"
    attention = f"encoder.block.0.layer.0.{_attention_module(config)}.q.weight"
    wanted = {feed_forward: (config.d_ff, config.d_model)}
    buckets = f"encoder.block.0.layer.0.{_attention_module(config)}.relative_attention_bias.weight"
    wanted[buckets] = (config.relative_attention_num_buckets, config.num_heads)
    if 0 not in config.pruned_heads:
        wanted[attention] = (inner, config.d_model)
    found: dict[tuple[str, ...], tuple[int, ...]] = {(name, PREFIX + name): shape for name, shape in wanted.items()}
    return {TOKEN_TABLES: (config.vocab_size, config.d_model), **found}


def decoder_landmarks(config: LongT5Config) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """The same for files with a decoder."""
    name = f"decoder.block.{config.decoder_layers - 1}.layer.1.EncDecAttention.q.weight"
    return {**landmarks(config), (name, PREFIX + name): (config.num_heads * config.d_kv, config.d_model)}


def body_rows(config: LongT5Config, prefix: str, shared_copies: tuple[str, ...] = ()) -> list[WeightRule]:
    """The table of embeddings, encoder and decoder; `shared_copies` are further names of the shared table."""
    copies = (*(f"{prefix}{side}.embed_tokens" for side in ("encoder", "decoder")), *shared_copies)
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=copies)
    return also_under(PREFIX, [shared, *_encoder_rows(config, prefix), *_decoder_rows(config, prefix)])


def encoder_rows(config: LongT5Config, prefix: str) -> list[WeightRule]:
    """The table of the encoder alone."""
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=(f"{prefix}encoder.embed_tokens",))
    return also_under(PREFIX, [shared, *_encoder_rows(config, prefix)])


def language_model_rows(config: LongT5Config) -> list[WeightRule]:
    """The table of `LongT5ForConditionalGeneration`."""
    if config.tie_word_embeddings:
        return body_rows(config, "", ("lm_head",))
    return [*body_rows(config, ""), WeightRule("lm_head", "lm_head", DENSE)]


def _attention_module(config: LongT5Config) -> str:
    is_local = config.encoder_attention_type == "local"
    return "LocalSelfAttention" if is_local else "TransientGlobalSelfAttention"


def _encoder_rows(config: LongT5Config, prefix: str) -> list[WeightRule]:
    module = f"{prefix}encoder.block.{{n}}.layer.0.{_attention_module(config)}"
    reference, ours = module, "encoder.blocks.{n}.self_attention"
    first_reference, first_ours = reference.format(n=0), ours.format(n=0)
    biases = ["relative_attention_bias"]
    rows = [WeightRule(f"{reference}.{name}", f"{ours}.{name}", DENSE) for name in "qkvo"]
    if config.encoder_attention_type == "transient-global":
        biases.append("global_relative_attention_bias")
        rows.append(WeightRule(f"{reference}.global_input_layer_norm", f"{ours}.global_input_layer_norm", RMS_NORM))
    return [
        *rows,
        *(WeightRule(f"{first_reference}.{bias}", f"{first_ours}.{bias}.embedding", EMBEDDING) for bias in biases),
        WeightRule(
            f"{prefix}encoder.block.{{n}}.layer.0.layer_norm", "encoder.blocks.{n}.self_attention_norm", RMS_NORM
        ),
        *_feed_forward_rows(config, f"{prefix}encoder.block.{{n}}.layer.1", "encoder.blocks.{n}"),
        WeightRule(f"{prefix}encoder.final_layer_norm", "encoder.final_norm", RMS_NORM),
    ]


def _decoder_rows(config: LongT5Config, prefix: str) -> list[WeightRule]:
    rows = []
    parts = (("layer.0", "SelfAttention", "self_attention"), ("layer.1", "EncDecAttention", "cross_attention"))
    for layer, module, ours in parts:
        reference = f"{prefix}decoder.block.{{n}}.{layer}"
        for name in ("q", "k", "v", "out"):
            tensor = f"{reference}.{module}.{name[0]}"
            rows.append(WeightRule(tensor, f"decoder.blocks.{{n}}.{ours}.{name}_proj", DENSE))
        rows.append(WeightRule(f"{reference}.layer_norm", f"decoder.blocks.{{n}}.{ours}_norm", RMS_NORM))
    bias = f"{prefix}decoder.block.0.layer.0.SelfAttention.relative_attention_bias"
    return [
        *rows,
        WeightRule(bias, "decoder.relative_attention_bias.embedding", EMBEDDING),
        *_feed_forward_rows(config, f"{prefix}decoder.block.{{n}}.layer.2", "decoder.blocks.{n}"),
        WeightRule(f"{prefix}decoder.final_layer_norm", "decoder.final_norm", RMS_NORM),
    ]


def _feed_forward_rows(config: LongT5Config, reference: str, ours: str) -> list[WeightRule]:
    names = {"wi_0": "wi", "wi_1": "wi_linear", "wo": "wo"} if config.is_gated else {"wi": "wi", "wo": "wo"}
    rows = [WeightRule(f"{reference}.DenseReluDense.{r}", f"{ours}.feed_forward.{o}", DENSE) for r, o in names.items()]
    return [*rows, WeightRule(f"{reference}.layer_norm", f"{ours}.feed_forward_norm", RMS_NORM)]

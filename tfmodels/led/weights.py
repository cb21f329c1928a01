"""Where each of the reference's LED tensors lives in our models.

The body's tensors stand under "led." in a model with a head and under their bare names in `LEDModel`'s files; a table
names one of the two and accepts the other.
"""

from collections.abc import Mapping

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, LAYER_NORM, WEIGHT, WeightRule, also_under
from tfmodels.led.config import LEDConfig

PREFIX = "led."
_TABLES = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
TOKEN_TABLES = (*(PREFIX + name for name in _TABLES), *_TABLES)
"""The names under which a file may hold the table of token embeddings."""
HEAD_PREFIXES = ("final_logits_bias", "lm_head.", "classification_head.", "qa_outputs.")
DECODER_PREFIXES = ("led.decoder.", "decoder.")
HARMLESS_TENSORS = ("led.encoder.version", "led.decoder.version", "encoder.version", "decoder.version")
"""What fairseq's BART wrote, and transformers' LED passed over by name as long as files held it."""
_LONGFORMER_PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def landmarks(config: LEDConfig) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """Tensors that every file of this config must hold, and their shapes."""
    last, width = config.encoder_layers - 1, config.d_model
    wanted = {
        "encoder.embed_positions.weight": (config.max_encoder_position_embeddings, width),
        f"encoder.layers.{last}.fc1.weight": (config.encoder_ffn_dim, width),
    }
    found: dict[tuple[str, ...], tuple[int, ...]] = {(PREFIX + name, name): shape for name, shape in wanted.items()}
    return {TOKEN_TABLES: (config.vocab_size, width), **found}


def decoder_landmarks(config: LEDConfig) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """The same for files with a decoder."""
    last, width = config.decoder_layers - 1, config.d_model
    wanted = {
        "decoder.embed_positions.weight": (config.max_decoder_position_embeddings, width),
        f"decoder.layers.{last}.fc1.weight": (config.decoder_ffn_dim, width),
    }
    return {**landmarks(config), **{(PREFIX + name, name): shape for name, shape in wanted.items()}}


def body_rows(prefix: str, shared_copies: tuple[str, ...] = ()) -> list[WeightRule]:
    """The table of embeddings, encoder and decoder; `shared_copies` are further names of the shared table."""
    copies = (*(f"{prefix}{side}.embed_tokens" for side in ("encoder", "decoder")), *shared_copies)
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=copies)
    return also_under(PREFIX, [shared, *_encoder_rows(prefix), *_decoder_rows(prefix)])


def encoder_rows(prefix: str) -> list[WeightRule]:
    """The table of the encoder alone."""
    shared = WeightRule(f"{prefix}shared", "shared", EMBEDDING, copies=(f"{prefix}encoder.embed_tokens",))
    return also_under(PREFIX, [shared, *_encoder_rows(prefix)])


def language_model_rows(config: LEDConfig) -> list[WeightRule]:
    """The table of `LEDForConditionalGeneration`."""
    bias = WeightRule("final_logits_bias", "final_logits_bias", WEIGHT)
    if config.tie_word_embeddings:
        return [*body_rows(PREFIX, ("lm_head",)), bias]
    return [*body_rows(PREFIX), bias, WeightRule("lm_head", "lm_head", DENSE)]


def _encoder_rows(prefix: str) -> list[WeightRule]:
    reference, ours = f"{prefix}encoder.layers.{{n}}", "encoder.blocks.{n}"
    longformer = f"{reference}.self_attn.longformer_self_attn"
    return [
        *_embedding_rows(prefix, "encoder"),
        *(
            WeightRule(f"{longformer}.{name}", f"{ours}.self_attention.{name}", DENSE)
            for name in _LONGFORMER_PROJECTIONS
        ),
        WeightRule(f"{reference}.self_attn.output", f"{ours}.attention_output", DENSE),
        WeightRule(f"{reference}.self_attn_layer_norm", f"{ours}.self_attention_norm", LAYER_NORM),
        *_feed_forward_rows(reference, ours),
    ]


def _decoder_rows(prefix: str) -> list[WeightRule]:
    reference, ours = f"{prefix}decoder.layers.{{n}}", "decoder.blocks.{n}"
    rows = _embedding_rows(prefix, "decoder")
    for reference_name, name in (("self_attn", "self_attention"), ("encoder_attn", "cross_attention")):
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            rows.append(WeightRule(f"{reference}.{reference_name}.{projection}", f"{ours}.{name}.{projection}", DENSE))
        rows.append(WeightRule(f"{reference}.{reference_name}_layer_norm", f"{ours}.{name}_norm", LAYER_NORM))
    return [*rows, *_feed_forward_rows(reference, ours)]


def _embedding_rows(prefix: str, side: str) -> list[WeightRule]:
    return [
        WeightRule(f"{prefix}{side}.embed_positions", f"{side}.embed_positions", EMBEDDING),
        WeightRule(f"{prefix}{side}.layernorm_embedding", f"{side}.embedding_norm", LAYER_NORM),
    ]


def _feed_forward_rows(reference: str, ours: str) -> list[WeightRule]:
    return [
        WeightRule(f"{reference}.fc1", f"{ours}.feed_forward.wi", DENSE),
        WeightRule(f"{reference}.fc2", f"{ours}.feed_forward.wo", DENSE),
        WeightRule(f"{reference}.final_layer_norm", f"{ours}.final_norm", LAYER_NORM),
    ]

"""Where each of the reference's LED tensors lives in our model."""

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, LAYER_NORM, WEIGHT, Row
from tfmodels.led.config import LEDConfig

_LONGFORMER_PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def conditional_generation_rows(config: LEDConfig) -> list[Row]:
    """The table of `LEDForConditionalGeneration`."""
    copies = ("led.encoder.embed_tokens", "led.decoder.embed_tokens", "lm_head")
    return [
        Row("led.shared", "shared", EMBEDDING, copies=copies),
        *_encoder_rows(),
        *_decoder_rows(),
        Row("final_logits_bias", "final_logits_bias", WEIGHT),
    ]


def _encoder_rows() -> list[Row]:
    reference, ours = "led.encoder.layers.{n}", "encoder.blocks.{n}"
    longformer = f"{reference}.self_attn.longformer_self_attn"
    return [
        *_embedding_rows("encoder"),
        *(Row(f"{longformer}.{name}", f"{ours}.self_attention.{name}", DENSE) for name in _LONGFORMER_PROJECTIONS),
        Row(f"{reference}.self_attn.output", f"{ours}.attention_output", DENSE),
        Row(f"{reference}.self_attn_layer_norm", f"{ours}.self_attention_norm", LAYER_NORM),
        *_feed_forward_rows(reference, ours),
    ]


def _decoder_rows() -> list[Row]:
    reference, ours = "led.decoder.layers.{n}", "decoder.blocks.{n}"
    rows = _embedding_rows("decoder")
    for reference_name, name in (("self_attn", "self_attention"), ("encoder_attn", "cross_attention")):
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            rows.append(Row(f"{reference}.{reference_name}.{projection}", f"{ours}.{name}.{projection}", DENSE))
        rows.append(Row(f"{reference}.{reference_name}_layer_norm", f"{ours}.{name}_norm", LAYER_NORM))
    return [*rows, *_feed_forward_rows(reference, ours)]


def _embedding_rows(side: str) -> list[Row]:
    return [
        Row(f"led.{side}.embed_positions", f"{side}.embed_positions", EMBEDDING),
        Row(f"led.{side}.layernorm_embedding", f"{side}.embedding_norm", LAYER_NORM),
    ]


def _feed_forward_rows(reference: str, ours: str) -> list[Row]:
    return [
        Row(f"{reference}.fc1", f"{ours}.feed_forward.wi", DENSE),
        Row(f"{reference}.fc2", f"{ours}.feed_forward.wo", DENSE),
        Row(f"{reference}.final_layer_norm", f"{ours}.final_norm", LAYER_NORM),
    ]

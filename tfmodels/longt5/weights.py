"""Where each of the reference's LongT5 tensors lives in our model."""

from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, RMS_NORM, Row
from tfmodels.longt5.config import LongT5Config


def conditional_generation_rows(config: LongT5Config) -> list[Row]:
    """The table of `LongT5ForConditionalGeneration`."""
    shared_copies: tuple[str, ...] = ("encoder.embed_tokens", "decoder.embed_tokens")
    if config.tie_word_embeddings:
        return [Row("shared", "shared", EMBEDDING, copies=(*shared_copies, "lm_head")), *_body_rows(config)]
    return [
        Row("shared", "shared", EMBEDDING, copies=shared_copies),
        *_body_rows(config),
        Row("lm_head", "lm_head", DENSE),
    ]


def _body_rows(config: LongT5Config) -> list[Row]:
    return [*_encoder_rows(config), *_decoder_rows(config)]


def _encoder_rows(config: LongT5Config) -> list[Row]:
    transient_global = config.encoder_attention_type == "transient-global"
    module = "TransientGlobalSelfAttention" if transient_global else "LocalSelfAttention"
    reference, ours = f"encoder.block.{{n}}.layer.0.{module}", "encoder.blocks.{n}.self_attention"
    first_reference, first_ours = reference.format(n=0), ours.format(n=0)
    biases = ["relative_attention_bias"]
    rows = [Row(f"{reference}.{name}", f"{ours}.{name}", DENSE) for name in "qkvo"]
    if transient_global:
        biases.append("global_relative_attention_bias")
        rows.append(Row(f"{reference}.global_input_layer_norm", f"{ours}.global_input_layer_norm", RMS_NORM))
    return [
        *rows,
        *(Row(f"{first_reference}.{bias}", f"{first_ours}.{bias}.embedding", EMBEDDING) for bias in biases),
        Row("encoder.block.{n}.layer.0.layer_norm", "encoder.blocks.{n}.self_attention_norm", RMS_NORM),
        *_feed_forward_rows(config, "encoder.block.{n}.layer.1", "encoder.blocks.{n}"),
        Row("encoder.final_layer_norm", "encoder.final_norm", RMS_NORM),
    ]


def _decoder_rows(config: LongT5Config) -> list[Row]:
    rows = []
    parts = (("layer.0", "SelfAttention", "self_attention"), ("layer.1", "EncDecAttention", "cross_attention"))
    for layer, module, ours in parts:
        reference = f"decoder.block.{{n}}.{layer}"
        for name in ("q", "k", "v", "out"):
            tensor = f"{reference}.{module}.{name[0]}"
            rows.append(Row(tensor, f"decoder.blocks.{{n}}.{ours}.{name}_proj", DENSE))
        rows.append(Row(f"{reference}.layer_norm", f"decoder.blocks.{{n}}.{ours}_norm", RMS_NORM))
    bias = "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"
    return [
        *rows,
        Row(bias, "decoder.relative_attention_bias.embedding", EMBEDDING),
        *_feed_forward_rows(config, "decoder.block.{n}.layer.2", "decoder.blocks.{n}"),
        Row("decoder.final_layer_norm", "decoder.final_norm", RMS_NORM),
    ]


def _feed_forward_rows(config: LongT5Config, reference: str, ours: str) -> list[Row]:
    names = {"wi_0": "wi", "wi_1": "wi_linear", "wo": "wo"} if config.is_gated else {"wi": "wi", "wo": "wo"}
    rows = [Row(f"{reference}.DenseReluDense.{r}", f"{ours}.feed_forward.{o}", DENSE) for r, o in names.items()]
    return [*rows, Row(f"{reference}.layer_norm", f"{ours}.feed_forward_norm", RMS_NORM)]

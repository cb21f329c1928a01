"""The passes of a model's encoder and decoder, from typed inputs to outputs under the model's names."""

from collections.abc import Mapping
from typing import Any

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.modeling.cache import StaticCache, reference_cache, static_cache
from tfmodels.modeling.config import RequestedOutputs
from tfmodels.modeling.inputs import DecoderInputs, EncoderInputs, Seq2SeqInputs, exactly_one, shifted_labels
from tfmodels.utils.checks import check_shape


def run_encoder(
    model: Any, inputs: EncoderInputs, requested: RequestedOutputs, training: bool | None
) -> dict[str, Any]:
    """Run a model's encoder.

    Args:
        model: a `Seq2SeqModel`.
        inputs: the encoder's inputs.
        requested: further outputs.
        training: as in Keras.

    Returns:
        The encoder's outputs, "last_hidden_state" (B, S, E) and the requested ones.
    """
    present = {name: value for name, value in inputs._asdict().items() if value is not None}
    return model.encoder(
        **present,
        output_attentions=requested.attentions,
        output_hidden_states=requested.hidden_states,
        training=training,
    )


def with_target(model: Any, inputs: Seq2SeqInputs) -> Seq2SeqInputs:
    """The inputs with decoder inputs: the caller's, or the model's default.

    Raises:
        ValueError: no decoder inputs and no default, or both ids and embeddings.
    """
    if inputs.decoder_input_ids is not None or inputs.decoder_inputs_embeds is not None:
        exactly_one(decoder_input_ids=inputs.decoder_input_ids, decoder_inputs_embeds=inputs.decoder_inputs_embeds)
        return inputs
    target = _shifted_source(model, inputs) if model.decoder_reads_source else model.default_target(inputs)
    if target is None:
        expected = " or ".join(["decoder_input_ids", "decoder_inputs_embeds", *model.head_inputs[:1]])
        raise ValueError(f"{expected} must be given: the source is never shifted into the decoder. Received: none")
    return inputs._replace(decoder_input_ids=target)


def _shifted_source(model: Any, inputs: Seq2SeqInputs) -> Tensor | None:
    """The source, shifted right; None for embeddings without ids."""
    ids = inputs.input_ids
    if ids is None:
        return None
    if ids.shape[1] is not None:
        model.check_target_length("input_ids, which the decoder reads too,", ids.shape[1])
    return shifted_labels(ids, model.config)


def check_rows(inputs: Seq2SeqInputs, encoded: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless the target has one row for each document; `decode` alone allows beams."""
    if "last_hidden_state" not in encoded:
        return
    documents = encoded["last_hidden_state"].shape[0]
    for name in ("decoder_input_ids", "decoder_inputs_embeds"):
        target = getattr(inputs, name)
        if target is not None:
            check_shape(name, target, (documents, *tuple(target.shape)[1:]), "documents, tokens")


def run_decoder(
    model: Any,
    inputs: Seq2SeqInputs,
    encoded: Mapping[str, Any],
    use_cache: bool,
    requested: RequestedOutputs,
    training: bool | None,
) -> dict[str, Any]:
    """Run a model's decoder over target tokens.

    Args:
        model: a `Seq2SeqModel`.
        inputs: inputs with decoder ids or embeddings; `attention_mask` is the documents' mask.
        encoded: the encoder's outputs; empty if the cache holds the documents' keys and values.
        use_cache: return "past_key_values": a `StaticCache` for a `StaticCache`, otherwise transformers' form.
        requested: further outputs.
        training: as in Keras.

    Returns:
        "last_hidden_state" (R, T, E), and on request "past_key_values", "decoder_hidden_states", "decoder_attentions",
        "cross_attentions".
    """
    past, embeddings, ids = inputs.past_key_values, inputs.decoder_inputs_embeds, inputs.decoder_input_ids
    is_static = isinstance(past, StaticCache)
    if past is not None and not is_static:
        past = static_cache(past, ops.shape(ids if embeddings is None else embeddings)[1])
        room = past.keys_values[0][1].shape[2]
        if room is not None:
            model.check_target_length("past_key_values and the new tokens together", room)
    decoder_inputs = DecoderInputs(
        input_ids=ids,
        inputs_embeds=embeddings,
        attention_mask=inputs.decoder_attention_mask,
        head_mask=inputs.decoder_head_mask,
        cross_attn_head_mask=inputs.cross_attn_head_mask,
        encoder_hidden_states=encoded.get("last_hidden_state"),
        encoder_attention_mask=inputs.attention_mask,
        cache=past,
    )
    outputs = model.decoder(
        **decoder_inputs._asdict(),
        use_cache=use_cache,
        output_attentions=requested.attentions,
        output_hidden_states=requested.hidden_states,
        training=training,
    )
    named = {"last_hidden_state": outputs["last_hidden_state"]}
    if use_cache:
        named["past_key_values"] = outputs["cache"] if is_static else reference_cache(outputs["cache"])
    named |= {f"decoder_{name}": outputs[name] for name in ("hidden_states", "attentions") if name in outputs}
    return named | {name: outputs[name] for name in ("cross_attentions",) if name in outputs}

"""The face that the models of both families share: inputs and outputs by the reference's names, encode, decode, losses.

Shape letters: B batch, S source length, T target length, E model size, V vocabulary.
"""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.precision import check_policy
from tfmodels.backend.types import Tensor
from tfmodels.modeling.cache import StaticCache, reference_cache, static_cache
from tfmodels.modeling.config import config_of
from tfmodels.modeling.encoder import OPTIONAL_INPUTS
from tfmodels.modeling.inputs import as_encoder_outputs, exactly_one, unpack_inputs
from tfmodels.modeling.trainable import TrainableModel
from tfmodels.utils.checks import check_positive, check_shape

DECODER_INPUTS = ("decoder_input_ids", "decoder_attention_mask")
FURTHER_INPUTS = (
    *OPTIONAL_INPUTS,
    "decoder_head_mask",
    "cross_attn_head_mask",
    "encoder_outputs",
    "past_key_values",
    "decoder_inputs_embeds",
)


class Seq2Seq(TrainableModel):
    """Base of the encoder-decoders: `LEDModel` and `LongT5Model`, which have no head, and the models with one.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, S). attention_mask: (B, S), 0 on padding; None: no padding.
        global_attention_mask: LED only; (B, S), non-zero on global tokens.
        decoder_input_ids: int32 (B, T). decoder_attention_mask: (B, T), 0 on padding.
        labels, or start_positions and end_positions: of the models with a head, see there.
        head_mask: (encoder layers, H) or (H,), 0 where an attention head is left out.
        inputs_embeds: (B, S, E) in place of `input_ids`.
        decoder_head_mask, cross_attn_head_mask: (decoder layers, H) or (H,).
        encoder_outputs: what `encode` returned, in place of encoding.
        past_key_values: what an earlier call or `init_cache` returned: the tokens before `decoder_input_ids`.
        decoder_inputs_embeds: (B, T, E) in place of `decoder_input_ids`.
        use_cache: return `past_key_values`; by default off, so that nothing is kept that nobody asked for.
        output_attentions, output_hidden_states: return those too; None: as the config says.

    Returns:
        A dict with "last_hidden_state" (B, T, E) (no head), or what the head returns, and "encoder_last_hidden_state"
        (B, S, E). On request, per layer: "decoder_hidden_states", "encoder_hidden_states", "decoder_attentions"
        (B, H, T, keys), "cross_attentions" (B, H, T, S), "encoder_attentions" and "encoder_global_attentions" (see the
        encoder); and "past_key_values": (keys, values, cross keys, cross values), each (B, H, tokens, D), or a
        `StaticCache` where one was given.

    Raises:
        ValueError: an input that the model does not have, none where one is needed, or one that is too long.
    """

    encoder_inputs: ClassVar[tuple[str, ...]]

    def __init__(self, config: Any, **kwargs: Any) -> None:
        # The parts cast for themselves: casting here would round labels that are numbers.
        super().__init__(autocast=False, **kwargs)
        check_policy(self.dtype_policy)
        self.config = config_of(self.config_class, config)
        with keras.name_scope(self.name, caller=self):  # sublayers' paths then carry their parents' names
            # The head first: making a large table takes thrice its memory for a moment, which what follows uses again.
            self.make_head(self.dtype_policy)
            self.make_parts(self.dtype_policy)
        self.encoder.belong_to(self)
        self.build()

    def make_parts(self, policy: Any) -> None:
        """Create and build `shared`, `encoder` and `decoder`: the family's part."""
        raise NotImplementedError

    def make_head(self, policy: Any) -> None:
        """Create and build the head."""

    def build(self, input_shape: Any = None) -> None:
        """Nothing is left to build: the parts were built with their final sizes."""
        self.built = True

    def project(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """What is returned for the decoder's last hidden states (B, T, E) of any target."""
        return {"last_hidden_state": hidden_states}

    def head(self, hidden_states: Tensor, inputs: Mapping[str, Any], training: bool | None) -> dict[str, Tensor]:
        """What is returned for the decoder's last hidden states (B, T, E), with the loss where the inputs allow."""
        return self.project(hidden_states)

    def default_target(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """Decoder inputs where none are given, or None where there can be none."""
        return None

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs of a call, in the order of a list."""
        return (*self.encoder_inputs, *DECODER_INPUTS, *self.head_inputs, *FURTHER_INPUTS)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        decoder_head_mask: Tensor | None = None,
        cross_attn_head_mask: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        decoder_inputs_embeds: Tensor | None = None,
        use_cache: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Run the model; see the class docstring."""
        inputs = unpack_inputs(
            self.input_names,
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            labels=labels,
            start_positions=start_positions,
            end_positions=end_positions,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            decoder_head_mask=decoder_head_mask,
            cross_attn_head_mask=cross_attn_head_mask,
            encoder_outputs=encoder_outputs,
            past_key_values=past_key_values,
            decoder_inputs_embeds=decoder_inputs_embeds,
        )
        wanted = self.config.asked(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        target = self._target(inputs)
        encoded = self._encoded(inputs, wanted, training)
        self._check_rows(target, encoded)
        decoded = self._decode(inputs | target, encoded, use_cache, wanted, training)
        outputs = self.head(decoded.pop("last_hidden_state"), inputs, training)
        return {**outputs, **decoded, **{f"encoder_{name}": value for name, value in encoded.items()}}

    def _target(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The decoder's inputs, given or made."""
        given = {name: inputs[name] for name in ("decoder_input_ids", "decoder_inputs_embeds")}
        if all(value is None for value in given.values()):
            made = self.default_target(inputs)
            if made is None:
                expected = " or ".join(["decoder_input_ids", "decoder_inputs_embeds", *self.head_inputs[:1]])
                raise ValueError(
                    f"{expected} must be given: the source is never shifted into the decoder. Received: none"
                )
            given["decoder_input_ids"] = made
        exactly_one(given, *given)
        return given

    def _check_rows(self, target: Mapping[str, Any], encoded: Mapping[str, Any]) -> None:
        """One row of the target for each document: only `decode` takes beams."""
        if "last_hidden_state" in encoded:
            for name, value in target.items():
                if value is not None:
                    documents = encoded["last_hidden_state"].shape[0]
                    check_shape(name, value, (documents, *tuple(value.shape)[1:]), "documents, tokens")

    def encode(
        self,
        input_ids: Any = None,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Run the encoder alone; arguments and outputs are the encoder's. For `decode` and `encoder_outputs`."""
        return self.encoder(input_ids, attention_mask=attention_mask, training=training, **inputs)

    def _encoded(self, inputs: Mapping[str, Any], wanted: dict[str, bool], training: bool | None) -> dict[str, Any]:
        """What the encoder returned, now or before."""
        given = inputs.get("encoder_outputs")
        if given is not None:
            return as_encoder_outputs(given)
        if all(inputs.get(name) is None for name in ("input_ids", "inputs_embeds")):
            if inputs.get("past_key_values") is not None:
                return {}  # the cache knows the documents
            raise ValueError("input_ids, inputs_embeds or encoder_outputs must be given. Received: none")
        sources = {name: inputs[name] for name in self.encoder.input_names if inputs.get(name) is not None}
        return self.encoder(**sources, **wanted, training=training)

    def init_cache(self, batch_size: int, max_length: int, encoder_outputs: Any) -> StaticCache:
        """An empty cache for `decode`, with room for `max_length` target tokens.

        Args:
            batch_size: rows of the target: those of the documents, or a multiple (beams of a document side by side).
            max_length: tokens that fit.
            encoder_outputs: what `encode` returned.

        Raises:
            ValueError: sizes that do not fit the model or the documents.
        """
        hidden_states = as_encoder_outputs(encoder_outputs)["last_hidden_state"]
        documents = hidden_states.shape[0]
        check_positive("batch_size", batch_size)
        check_positive("max_length", max_length)
        if documents is not None and (batch_size < 1 or batch_size % documents):
            raise ValueError(f"batch_size must be a multiple of {documents} documents. Received: {batch_size}")
        self.check_target_length("max_length", max_length)
        keys_values = tuple(self.decoder.init_cache(batch_size, max_length))
        return StaticCache(keys_values, tuple(self.decoder.cross_keys_values(hidden_states)), ops.zeros((), "int32"))

    def decode(
        self,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        encoder_attention_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        training: bool | None = None,
        **inputs: Tensor | None,
    ) -> dict[str, Any]:
        """Run the decoder and the head over target tokens, all at once or some at a time.

        Args:
            decoder_input_ids: int32 (B, T); with a cache the tokens after those that it holds.
            encoder_outputs: what `encode` returned.
            encoder_attention_mask: (B, S), the documents' mask; None: no padding.
            decoder_attention_mask: (B, tokens so far), 0 on padding.
            past_key_values: from `init_cache` or an earlier call; the outputs then hold the next.
            use_cache, output_attentions, output_hidden_states, training: as in the call.
            **inputs: `decoder_inputs_embeds`, `decoder_head_mask`, `cross_attn_head_mask`.

        Returns:
            "logits" (B, T, V), or "last_hidden_state" where the head is no language model's, and what was asked for.

        Raises:
            ValueError: an unknown input, or neither documents nor a cache that knows them.
        """
        names = ("decoder_inputs_embeds", "decoder_head_mask", "cross_attn_head_mask")
        given = unpack_inputs(("decoder_input_ids", *names), decoder_input_ids=decoder_input_ids, **inputs)
        exactly_one(given, "decoder_input_ids", "decoder_inputs_embeds")
        if encoder_outputs is None and past_key_values is None:
            raise ValueError("encoder_outputs or past_key_values must be given. Received: neither")
        given |= {"decoder_attention_mask": decoder_attention_mask, "attention_mask": encoder_attention_mask}
        given["past_key_values"] = past_key_values
        wanted = self.config.asked(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        encoded = {} if encoder_outputs is None else as_encoder_outputs(encoder_outputs)
        decoded = self._decode(given, encoded, use_cache or past_key_values is not None, wanted, training)
        return {**self.project(decoded.pop("last_hidden_state")), **decoded}

    def _decode(
        self,
        inputs: Mapping[str, Any],
        encoded: Mapping[str, Any],
        use_cache: bool,
        wanted: dict[str, bool],
        training: bool | None,
    ) -> dict[str, Any]:
        """The decoder's outputs under the model's names."""
        past = inputs.get("past_key_values")
        is_static = isinstance(past, StaticCache)
        embeddings = inputs["decoder_inputs_embeds"]
        target = inputs["decoder_input_ids"] if embeddings is None else embeddings
        cache = past
        if past is not None and not is_static:
            cache = static_cache(past, ops.shape(target)[1])
            room = cache.keys_values[0][1].shape[2]
            if room is not None:
                self.check_target_length("past_key_values and the new tokens together", room)
        found = self.decoder(
            inputs["decoder_input_ids"],
            encoder_hidden_states=encoded.get("last_hidden_state"),
            encoder_attention_mask=inputs["attention_mask"],
            attention_mask=inputs["decoder_attention_mask"],
            inputs_embeds=embeddings,
            head_mask=inputs["decoder_head_mask"],
            cross_attn_head_mask=inputs["cross_attn_head_mask"],
            cache=cache,
            use_cache=use_cache,
            training=training,
            **wanted,
        )
        outputs = {"last_hidden_state": found["last_hidden_state"]}
        if use_cache:
            outputs["past_key_values"] = found["cache"] if is_static else reference_cache(found["cache"])
        outputs |= {f"decoder_{name}": found[name] for name in ("hidden_states", "attentions") if name in found}
        return outputs | {name: found[name] for name in ("cross_attentions",) if name in found}

    def check_target_length(self, name: str, length: int, origin: str = "") -> None:
        """Raise `ValueError` when a target passes the decoder's positions; `origin` says where the length is from."""
        limit = getattr(self.config, "max_decoder_position_embeddings", None)
        # A length that is not known is no integer: under JAX a symbol.
        if limit is not None and isinstance(length, Integral) and length > limit:
            rule = f"{name} must be at most max_decoder_position_embeddings={limit}"
            raise ValueError(f"{rule}. Received: {length}{origin}")

    def export(self, filepath: Any, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """As in Keras: the call as a SavedModel, from ids and masks to outputs, of any number and length of documents.

        `export.export_saved_model` writes what serves text: tokenizer, search and several lengths.
        """
        if kwargs.get("input_signature") is None:
            names = (*self.encoder_inputs, "decoder_input_ids")
            specs = {name: keras.InputSpec(shape=(None, None), dtype="int32", name=name) for name in names}
            kwargs["input_signature"] = [specs]
        super().export(filepath, format, **kwargs)

    def prune_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """Remove attention heads of the encoder for good; see `Encoder.prune_heads`."""
        self.encoder.prune_own_heads(heads_to_prune)
        self._set_config(self.encoder.config)
        self.forget_compiled()

    def get_encoder(self) -> Any:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> Any:
        """The decoder."""
        return self.decoder

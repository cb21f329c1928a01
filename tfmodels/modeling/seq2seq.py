"""Base class of the encoder-decoder models: inputs and outputs by transformers' names, encode, decode, fit."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.global_gradients import GlobalGradients
from tfmodels.backend.keras_internals import builds_from
from tfmodels.backend.precision import check_policy
from tfmodels.backend.types import Tensor
from tfmodels.modeling import fitting
from tfmodels.modeling.cache import StaticCache
from tfmodels.modeling.config import RequestedOutputs, config_of
from tfmodels.modeling.decoder import Decoder
from tfmodels.modeling.encode_decode import check_rows, run_decoder, run_encoder, with_target
from tfmodels.modeling.encoder import Encoder
from tfmodels.modeling.family import Backbone
from tfmodels.modeling.inputs import (
    DECODER_INPUTS,
    FURTHER_INPUTS,
    Seq2SeqInputs,
    as_encoder_outputs,
    exactly_one,
    unpack_inputs,
)
from tfmodels.modeling.losses import LossTerm
from tfmodels.modeling.pretrained import PretrainedModel
from tfmodels.utils.checks import check_positive


@builds_from(fitting.with_targets)
class Seq2SeqModel(PretrainedModel):
    """Base class of the encoder-decoder models, with a head or without.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, S). attention_mask: (B, S), 0 on padding; None: no padding.
        global_attention_mask: (B, S), non-zero on global tokens; in families with global tokens.
        decoder_input_ids: int32 (B, T). decoder_attention_mask: (B, T), 0 on padding.
        labels, or start_positions and end_positions: of the models with a head, see there.
        head_mask: (encoder layers, H) or (H,), 0 for masked attention heads.
        inputs_embeds: (B, S, E) in place of `input_ids`.
        decoder_head_mask, cross_attn_head_mask: (decoder layers, H) or (H,).
        encoder_outputs: outputs of `encode`, in place of encoding.
        past_key_values: from an earlier call or `init_cache`: the tokens before `decoder_input_ids`.
        decoder_inputs_embeds: (B, T, E) in place of `decoder_input_ids`.
        use_cache: return `past_key_values`; off by default, as an unused cache costs memory.
        output_attentions, output_hidden_states: return attentions, hidden states; None: the config's setting.

    Returns:
        A dict with "last_hidden_state" (B, T, E) (no head), or the outputs of the head, and "encoder_last_hidden_state"
        (B, S, E). On request, per layer: "decoder_hidden_states", "encoder_hidden_states", "decoder_attentions"
        (B, H, T, keys), "cross_attentions" (B, H, T, S), "encoder_attentions" and "encoder_global_attentions"; and
        "past_key_values": (keys, values, cross keys, cross values), each (B, H, tokens, D), or a given `StaticCache`.

    Raises:
        ValueError: an unknown input, a missing input, or one that is too long.

    Subclasses set `backbone` and `config_class`. With a head they implement `create_head`, `head`, `loss_terms`,
    `counted` and `main_output`. Compiled without a loss, `fit` and `evaluate` use the built-in loss.

    Attributes:
        backbone: the family's part of the model.
        head_inputs: the inputs of a call that are targets.
        decoder_reads_source: whether the decoder's default input is the source, shifted right.
        makes_target_from_labels: whether the decoder's default input is the labels, shifted right.
        takes_class_weight: whether labels can be one class for each row.
    """

    backbone: ClassVar[Backbone]
    head_inputs: ClassVar[tuple[str, ...]] = ()
    decoder_reads_source: ClassVar[bool] = False
    makes_target_from_labels: ClassVar[bool] = False
    takes_class_weight: ClassVar[bool] = False
    _gradients: GlobalGradients | None = None
    _auto_scale_loss: bool = True

    def __init__(self, config: Any, **kwargs: Any) -> None:
        # Sublayers cast their own inputs; autocasting here would round labels of a regression.
        super().__init__(autocast=False, **kwargs)
        check_policy(self.dtype_policy)
        self.config = config_of(self.config_class, config)
        with keras.name_scope(self.name, caller=self):  # for the sublayers' paths
            # The head first: creating a large table takes thrice its memory for a moment, which the body then reuses.
            self.create_head(self.dtype_policy)
            self.shared, self.encoder, self.decoder = self.backbone.create(self.config, self.dtype_policy)
            self.decoder.build((None, None))
        self.encoder.belong_to(self)
        self.build()  # Keras gives a model its path here

    def build(self, input_shape: Any = None) -> None:
        """Mark the model as built: its sublayers were built in `__init__`."""
        self.built = True

    def create_head(self, policy: keras.DTypePolicy) -> None:
        """Create and build the head."""

    def project(self, hidden_states: Tensor) -> dict[str, Tensor]:
        """The outputs for the decoder's last hidden states (B, T, E) of any target."""
        return {"last_hidden_state": hidden_states}

    def head(self, hidden_states: Tensor, inputs: Seq2SeqInputs, training: bool | None) -> dict[str, Tensor]:
        """The outputs for the decoder's last hidden states (B, T, E), and with targets the loss."""
        return self.project(hidden_states)

    def default_target(self, inputs: Seq2SeqInputs) -> Tensor | None:
        """The default decoder inputs, or None."""
        return None

    @classmethod
    def position_fields(cls) -> tuple[str, ...]:
        """The config fields that `resize_position_embeddings` changes."""
        return cls.backbone.position_fields

    @property
    def encoder_inputs(self) -> tuple[str, ...]:
        """The family's inputs of the encoder, in the order of a list."""
        return self.backbone.encoder_inputs

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
        by_keyword = Seq2SeqInputs(
            input_ids,
            attention_mask,
            global_attention_mask,
            decoder_input_ids,
            decoder_attention_mask,
            labels,
            start_positions,
            end_positions,
            head_mask,
            inputs_embeds,
            decoder_head_mask,
            cross_attn_head_mask,
            encoder_outputs,
            past_key_values,
            decoder_inputs_embeds,
        )
        inputs = Seq2SeqInputs(**unpack_inputs(self.input_names, **by_keyword._asdict()))
        requested = self.config.requested_outputs(output_attentions, output_hidden_states)
        targeted = with_target(self, inputs)
        encoded = self._encode(inputs, requested, training)
        check_rows(targeted, encoded)
        decoded = run_decoder(self, targeted, encoded, use_cache, requested, training)
        outputs = self.head(decoded.pop("last_hidden_state"), inputs, training)
        return {**outputs, **decoded, **{f"encoder_{name}": value for name, value in encoded.items()}}

    def encode(
        self,
        input_ids: Any = None,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
        **inputs: Any,
    ) -> dict[str, Any]:
        """Run the encoder alone; arguments and outputs are the encoder's. For `decode` and `encoder_outputs`."""
        return self.encoder(input_ids, attention_mask=attention_mask, training=training, **inputs)

    def _encode(self, inputs: Seq2SeqInputs, requested: RequestedOutputs, training: bool | None) -> dict[str, Any]:
        """The encoder's outputs, computed or from the inputs."""
        if inputs.encoder_outputs is not None:
            return as_encoder_outputs(inputs.encoder_outputs)
        if inputs.input_ids is None and inputs.inputs_embeds is None:
            if inputs.past_key_values is not None:
                return {}  # the cache holds the documents' keys and values
            raise ValueError("input_ids, inputs_embeds or encoder_outputs must be given. Received: none")
        return run_encoder(self, inputs.encoder, requested, training)

    def init_cache(self, batch_size: int, max_length: int, encoder_outputs: Any) -> StaticCache:
        """Create an empty cache for `decode`, with room for `max_length` target tokens.

        Args:
            batch_size: R, the number of documents or a multiple (beams of a document next to each other).
            max_length: M, the room for target tokens.
            encoder_outputs: outputs of `encode`.

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
            decoder_input_ids: int32 (R, T); with a cache the tokens after the cached ones.
            encoder_outputs: outputs of `encode`.
            encoder_attention_mask: (B, S), the documents' mask; None: no padding.
            decoder_attention_mask: (R, tokens so far), 0 on padding.
            past_key_values: from `init_cache` or an earlier call; the outputs then hold the next.
            use_cache, output_attentions, output_hidden_states, training: as in the call.
            **inputs: `decoder_inputs_embeds`, `decoder_head_mask`, `cross_attn_head_mask`.

        Returns:
            "logits" (R, T, V), or "last_hidden_state" of a model without a language-model head, and the requested
            outputs.

        Raises:
            ValueError: an unknown input, or neither documents nor a cache.
        """
        names = ("decoder_input_ids", "decoder_inputs_embeds", "decoder_head_mask", "cross_attn_head_mask")
        unpacked = Seq2SeqInputs(
            **unpack_inputs(names, decoder_input_ids=decoder_input_ids, **inputs),
            attention_mask=encoder_attention_mask,
            decoder_attention_mask=decoder_attention_mask,
            past_key_values=past_key_values,
        )
        exactly_one(decoder_input_ids=unpacked.decoder_input_ids, decoder_inputs_embeds=unpacked.decoder_inputs_embeds)
        if encoder_outputs is None and past_key_values is None:
            raise ValueError("encoder_outputs or past_key_values must be given. Received: neither")
        requested = self.config.requested_outputs(output_attentions, output_hidden_states)
        encoded = {} if encoder_outputs is None else as_encoder_outputs(encoder_outputs)
        returns_cache = use_cache or past_key_values is not None
        decoded = run_decoder(self, unpacked, encoded, returns_cache, requested, training)
        return {**self.project(decoded.pop("last_hidden_state")), **decoded}

    def check_target_length(self, name: str, length: int, origin: str = "") -> None:
        """Raise `ValueError` when a target exceeds the decoder's positions; `origin` ends the error's text."""
        limit = getattr(self.config, "max_decoder_position_embeddings", None)
        # An unknown length is no integer: under JAX a symbol.
        if limit is not None and isinstance(length, Integral) and length > limit:
            raise ValueError(
                f"{name} must be at most max_decoder_position_embeddings={limit}. Received: {length}{origin}"
            )

    @property
    def exported_inputs(self) -> tuple[str, ...]:
        """The encoder's inputs, and the decoder's unless the model makes them of the source."""
        return self.encoder_inputs if self.decoder_reads_source else (*self.encoder_inputs, "decoder_input_ids")

    def resize_position_embeddings(self, **positions: int) -> None:
        """Repeat or cut the learned positions (Beltagy et al. 2020, section 5). Compile again afterwards.

        Args:
            **positions: new numbers by config field, such as `max_encoder_position_embeddings`.

        Raises:
            ValueError: an unknown field, a number below 1, or a family without learned positions.
        """
        if self.backbone.resize_positions is None:
            super().resize_position_embeddings(**positions)
        else:
            self.backbone.resize_positions(self, positions)
            self.forget_compiled()

    def prune_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """Remove attention heads of the encoder for good; see `Encoder.prune_heads`."""
        self.encoder.prune_own_heads(heads_to_prune)
        self.set_config(self.encoder.config)
        self.forget_compiled()

    def get_encoder(self) -> Encoder:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> Decoder:
        """The decoder."""
        return self.decoder

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """The output for compiled losses and metrics."""
        return outputs["last_hidden_state"]

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The built-in loss, as sums over the labels and their numbers.

        Args:
            targets: the targets among the inputs, or `y`.
            outputs: the outputs of a call.
            weights: factors of the labels' losses, (B,) or of the labels' shape.

        Raises:
            ValueError: a model without a head.
        """
        raise ValueError(f"{type(self).__name__} has no loss of its own: compile one. Received: no loss")

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Targets for a loss of Keras, and True for targets that count: bool of their shape or (B,)."""
        first = keras.tree.flatten(targets)[0]
        # A Keras loss reduces hidden states (B, T, E) to (B, T).
        return targets, ops.ones(ops.shape(first)[: max(1, len(first.shape) - 1)], "bool")

    def label_classes(self, labels: Any) -> int | None:
        """The number of classes of class ids, one for each row; None for labels of another kind."""
        return None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The built-in loss, for labels among the inputs or given as `y`; or a compiled loss of the main output.

        Both are means over the labels that count, of all replicas together. `sample_weight` multiplies the losses of
        rows (B,) or labels (B, T), whose number stays the same, as in Keras.
        """
        return fitting.compute_loss(self, super().compute_loss, x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """As in Keras; compiled metrics see the main output, with weights for the labels that count."""
        return fitting.compute_metrics(self, super().compute_metrics, x, y, y_pred, sample_weight)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As in Keras; without a loss the model uses the built-in one, whatever was compiled before.

        Metrics see the same labels as the loss, weighted by `sample_weight`. With `gradient_accumulation_steps` an
        update is the mean over the labels of all its batches.

        Raises:
            ValueError: metrics without weights, or a loss with a reduction that cannot be divided.

        Warns:
            UserWarning: XLA for several replicas of `tf.distribute`, which it cannot compile; it is turned off.
        """
        kwargs = fitting.compile_arguments(self, optimizer, loss, kwargs)
        super().compile(
            optimizer, loss, loss_weights, None, fitting.joined_metrics(metrics, weighted_metrics), **kwargs
        )
        fitting.after_compile(self, kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`, for a file."""
        return fitting.compile_config(self, super().get_compile_config())

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with the arguments in a file; Keras then reads the optimizer's variables."""
        fitting.compile_from_config(self, config)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; arrays are checked first. Labels: an input, or `y`. `class_weight` requires a class per row."""
        return super().fit(**fitting.checked_arguments(self, keras.Model.fit, args, kwargs))

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().evaluate(**fitting.checked_arguments(self, keras.Model.evaluate, args, kwargs))

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().predict(**fitting.checked_arguments(self, keras.Model.predict, args, kwargs))

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().train_on_batch(**fitting.checked_arguments(self, keras.Model.train_on_batch, args, kwargs))

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().test_on_batch(**fitting.checked_arguments(self, keras.Model.test_on_batch, args, kwargs))

    def train_step(self, *args: Any) -> Any:
        """As in Keras, with the labels in place."""
        return fitting.step(self, super().train_step, args, training=True)

    def test_step(self, *args: Any) -> Any:
        """As in Keras, with the labels in place."""
        return fitting.step(self, super().test_step, args, training=False)

    def predict_step(self, *args: Any) -> Any:
        """As in Keras, without the loss (no batch axis) and the encoder's states (1,000 times a head's outputs)."""
        return fitting.predicted(super().predict_step, args)

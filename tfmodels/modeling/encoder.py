"""Base class of the encoders, with call formats, hidden states and attentions on request."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import keras

from tfmodels.backend.keras_internals import sublayers
from tfmodels.backend.precision import check_policy
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_mask, checked_ids
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.config import config_of
from tfmodels.modeling.inputs import ENCODER_OPTIONS, EncoderInputs, exactly_one, unpack_inputs
from tfmodels.modeling.pretrained import PretrainedModel
from tfmodels.modeling.stack import block_calls, keep_or_drop, per_layer
from tfmodels.utils.checks import check_shape


class EncoderContext(NamedTuple):
    """Inputs that every block of an encoder shares: the masks, and the biases, computed once per call.

    attention_mask, global_attention_mask: (B, L) or None. window_bias, side_bias: see `block_attention`, or None.
    """

    attention_mask: Tensor | None = None
    global_attention_mask: Tensor | None = None
    window_bias: Tensor | None = None
    side_bias: Tensor | None = None


class EncoderBlock(keras.layers.Layer):
    """One block of an encoder; called with the hidden states, an `EncoderContext`, `head_mask` and `training`."""

    # Trace the call, which checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, L, E), as the input."""
        return tuple(hidden_states_shape)

    def attention_probabilities(
        self, hidden_states: Tensor, context: EncoderContext, head_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The attention probabilities of the call with the same arguments, without dropout."""
        raise NotImplementedError

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        raise NotImplementedError


class Encoder(PretrainedModel):
    """Base class of the encoders, which are complete Keras models.

    Subclasses set `input_names`, `blocks`, `num_heads` and implement `create_layers`, `embed`, `context` and
    `finalize`.

    Attributes:
        input_names: the inputs of a call, in the order of a list.
        gradient_checkpointing: recompute each block in the backward pass in place of keeping its values.
    """

    input_names: ClassVar[tuple[str, ...]]
    blocks: list[EncoderBlock]
    num_heads: int
    layerdrop: float = 0.0
    layerdrop_seed: keras.random.SeedGenerator | None = None
    built: bool

    def __init__(self, config: Any, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_policy(self.dtype_policy)
        self.config = config_of(self.config_class, config)
        self.gradient_checkpointing = self.config.gradient_checkpointing
        with keras.name_scope(self.name, caller=self):  # for the sublayers' paths
            self.create_layers(embed_tokens, self.dtype_policy)
        self.build((None, None))

    def weights_root(self) -> Any:
        """The object at which the paths of weight rules start: like a model with an encoder alone."""
        return SimpleNamespace(shared=self.embed_tokens, encoder=self)

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers: `embed_tokens`, `blocks` and the layers before and after them."""
        raise NotImplementedError

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers to build from the shape of the hidden states."""
        raise NotImplementedError

    def shard_multiple(self) -> int:
        """The number of tokens of which a device must hold a multiple, where the length is divided over devices."""
        raise ValueError(f"model must have an encoder whose length can be divided. Received: {type(self).__name__}")

    def embed(self, inputs: EncoderInputs, training: bool | None) -> Tensor:
        """The input of the first block (B, L, E)."""
        raise NotImplementedError

    def context(self, hidden_states: Tensor, inputs: EncoderInputs) -> EncoderContext:
        """The context of the blocks, from the first block's input."""
        raise NotImplementedError

    def attention_context(self, context: EncoderContext) -> EncoderContext:
        """The context of `EncoderBlock.attention_probabilities`, computed if attentions are requested."""
        return context

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """The last hidden states, from the last block's output."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Create every weight; the config determines all shapes."""
        if self.built:  # loading a saved file builds a second time
            return
        for layer in self.layers_to_build():
            layer.build((None, None, self.config.d_model))
        self.built = True

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Encode; see the class docstring."""
        unpacked = unpack_inputs(
            self.input_names,
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
        )
        inputs = self.checked_inputs(EncoderInputs(**unpacked))
        requested = self.config.requested_outputs(output_attentions, output_hidden_states)
        hidden_states = self.embed(inputs, training)
        context = self.context(hidden_states, inputs)
        attention_context = self.attention_context(context) if requested.attentions else None
        head_masks = per_layer("head_mask", inputs.head_mask, len(self.blocks), self.num_heads)

        states, attentions = [], []
        call = block_calls(self.blocks, bool(self.gradient_checkpointing and training))
        for block, mask in zip(self.blocks, head_masks, strict=True):
            states.append(hidden_states)
            if attention_context is not None:
                attentions.append(block.attention_probabilities(hidden_states, attention_context, mask))
            after = call(block, hidden_states, context=context, head_mask=mask, training=training)
            hidden_states = keep_or_drop(after, hidden_states, self.layerdrop, self.layerdrop_seed, training)
        hidden_states = self.finalize(hidden_states, training)
        outputs: dict[str, Any] = {"last_hidden_state": hidden_states}
        if requested.hidden_states:
            outputs["hidden_states"] = (*states, hidden_states)
        if requested.attentions:
            outputs |= {name: tuple(layer[name] for layer in attentions) for name in attentions[0]}
        return outputs

    @property
    def exported_inputs(self) -> tuple[str, ...]:
        """The family's inputs of an encoder."""
        return tuple(name for name in self.input_names if name not in ENCODER_OPTIONS)

    # Trace the call, whose outputs depend on its arguments.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[Any, ...]]:
        """The shape of the last hidden states, for `summary`."""
        return {"last_hidden_state": (*tuple(input_shape)[:2], self.config.d_model)}

    def checked_inputs(self, inputs: EncoderInputs) -> EncoderInputs:
        """The inputs, after checks: either ids or embeddings, and masks of their shape."""
        exactly_one(input_ids=inputs.input_ids, inputs_embeds=inputs.inputs_embeds)
        if inputs.inputs_embeds is None:
            source = inputs.input_ids
            check_shape("input_ids", source, (None, None), "documents, tokens")
            inputs = inputs._replace(input_ids=checked_ids("input_ids", source, self.config.vocab_size))
        else:
            source = inputs.inputs_embeds
            check_shape("inputs_embeds", source, (None, None, self.config.d_model), "documents, tokens, d_model")
        shape = tuple(source.shape)[:2]  # type: ignore[union-attr]
        for name in ("attention_mask", "global_attention_mask"):
            if getattr(inputs, name) is not None:
                check_shape(name, getattr(inputs, name), shape, "documents, tokens")
        if inputs.attention_mask is not None:
            check_mask("attention_mask", inputs.attention_mask)
        return inputs

    def prune_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """Remove attention heads for good. Compile again afterwards.

        The config records them, so that a saved model can be loaded here (transformers cannot load it).

        Args:
            heads_to_prune: {layer: heads}, by the original indices.

        Raises:
            ValueError: an unknown layer or head, or all heads of a layer.
        """
        owner = self.owner()
        if owner is not None:
            owner.prune_heads(heads_to_prune)
        else:
            self.prune_own_heads(heads_to_prune)

    def prune_own_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """Remove attention heads of this encoder alone; called by its model."""
        config = self.config.with_pruned_heads(heads_to_prune)
        for layer in sublayers(self):  # check all before changing any
            check_plain(layer, "prune_heads")
        for number, heads in heads_to_prune.items():
            self.blocks[int(number)].prune_heads(list(heads))
        self.config = config
        self.forget_compiled()

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The layer that looks up token embeddings."""
        return self.embed_tokens

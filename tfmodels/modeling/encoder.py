"""What the encoders of both families share: call formats, hidden states and attentions on request.

Shape letters: B batch, L length, E model size, H heads.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.keras_internals import sublayers
from tfmodels.backend.precision import check_policy
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_mask, checked_ids
from tfmodels.layers.resizing import check_plain
from tfmodels.modeling.config import config_of
from tfmodels.modeling.inputs import exactly_one, unpack_inputs
from tfmodels.modeling.pretrained import Pretrained
from tfmodels.modeling.stack import Stack
from tfmodels.utils.checks import check_shape

OPTIONAL_INPUTS = ("head_mask", "inputs_embeds")
"""Inputs that every encoder has, after those of its family."""


class EncoderBlock(keras.layers.Layer):
    """One layer of an encoder; called with the hidden states, `head_mask`, `training` and the encoder's context."""

    # By tracing the call: it checks the inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, L, E), as the input."""
        return tuple(hidden_states_shape)

    def attention_probabilities(
        self, hidden_states: Tensor, head_mask: Tensor | None = None, **context: Any
    ) -> dict[str, Tensor]:
        """Attention probabilities of the call with the same arguments, without dropout."""
        raise NotImplementedError

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        raise NotImplementedError


class Encoder(Pretrained, Stack):
    """Base of `LEDEncoder` and `LongT5Encoder`.

    Subclasses set `input_names`, `blocks`, `num_heads` and implement `make_parts`, `embed`, `context` and `finish`.
    """

    input_names: ClassVar[tuple[str, ...]]
    blocks: list[EncoderBlock]
    num_heads: int

    def __init__(self, config: Any, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_policy(self.dtype_policy)
        self.config = config_of(self.config_class, config)
        self.set_layerdrop(0.0)
        self.gradient_checkpointing = self.config.gradient_checkpointing
        with keras.name_scope(self.name, caller=self):  # sublayers' paths then carry their parents' names
            self.make_parts(embed_tokens, self.dtype_policy)
        self.build((None, None))

    def weights_root(self) -> Any:
        """The object from which the paths of `weight_rows` start: a model of which only the encoder is there."""
        return SimpleNamespace(shared=self.embed_tokens, encoder=self)

    def make_parts(self, embed_tokens: keras.layers.Layer | None, policy: Any) -> None:
        """Create the sublayers: `embed_tokens`, `blocks` and what stands before and after them."""
        raise NotImplementedError

    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, training: bool | None) -> Tensor:
        """(B, L) ids or (B, L, E) embeddings -> (B, L, E), what the first block gets."""
        raise NotImplementedError

    def context(self, hidden_states: Tensor, masks: Mapping[str, Tensor | None]) -> dict[str, Any]:
        """What every block gets besides its hidden states: masks, and biases made once per call."""
        raise NotImplementedError

    def attention_context(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The same for `EncoderBlock.attention_probabilities`, made only when attentions are asked for."""
        return dict(context)

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """What follows the last block."""
        raise NotImplementedError

    built: bool

    def build(self, input_shape: Any = None) -> None:
        """Create every weight: the config knows all sizes."""
        if self.built:  # also true when a saved file asks for it again
            return
        for part in self.parts():
            part.build((None, None, self.config.d_model))
        self.built = True

    def parts(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        raise NotImplementedError

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
        inputs = unpack_inputs(
            self.input_names,
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
        )
        inputs = self._checked_inputs(inputs)
        asked = self.config.asked(output_attentions=output_attentions, output_hidden_states=output_hidden_states)
        hidden_states = self.embed(inputs["input_ids"], inputs["inputs_embeds"], training)
        head_masks = self._head_masks(inputs["head_mask"])
        context = self.context(hidden_states, inputs)
        reported = self.attention_context(context) if asked["output_attentions"] else {}

        states, attentions = [], []
        for block, mask in zip(self.blocks, head_masks, strict=True):
            states.append(hidden_states)
            if asked["output_attentions"]:
                attentions.append(block.attention_probabilities(hidden_states, head_mask=mask, **reported))
            after = self.runner(block, training)(hidden_states, head_mask=mask, training=training, **context)
            hidden_states = self.keep_or_drop(after, hidden_states, training)
        hidden_states = self.finish(hidden_states, training)
        outputs: dict[str, Any] = {"last_hidden_state": hidden_states}
        if asked["output_hidden_states"]:
            outputs["hidden_states"] = (*states, hidden_states)
        if asked["output_attentions"]:
            outputs |= {name: tuple(layer[name] for layer in attentions) for name in attentions[0]}
        return outputs

    # By tracing the call, whose outputs depend on its arguments.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[Any, ...]]:
        """Of the last hidden states, for `summary`."""
        return {"last_hidden_state": (*tuple(input_shape)[:2], self.config.d_model)}

    def _checked_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """One of ids and embeddings, and masks of their size."""
        exactly_one(inputs, "input_ids", "inputs_embeds")
        if inputs["inputs_embeds"] is None:
            source = inputs["input_ids"]
            check_shape("input_ids", source, (None, None), "documents, tokens")
            inputs["input_ids"] = checked_ids("input_ids", source, self.config.vocab_size)
        else:
            source = inputs["inputs_embeds"]
            check_shape("inputs_embeds", source, (None, None, self.config.d_model), "documents, tokens, d_model")
        for name in ("attention_mask", "global_attention_mask"):
            if inputs.get(name) is not None:
                check_shape(name, inputs[name], tuple(source.shape)[:2], "documents, tokens")
        if inputs["attention_mask"] is not None:
            check_mask("attention_mask", inputs["attention_mask"])
        return inputs

    def _head_masks(self, head_mask: Tensor | None) -> list[Tensor | None]:
        return per_layer("head_mask", head_mask, len(self.blocks), self.num_heads)

    def prune_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """Remove attention heads for good: {layer: heads}, counted as in the config.

        The config remembers them, so that a saved model is the same when we load it; transformers cannot. Compile again
        afterwards.

        Raises:
            ValueError: a layer or head that does not exist, or all heads of a layer.
        """
        if self.owner() is not None:
            self.owner().prune_heads(heads_to_prune)
        else:
            self.prune_own_heads(heads_to_prune)

    def prune_own_heads(self, heads_to_prune: Mapping[int, list[int]]) -> None:
        """The same here alone, for the model that this encoder is a part of."""
        config = self.config.with_pruned_heads(heads_to_prune)
        for layer in sublayers(self):  # all of them first, so that none is pruned when one cannot be
            check_plain(layer, "prune_heads")
        for layer, heads in heads_to_prune.items():
            self.blocks[int(layer)].prune_heads(list(heads))
        self.config = config
        self.forget_compiled()

    def get_input_embeddings(self) -> keras.layers.Layer:
        """The layer that looks up token embeddings."""
        return self.embed_tokens


def per_layer(name: str, head_mask: Tensor | None, layers: int, heads: int) -> list[Tensor | None]:
    """A head mask (layers, H), or (H,) for all layers, as one (H,) or None per layer.

    Raises:
        ValueError: another shape.

    >>> len(per_layer("head_mask", ops.ones((3, 2)), layers=3, heads=2))
    3
    """
    if head_mask is None:
        return [None] * layers
    head_mask = ops.convert_to_tensor(head_mask)
    shape = tuple(head_mask.shape)
    if shape not in ((layers, heads), (heads,)):
        raise ValueError(f"{name} must have shape {(layers, heads)} or {(heads,)}. Received: shape {shape}")
    head_mask = ops.broadcast_to(head_mask, (layers, heads))
    return [head_mask[layer] for layer in range(layers)]

"""An encoder over a document whose length is divided over devices: each holds its tokens and asks for its neighbours'.

Attention to a window needs the keys and values of `margin` tokens on either side: two neighbours send them. Global
tokens are few and go to every device; what they read of the document is summed over the devices under one softmax. Of
LongT5's summaries each device makes its own, and all devices get all of them. Nothing else that has the length moves.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from tfmodels.backend.autocast import scope_of_values, stored_values
from tfmodels.backend.devices import compiling_for, device_kind
from tfmodels.backend.document import DividedDocument, divided
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_global_capacity
from tfmodels.layers.blocks import pad_axis, padding_to_multiple
from tfmodels.modeling.encoder import Encoder
from tfmodels.modeling.inputs import EncoderInputs, exactly_one, unpack_inputs

# Inputs with a value for each token; `head_mask` has none.
_PER_TOKEN = ("input_ids", "attention_mask", "global_attention_mask", "inputs_embeds")


class ShardedEncoder:
    """The encoder of a model, called on documents that are divided along their length (JAX).

    Outputs and gradients are the encoder's, up to the order of sums, and so is dropout where a step of the attention's
    loop is one block (CPU, TPU). The memory of a device falls with the number of devices, but for the weights, which
    each device holds whole. A call may stand inside a function that is compiled or differentiated: it reads the weights
    of a `keras.StatelessScope` around it. Programs are made for the kind of the mesh's devices.

    Args:
        model: a model, or an encoder.
        mesh: a `jax.sharding.Mesh`, or a `keras.distribution.DeviceMesh`. Over its other axes everything is repeated.
        axis: the axis of the mesh over which the length is divided.

    Call arguments:
        input_ids, attention_mask, global_attention_mask, inputs_embeds, head_mask: as in the encoder's call, of any
            length: the last shards are padded.
        training: as in Keras.

    Returns:
        {"last_hidden_state": (B, L, E)}, which `encoder_outputs=` of a model takes. It is divided along L if L is a
        multiple of `multiple`. Otherwise the padding is cut off at the end, for which JAX may bring it to every device.

    Attributes:
        multiple: the number of tokens in a block of each device.

    Raises:
        ValueError: another backend than JAX, an axis that the mesh does not have, an encoder that cannot be divided, an
            unknown input, or inputs that the encoder refuses.

    >>> from tfmodels import LongT5Config, LongT5Encoder
    >>> config = LongT5Config(vocab_size=64, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=7)
    >>> if keras.backend.backend() == "jax":
    ...     import jax
    ...
    ...     mesh = jax.make_mesh((1,), ("length",), devices=jax.devices()[:1])
    ...     encode = ShardedEncoder(LongT5Encoder(config), mesh)
    ...     assert encode(ops.ones((1, 50), "int32"))["last_hidden_state"].shape == (1, 50, 8)
    """

    def __init__(self, model: keras.Model, mesh: Any, axis: str = "length") -> None:
        if keras.backend.backend() != "jax":
            raise ValueError(f"ShardedEncoder must run under JAX. Received: the backend {keras.backend.backend()}")
        import jax

        mesh = getattr(mesh, "backend_mesh", mesh)
        if axis not in mesh.axis_names:
            raise ValueError(f"axis must be one of the mesh's axes {list(mesh.axis_names)}. Received: axis={axis!r}")
        self.encoder: Encoder = getattr(model, "encoder", model)
        if not isinstance(self.encoder, Encoder):
            raise ValueError(f"model must be an encoder or have one. Received: {type(self.encoder).__name__}")
        self.axis, self.devices = axis, mesh.shape[axis]
        # Of automatic axes, where JAX chooses the layouts between the shards' programs: `jax.make_mesh` has others.
        self.mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names)
        self.multiple = self.devices * self.encoder.shard_multiple()
        self._program = jax.jit(self._encode, static_argnames=("training", "kind", "recomputes"))

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        global_attention_mask: Any = None,
        inputs_embeds: Any = None,
        head_mask: Any = None,
        training: bool = False,
    ) -> dict[str, Tensor]:
        """Encode; see the class docstring."""
        inputs = self._checked(
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            inputs_embeds=inputs_embeds,
            head_mask=head_mask,
        )
        variables = self.encoder.variables
        hidden_states, updated = self._program(stored_values(variables), inputs, **self._settings(training))
        for place, value in updated.items():
            variables[place].assign(value)
        length = _shape(inputs)[1]
        # Not in the program: what is no whole number of shards moves between devices.
        return {"last_hidden_state": hidden_states if length % self.multiple == 0 else hidden_states[:, :length]}

    def lower(self, training: bool = False, **inputs: Any) -> Any:
        """The program for inputs of some shapes, to be compiled for any devices: a `jax.stages.Lowered`.

        The devices of the mesh need not exist: those of `jax.experimental.topologies` will do.

        Args:
            training: as in the call.
            **inputs: those of the call, each a `jax.ShapeDtypeStruct`.
        """
        import jax

        unpacked = unpack_inputs(self.encoder.input_names, **inputs)
        exactly_one(input_ids=unpacked.get("input_ids"), inputs_embeds=unpacked.get("inputs_embeds"))
        given = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in stored_values(self.encoder.variables)]
        return self._program.lower(given, inputs, **self._settings(training))

    def _settings(self, training: bool) -> dict[str, Any]:
        """What makes another program for inputs of the same shapes: for `jax.jit` to know."""
        kind = device_kind(self.mesh.devices.flat[0].platform)
        return {"training": training, "kind": kind, "recomputes": bool(self.encoder.gradient_checkpointing)}

    def _checked(self, **inputs: Any) -> dict[str, Tensor]:
        """The inputs that are given, as tensors."""
        encoder = self.encoder
        unpacked = encoder.checked_inputs(EncoderInputs(**unpack_inputs(encoder.input_names, **inputs)))
        if unpacked.global_attention_mask is not None:
            check_global_capacity(
                unpacked.global_attention_mask, unpacked.attention_mask, encoder.config.max_global_tokens
            )
        return {name: ops.convert_to_tensor(x) for name, x in unpacked._asdict().items() if x is not None}

    def _encode(
        self, values: list[Tensor], inputs: dict[str, Tensor], training: bool, kind: str, recomputes: bool
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Hidden states (B, L, E), with L padded to whole shards, and by its place each updated variable's value."""
        import jax
        from jax.sharding import PartitionSpec

        batch, length = _shape(inputs)
        inputs = {"attention_mask": ops.ones((batch, length), "int32"), **inputs}
        after = padding_to_multiple(length, self.multiple)
        document = DividedDocument(self.axis, self.devices, length)
        per_token, repeated = PartitionSpec(None, self.axis), PartitionSpec()
        encode = jax.shard_map(
            partial(self._encode_shard, document, training),
            mesh=self.mesh,
            in_specs=(repeated, {name: per_token if name in _PER_TOKEN else repeated for name in inputs}),
            out_specs=(per_token, repeated),
            # The engine's own gradient and its loop do not say over which axes their values vary.
            check_vma=False,
        )
        padded = {name: pad_axis(x, 1, after=after) if name in _PER_TOKEN else x for name, x in inputs.items()}
        with compiling_for(kind):
            return encode(values, padded)

    def _encode_shard(
        self, document: DividedDocument, training: bool, values: list[Tensor], inputs: dict[str, Tensor]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The same on one device, for its shard of the length."""
        variables = self.encoder.variables
        with divided(document), scope_of_values(variables, values) as scope:
            outputs = self.encoder(**inputs, output_attentions=False, output_hidden_states=False, training=training)
        new = [scope.get_current_value(variable) for variable in variables]
        updated = {place: x for place, (x, old) in enumerate(zip(new, values, strict=True)) if x is not old}
        return outputs["last_hidden_state"], updated


def _shape(inputs: dict[str, Tensor]) -> tuple[int, int]:
    """(B, L), of the ids or the embeddings."""
    batch, length = (inputs["input_ids"] if "input_ids" in inputs else inputs["inputs_embeds"]).shape[:2]
    return batch, length

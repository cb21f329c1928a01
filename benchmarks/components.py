"""The components of one of our models as functions of tensors, made of the model's layers. B is here 1."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
from keras import ops

from benchmarks.arithmetic import WINDOW, encoder_operations, product_operations
from benchmarks.models import FAMILIES, GLOBAL_TOKEN_KEYS, GLOBAL_TOKENS, config_fields
from benchmarks.task import Task
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.modeling.encoder import EncoderContext
from tfmodels.modeling.inputs import EncoderInputs, Seq2SeqInputs

WHOLE_ATTENTION = "self-attention, whole"
"""The name of the whole layer, timed beside its components for the difference."""
_PROJECTIONS = (("query", "q"), ("key", "k"), ("value", "v"))
_NORMS = ("self_attention_norm", "feed_forward_norm", "final_norm")


class Component(NamedTuple):
    """A component of a model.

    function: tensors -> tensors. arguments: the tensors to time it with. layers: the layers whose weights get gradients
    too. times: the number of its runs in the job. operations: the operations of one forward pass, 0 without products.
    in_attention: whether it belongs to the self-attention layer. is_differentiated: whether training takes its
    gradient.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Tensor, ...]
    layers: tuple[keras.layers.Layer, ...] = ()
    times: int = 1
    operations: int = 0
    in_attention: bool = False
    is_differentiated: bool = True


class _Sizes(NamedTuple):
    length: int
    width: int
    inner: int
    heads: int
    layers: int
    training: bool


def encoder_components(model: Any, task: Task, inputs: Mapping[str, Tensor]) -> list[Component]:
    """The parts of the encoder, and the whole self-attention layer under the name `WHOLE_ATTENTION`.

    Args:
        model: ours, with a language model's head.
        task: family, job and length.
        inputs: of the job, as tensors.
    """
    encoder, block = model.encoder, model.encoder.blocks[0]
    attention = block.self_attention
    width = model.config.d_model
    heads, training = attention.num_heads, task.job == "train"
    head_size = getattr(attention, "head_size", width // heads)
    sizes = _Sizes(task.length, width, heads * head_size, heads, len(encoder.blocks), training)
    hidden = keras.random.normal((1, task.length, width), seed=0)
    masks = EncoderInputs(
        attention_mask=inputs.get("attention_mask"), global_attention_mask=inputs.get("global_attention_mask")
    )
    context = encoder.context(hidden, masks)
    parts = [
        Component(
            "embedding",
            lambda ids: encoder.embed(EncoderInputs(input_ids=ids), training),
            (inputs["input_ids"],),
            (encoder.embed_tokens,),
        ),
        *_position_biases(encoder, hidden, masks),
        *_attention_components(block, task, sizes, hidden, context),
        *_feed_forward_components(block.feed_forward, sizes, hidden),
        _norms(block, sizes, hidden),
    ]
    if encoder.finalize(hidden, False) is not hidden:  # LED's last block ends in a norm of its own
        parts.append(Component("final norm", lambda x: encoder.finalize(x, training), (hidden,)))
    return parts


def _position_biases(encoder: Any, hidden: Tensor, masks: EncoderInputs) -> list[Component]:
    if encoder.context(hidden, masks).window_bias is None:
        return []

    def biases(attention_mask: Tensor) -> Any:
        context = encoder.context(hidden, masks._replace(attention_mask=attention_mask))
        return [x for x in (context.window_bias, context.side_bias) if x is not None]

    return [Component("position biases", biases, (masks.attention_mask,), (encoder.blocks[0].self_attention,))]


def _attention_components(
    block: Any, task: Task, sizes: _Sizes, hidden: Tensor, context: EncoderContext
) -> list[Component]:
    attention = block.self_attention
    projections = tuple(_first(attention, names) for names in _PROJECTIONS)
    # LED's output projection belongs to the block, T5's to the attention.
    is_inside = hasattr(attention, "o")
    output = attention.o if is_inside else block.attention_output
    present = {name: value for name, value in context._asdict().items() if value is not None}
    biases = {name: value for name, value in present.items() if name.endswith("_bias")}
    fixed = {name: value for name, value in present.items() if name not in biases}

    def whole(x: Tensor, *values: Tensor) -> Tensor:
        return attention(x, training=sizes.training, **fixed, **dict(zip(biases, values, strict=True)))

    one_product = product_operations(sizes.length, sizes.width, sizes.inner)
    merged = keras.random.normal((1, sizes.length, sizes.inner), seed=1)
    return [
        Component(
            "query, key, value",
            lambda x: [part(x) for part in projections],
            (hidden,),
            projections,
            sizes.layers,
            3 * one_product,
            in_attention=True,
        ),
        _core(attention, task, sizes, biases),
        Component("output projection", output, (merged,), (output,), sizes.layers, one_product, is_inside),
        Component(WHOLE_ATTENTION, whole, (hidden, *biases.values()), (attention,), sizes.layers),
    ]


def _core(attention: Any, task: Task, sizes: _Sizes, biases: Mapping[str, Tensor]) -> Component:
    """The attention engine, with as many side keys as the family has, without dropout."""
    head_size = sizes.inner // sizes.heads
    fields = config_fields(task.family, task.size, task.length)
    operations = encoder_operations(task.family, fields, task.length, GLOBAL_TOKENS)[WINDOW] // sizes.layers
    side_count, queries_per_bias = 0, 1
    if FAMILIES[task.family].side_keys == GLOBAL_TOKEN_KEYS:
        side_count = attention.max_global_tokens
    elif "side_bias" in biases:
        queries_per_bias = attention.global_block_size
        side_count = task.length // queries_per_bias
        operations += 2 * product_operations(task.length, sizes.inner, side_count)
    mask = ops.ones((1, task.length), "bool")
    names = tuple(biases)

    def core(query: Tensor, key: Tensor, value: Tensor, *rest: Tensor) -> Tensor:
        given_biases = dict(zip(names, rest[: len(names)], strict=True))
        side = None
        if side_count:
            keys, values = rest[len(names) :]
            exists = ops.ones((1, side_count), "bool")
            side = SideKeys(keys, values, exists, bias=given_biases.get("side_bias"), queries_per_bias=queries_per_bias)
        window_bias = given_biases.get("window_bias")
        return block_attention(query, key, value, mask, attention.geometry, window_bias=window_bias, side=side)

    def heads(tokens: int, seed: int) -> Tensor:
        return keras.random.normal((1, sizes.heads, tokens, head_size), seed=seed)

    extras = (heads(side_count, 5), heads(side_count, 6)) if side_count else ()
    arguments = (heads(task.length, 2), heads(task.length, 3), heads(task.length, 4), *biases.values(), *extras)
    return Component("attention core", core, arguments, (), sizes.layers, operations, in_attention=True)


def _feed_forward_components(feed_forward: Any, sizes: _Sizes, hidden: Tensor) -> list[Component]:
    inputs = (feed_forward.wi, feed_forward.wi_linear) if feed_forward.gated else (feed_forward.wi,)
    wide = keras.random.normal((1, sizes.length, feed_forward.hidden_size), seed=7)
    operations = product_operations(sizes.length, sizes.width, feed_forward.hidden_size)

    def activation(x: Tensor, *linear: Tensor) -> Tensor:
        x = feed_forward.activate(x)
        for factor in linear:
            x = x * factor
        return feed_forward.hidden_dropout(x, training=sizes.training)

    return [
        Component(
            "feed-forward, into",
            lambda x: [part(x) for part in inputs],
            (hidden,),
            inputs,
            sizes.layers,
            len(inputs) * operations,
        ),
        Component("feed-forward, activation", activation, (wide,) * len(inputs), (), sizes.layers),
        Component("feed-forward, out of", feed_forward.wo, (wide,), (feed_forward.wo,), sizes.layers, operations),
    ]


def _norms(block: Any, sizes: _Sizes, hidden: Tensor) -> Component:
    norms = tuple(getattr(block, name) for name in _NORMS if hasattr(block, name))

    def norms_and_residuals(x: Tensor, y: Tensor) -> Tensor:
        for norm in norms:
            x = norm(x + block.residual_dropout(y, training=sizes.training))
        return x

    return Component("norms and residuals", norms_and_residuals, (hidden, hidden + 1.0), norms, sizes.layers)


def training_components(model: Any, task: Task, inputs: Mapping[str, Tensor]) -> list[Component]:
    """The components of a training step besides the encoder: decoder, head with its loss, and the optimizer's update.

    The model must be compiled, and have taken a step.
    """
    labels, width = inputs["labels"], model.config.d_model
    encoded = keras.random.normal((1, task.length, width), seed=8)
    decoded = keras.random.normal((1, labels.shape[1], width), seed=9)
    variables = model.trainable_variables

    def decode(hidden_states: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        outputs = model.decoder(ids, encoder_hidden_states=hidden_states, encoder_attention_mask=mask, training=True)
        return outputs["last_hidden_state"]

    def loss(hidden_states: Tensor, labels: Tensor) -> Tensor:
        return model.head(hidden_states, Seq2SeqInputs(labels=labels), True)["loss"]

    def update(*gradients: Tensor) -> Tensor:
        model.optimizer.apply(list(gradients), variables)
        return model.optimizer.iterations.value + 0

    zeros = tuple(ops.zeros(variable.shape, variable.dtype) for variable in variables)
    head = model.get_output_embeddings()
    return [
        Component("decoder", decode, (encoded, labels, inputs["attention_mask"]), (model.decoder,)),
        Component(
            "head and loss",
            loss,
            (decoded, labels),
            (head,),
            operations=product_operations(labels.shape[1], width, model.config.vocab_size),
        ),
        Component("optimizer update", update, zeros, is_differentiated=False),
    ]


def _first(holder: Any, names: tuple[str, ...]) -> Any:
    """The attribute with the first existing name: the families' layers have the names of different papers."""
    return next(getattr(holder, name) for name in names if hasattr(holder, name))

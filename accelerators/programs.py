"""The functions that are compiled, and the shapes of their arguments. Import it after `targets.set_environment`."""

import contextlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

import tfmodels
from accelerators.jobs import BEAMS, Job
from benchmarks.models import FAMILIES, class_name, config_fields, make_inputs
from tfmodels.distribution import ShardedEncoder, layout_map
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.layers.attention.window import WindowGeometry

# Attention's dropout is off by default in one family; a train step is to have all that a step can have.
_TRAINING = {"attention_dropout": 0.1}
# As many as a tiny model has heads at least.
_CHIPS_OF_A_WEIGHT = 2


class Placement(NamedTuple):
    """How arguments lie on the chips: `split` over the documents, or `whole` on each. None: as JAX likes.

    weights: where the weights lie that are not whole, by their paths. distribution: of `keras.distribution`, or None.
    """

    split: Any = None
    whole: Any = None
    devices: Sequence[Any] = ()
    weights: Mapping[str, Any] = MappingProxyType({})
    distribution: Any = None

    @classmethod
    def over(cls, devices: Sequence[Any]) -> "Placement":
        """Documents divided among devices, and all else on each of them."""
        mesh = jax.sharding.Mesh(np.array(devices), ("batch",))
        spec = jax.sharding.PartitionSpec
        split, whole = (jax.sharding.NamedSharding(mesh, spec(*axes)) for axes in (("batch",), ()))
        return cls(split, whole, devices)


class Function(NamedTuple):
    """A jitted function, shapes in place of its arguments, and a `keras.distribution` or None."""

    function: Any
    arguments: tuple[Any, ...]
    distribution: Any = None

    def trace(self) -> Any:
        """The function as JAX traces it, under Keras' distribution if there is one."""
        with self.distribution.scope() if self.distribution else contextlib.nullcontext():
            return self.function.trace(*self.arguments)


def make_function(job: Job, placement: Placement | None = None) -> Function:
    """The job as a new function; nothing is traced or computed yet.

    The models' weights are random: no program depends on their values.
    """
    placement = placement or Placement()
    if job.what.startswith("attention"):
        return _attention(job, placement)
    model = _make_model(job)
    if job.is_training:
        return _train(model, job, _parallel(model, placement) if job.what == "train parallel" else placement)
    if job.is_divided:
        return _encode_divided(model, job, placement)
    return _encode(model, job, placement) if job.what == "encode" else _generate(model, job, placement)


def _make_model(job: Job) -> Any:
    keras.utils.set_random_seed(0)
    fields = config_fields(job.family, job.size, job.length)
    config_class = getattr(tfmodels, class_name(job.family, "Config"))
    if job.is_training:
        names = config_class.__dataclass_fields__
        fields |= {name: value for name, value in _TRAINING.items() if name in names}
    is_mixed = job.is_training and job.dtype != "float32"
    model_class = getattr(tfmodels, class_name(job.family, "ForConditionalGeneration"))
    model = model_class(config_class(**fields), dtype=f"mixed_{job.dtype}" if is_mixed else job.dtype)
    if job.is_training:
        model.gradient_checkpointing_enable()
    return model


def _encode(model: Any, job: Job, placement: Placement) -> Function:
    variables = model.encoder.variables

    def encode(values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return model.encode(**inputs)["last_hidden_state"]

    arguments = _like([v.value for v in variables], placement.whole), _inputs(job, placement)
    return Function(jax.jit(encode, out_shardings=placement.split), arguments)


def _encode_divided(model: Any, job: Job, placement: Placement) -> Function:
    variables = model.encoder.variables
    encoder = ShardedEncoder(model, jax.sharding.Mesh(np.array(placement.devices), ("length",)))

    def encode(values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return encoder(**inputs)["last_hidden_state"]

    return Function(jax.jit(encode), (_like([v.value for v in variables], None), _like(_made(job), None)))


def _train(model: Any, job: Job, placement: Placement) -> Function:
    model.compile(optimizer=keras.optimizers.AdamW(1e-4), jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    of_moments = {path.replace("/", "_"): sharding for path, sharding in placement.weights.items()}

    def shape(variable: Any) -> Any:
        # AdamW's moments lie where their weight lies. Keras names them after its path.
        name = variable.name.removesuffix("_momentum").removesuffix("_velocity")
        return _like(variable.value, placement.weights.get(variable.path, of_moments.get(name, placement.whole)))

    state = tuple([shape(variable) for variable in group] for group in groups)
    kept = None if placement.whole is None else (None, jax.tree.map(lambda x: x.sharding, state))
    step = jax.jit(model.train_step, donate_argnums=0, out_shardings=kept)
    return Function(step, (state, (_inputs(job, placement),)), placement.distribution)


def _parallel(model: Any, placement: Placement) -> Placement:
    """Each weight divided over two of the chips, and the documents over all pairs."""
    shape = len(placement.devices) // _CHIPS_OF_A_WEIGHT, _CHIPS_OF_A_WEIGHT
    mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), [str(each) for each in placement.devices])
    # Keras looks devices up by name, and these are not there.
    found = mesh._backend_mesh = jax.sharding.Mesh(np.array(placement.devices).reshape(mesh.shape), mesh.axis_names)
    layouts = layout_map(model, mesh)
    distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    spec = jax.sharding.PartitionSpec

    def over(*axes: str | None) -> Any:
        return jax.sharding.NamedSharding(found, spec(*axes))

    divided = {v.path: layouts[v.path] for v in model.trainable_variables}
    weights = {path: over(*layout.axes) for path, layout in divided.items() if layout is not None}
    return Placement(over("batch"), over(), placement.devices, weights, distribution)


def _generate(model: Any, job: Job, placement: Placement) -> Function:
    beams = BEAMS if job.what == "beams" else 1
    variables = model.variables

    def generate(values: Any, inputs: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return model.generate(**inputs, num_beams=beams, max_new_tokens=job.target, jit_compile=True)

    arguments = _like([v.value for v in variables], placement.whole), _inputs(job, placement)
    return Function(jax.jit(generate, out_shardings=placement.split), arguments)


def _attention(job: Job, placement: Placement) -> Function:
    """One layer's window attention of the family: its window, its side keys, its biases."""
    fields, family = config_fields(job.family, job.size, job.length), FAMILIES[job.family]
    heads = fields[family.encoder.heads]
    size = family.inner_size(fields, family.encoder) // heads
    shape = job.batch, heads, job.length, size
    has_bias = family.head_size_field is not None
    per_key = fields["global_block_size"] if has_bias else 1
    geometry = WindowGeometry.covering(family.radius(fields), multiple_of=per_key)
    count = 0 if family.side_keys is None else job.length // per_key if has_bias else 64
    shapes: dict[str, Any] = dict.fromkeys(("query", "key", "value"), (shape, job.dtype))
    shapes["key_mask"] = shape[::2], "bool"
    if has_bias:
        shapes["window_bias"] = (heads, geometry.block_length, geometry.slice_length), "float32"
    side_shapes: dict[str, Any] = {}
    if count:
        keys = job.batch, heads, count, size
        side_shapes = {"key": (keys, job.dtype), "value": (keys, job.dtype), "mask": (keys[::2], "bool")}
        if has_bias:
            side_shapes["bias"] = (job.batch, heads, job.length // per_key, count), "float32"

    def attention(given: Any, side: Any) -> Any:
        side_keys = SideKeys(**side, queries_per_bias=per_key) if side else None
        return block_attention(**given, geometry=geometry, side=side_keys)

    def gradient(given: Any, side: Any, upstream: Any) -> Any:
        floats = {name: x for name, x in given.items() if name != "key_mask"}
        _, pull_back = jax.vjp(lambda x: attention({**given, **x}, side), floats)
        return pull_back(upstream)

    whole = placement.whole
    arguments = tuple(
        {name: jax.ShapeDtypeStruct(*each, sharding=whole) for name, each in part.items()}
        for part in (shapes, side_shapes)
    )
    if job.what == "attention":
        return Function(jax.jit(attention, out_shardings=whole), arguments)
    upstream = jax.ShapeDtypeStruct(shape, job.dtype, sharding=whole)
    return Function(jax.jit(gradient, out_shardings=whole), (*arguments, upstream))


def _inputs(job: Job, placement: Placement) -> dict[str, Any]:
    made = _made(job)
    if job.is_training:
        made["labels"] = np.zeros((job.batch, job.target), "int32")
    return _like(made, placement.split)


def _made(job: Job) -> dict[str, np.ndarray]:
    return make_inputs(job.family, job.size, job.length, job.batch)


def _like(tree: Any, sharding: Any) -> Any:
    """Shapes and dtypes in place of arrays."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(tuple(x.shape), x.dtype, sharding=sharding), tree)

"""Loading accounts for every tensor, casts, and refuses what is missing, unknown, unequal or no number."""

import tracemalloc
from types import SimpleNamespace

import keras
import ml_dtypes
import numpy as np
import pytest
from foreign_files import write_flax

from tfmodels.checkpoints import check_landmarks, load_checkpoint, open_checkpoint, write_safetensors
from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, RMS_NORM, WEIGHT, WeightRule, also_under, reference_tensors

ROWS = [
    WeightRule("shared", "shared", EMBEDDING, copies=("encoder.embed_tokens",)),
    WeightRule("block.{n}.wo", "blocks.{n}.wo", DENSE),
    WeightRule("block.{n}.layer_norm", "blocks.{n}.norm", RMS_NORM),
    WeightRule("logits_bias", "logits_bias", WEIGHT),
    WeightRule("lm_head", "head", DENSE),
]


def dense(inputs, outputs, **kwargs):
    layer = keras.layers.Dense(outputs, **kwargs)
    layer.build((None, inputs))
    return layer


def make_root(dtype="float32"):
    """A model of two blocks, as far as the table knows."""
    table = keras.layers.Embedding(7, 4, dtype=dtype)
    table.build()
    blocks = [
        SimpleNamespace(
            wo=dense(4, 6, dtype=dtype), norm=SimpleNamespace(scale=keras.Variable(np.ones(4), dtype=dtype))
        )
        for _ in range(2)
    ]
    bias = keras.Variable(np.zeros((1, 7)), dtype=dtype)
    head = dense(4, 7, use_bias=False, dtype=dtype)
    return SimpleNamespace(shared=table, blocks=blocks, logits_bias=bias, head=head)


def make_tensors(dtype="float32"):
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(size=tensor.shape).astype(dtype) for name, tensor in reference_tensors(make_root(), ROWS)
    }


@pytest.fixture
def tensors():
    return make_tensors()


def load(folder, tensors, root=None, **kwargs):
    """A root with the tensors of a file in it."""
    root = make_root() if root is None else root
    write_safetensors(folder / "model.safetensors", tensors)
    load_checkpoint(root, ROWS, folder, "example", **kwargs)
    return root


def assert_holds(root, tensors):
    actual = dict(reference_tensors(root, ROWS))
    assert actual.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(actual[name], tensor.astype(actual[name].dtype))


def test_the_table_names_every_tensor_in_the_references_layout(tensors):
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes["block.1.wo.weight"] == (6, 4)
    assert set(shapes) == {
        *(f"block.{n}.{name}" for n in range(2) for name in ("wo.weight", "wo.bias", "layer_norm.weight")),
        *("shared.weight", "logits_bias", "lm_head.weight"),
    }


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("held", ["float32", "bfloat16", "float16"])
def test_every_float_type_is_cast_to_the_models(tmp_path, stored, held):
    tensors = make_tensors(ml_dtypes.bfloat16 if stored == "bfloat16" else stored)
    root = load(tmp_path, tensors, make_root(held))
    assert keras.backend.standardize_dtype(root.head.kernel.dtype) == held
    assert_holds(root, tensors)


def test_a_number_beyond_the_models_type_is_refused(tmp_path, tensors):
    tensors["lm_head.weight"][0, 0] = 1e5
    with pytest.raises(ValueError, match=r"example must hold numbers in the range of float16.*lm_head\.weight"):
        load(tmp_path, tensors, make_root("float16"))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_tensor_with_a_number_that_is_none_is_refused_by_name(tmp_path, number, dtype):
    tensors = make_tensors(dtype)
    tensors["block.1.wo.weight"][2, 3] = number
    with pytest.raises(ValueError, match=r"example must hold finite numbers.*NaN or infinity in block\.1\.wo\.weight"):
        load(tmp_path, tensors)


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool", "uint8"])
def test_integers_in_place_of_floats_are_refused_before_anything_is_assigned(tmp_path, tensors, dtype):
    root = make_root()
    before = dict(reference_tensors(root, ROWS))
    tensors["lm_head.weight"] = np.ones((7, 4), dtype)
    with pytest.raises(ValueError, match=rf"lm_head\.weight as one of bfloat16, .*Received: {dtype}"):
        load(tmp_path, tensors, root)
    assert_holds(root, before)


def test_another_shape_is_refused_before_anything_is_assigned(tmp_path, tensors):
    root = make_root()
    before = dict(reference_tensors(root, ROWS))
    tensors["lm_head.weight"] = tensors["lm_head.weight"].T
    with pytest.raises(ValueError, match=r"lm_head\.weight with shape \(7, 4\), as the config says.*shape \(4, 7\)"):
        load(tmp_path, tensors, root)
    assert_holds(root, before)


def test_missing_and_unknown_tensors_are_named_and_counted(tmp_path, tensors):
    del tensors["block.0.wo.bias"]
    tensors |= {f"old.{index:02d}": np.ones(1) for index in range(13)}
    message = (
        r"Missing: block\.0\.wo\.bias\. Unknown: old\.00, .*, old\.09 and 3 more\. Likely cause: the config's number"
    )
    with pytest.raises(ValueError, match=message):
        load(tmp_path, tensors)


def test_ignored_names_are_exact_and_left_out_names_are_beginnings(tmp_path, tensors):
    more = {"old": np.ones(1), "decoder.block.0": np.ones(1), "decoder.norm": np.ones(1)}
    assert_holds(load(tmp_path, tensors | more, ignored=["old"], left_out=["decoder."]), tensors)
    with pytest.raises(ValueError, match=r"Unknown: decoder\.block\.0, decoder\.norm\."):
        load(tmp_path, tensors | more, ignored=["old", "decoder."])
    with pytest.raises(ValueError, match=r"Unknown: old\."):
        load(tmp_path, tensors | more, left_out=["decoder.", "ol."])
    # What the model has a part for is read, whatever is left out besides.
    assert_holds(load(tmp_path, tensors | more, ignored=["old"], left_out=["decoder.", "block."]), tensors)


def test_new_weights_keep_their_values_where_the_file_has_none(tmp_path, tensors):
    root = make_root()
    head = np.array(root.head.kernel).T
    del tensors["lm_head.weight"]
    assert_holds(load(tmp_path, tensors, root, optional=["lm_head."]), {**tensors, "lm_head.weight": head})
    tensors["lm_head.weight"] = head + 1
    assert_holds(load(tmp_path, tensors, root, optional=["lm_head."]), tensors)


def test_a_copy_may_stand_for_its_original_but_not_differ_from_it(tmp_path, tensors):
    copied = {**tensors, "encoder.embed_tokens.weight": tensors["shared.weight"]}
    assert_holds(load(tmp_path, copied), tensors)
    copied.pop("shared.weight")
    assert_holds(load(tmp_path, copied), tensors)
    copied["shared.weight"] = tensors["shared.weight"] + 1
    with pytest.raises(ValueError, match=r"shared\.weight and encoder\.embed_tokens\.weight as equal tensors"):
        load(tmp_path, copied)


def test_names_with_and_without_a_prefix_are_one(tmp_path, tensors):
    root, rows = make_root(), also_under("model.", ROWS)
    write_safetensors(tmp_path / "model.safetensors", {f"model.{name}": tensor for name, tensor in tensors.items()})
    load_checkpoint(root, rows, tmp_path, "example")
    assert_holds(root, tensors)


def test_what_is_missing_is_looked_for_in_the_flax_file_beside(tmp_path, tensors):
    bare = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    # Of the other file only what is missing counts.
    other = {name: tensor + 1 for name, tensor in bare.items() if ".wo." in name}
    write_flax(tmp_path / "flax_model.msgpack", {**other, "lm_head.weight": tensors["lm_head.weight"]})
    assert_holds(load(tmp_path, bare), tensors)


def test_a_head_that_is_nowhere_is_refused_by_name(tmp_path, tensors):
    del tensors["lm_head.weight"]
    asked = []
    message = r"Missing: lm_head\.weight\. The file holds no head although its config says that it is not tied"
    with pytest.raises(ValueError, match=message):
        load(tmp_path, tensors, fetch=asked.append)
    assert asked == ["flax_model*.msgpack"]


def test_the_flax_file_is_fetched_only_when_it_is_needed(tmp_path, tensors):
    fetched = []

    def fetch(pattern):
        fetched.append(pattern)
        write_flax(tmp_path / "flax_model.msgpack", {"lm_head.weight": tensors["lm_head.weight"]})

    load(tmp_path, tensors, fetch=fetch)
    assert not fetched
    bare = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    load(tmp_path, bare, optional=["lm_head."], fetch=fetch)
    assert not fetched
    assert_holds(load(tmp_path, bare, fetch=fetch), tensors)
    assert_holds(load(tmp_path, bare, fetch=fetch), tensors)
    assert fetched == ["flax_model*.msgpack"]


def test_layers_with_lora_are_saved_merged_and_not_loaded(tmp_path, tensors):
    root = load(tmp_path, tensors)
    layer = root.blocks[0].wo
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 6)))
    merged = np.array(layer.kernel).T
    assert not np.array_equal(merged, tensors["block.0.wo.weight"])
    np.testing.assert_array_equal(dict(reference_tensors(root, ROWS))["block.0.wo.weight"], merged)
    with pytest.raises(ValueError, match="root must be loaded before its layers get LoRA or are quantized"):
        load(tmp_path, tensors, root)


def test_landmarks_hold_the_config_against_the_file(tmp_path, tensors):
    write_safetensors(tmp_path / "model.safetensors", tensors)
    with open_checkpoint(tmp_path) as reader:
        check_landmarks(reader, {"shared.weight": (7, 4), "lm_head.weight": [7, 4]}, "example")
        check_landmarks(reader, {("transformer.shared.weight", "shared.weight"): (7, 4)}, "example")
        with pytest.raises(ValueError, match=r"shared\.weight with shape \(8, 4\), as the config says.*shape \(7, 4\)"):
            check_landmarks(reader, {("transformer.shared.weight", "shared.weight"): (8, 4)}, "example")
        with pytest.raises(ValueError, match=r"example must hold a or b with shape \(8,\).*Received: no such tensor"):
            check_landmarks(reader, {("a", "b"): (8,)}, "example")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(3000, 1001), (3, 2_000_000), (1, 3_000_000), (3_000_000,)])
def test_large_tensors_arrive_whole(tmp_path, dtype, shape):
    weight = keras.Variable(np.zeros(shape[::-1]), dtype=dtype)
    tensor = np.random.default_rng(0).random(shape, "float32")
    write_safetensors(tmp_path / "model.safetensors", {"a.weight": tensor})
    root = SimpleNamespace(layer=SimpleNamespace(kernel=weight, bias=None))
    load_checkpoint(root, [WeightRule("a", "layer", DENSE)], tmp_path, "example")
    np.testing.assert_array_equal(np.asarray(weight), tensor.T.astype(np.asarray(weight).dtype))


def test_loading_holds_one_tensor_at_a_time(tmp_path):
    class Weight:
        """Takes what it is given and keeps nothing."""

        shape, dtype = (512, 1024), "float32"

        def assign(self, value):
            assert value.shape == self.shape

    root = SimpleNamespace(blocks=[SimpleNamespace(kernel=Weight()) for _ in range(8)])
    rows = [WeightRule("block.{n}.wo", "blocks.{n}", DENSE)]
    tensors = {f"block.{n}.wo.weight": np.ones((1024, 512), "float32") for n in range(8)}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    tracemalloc.start()
    try:
        load_checkpoint(root, rows, tmp_path, "example")
        assert tracemalloc.get_traced_memory()[1] < 2.5 * 2**21
    finally:
        tracemalloc.stop()

"""Saved weights are whole, of the sizes and types that were asked for, and the only ones of their folder."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import safetensors
import transformers
from tiny import make_model

import tfmodels.checkpoints.saving as saving
from tfmodels.checkpoints import load_checkpoint, open_checkpoint, save_weights
from tfmodels.checkpoints.mapping import WEIGHT, WeightRule, reference_tensors

ROWS = [WeightRule("weight.{n}", "weights.{n}", WEIGHT)]


def make_root(count=6, size=100, start=0):
    """A model of some vectors of 400 bytes."""
    return SimpleNamespace(weights=[keras.Variable(np.full(size, start + index, "float32")) for index in range(count)])


def read(folder):
    with open_checkpoint(folder) as checkpoint:
        return {name: checkpoint.read(name) for name in checkpoint.names()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_holds(folder, root):
    tensors = dict(reference_tensors(root, ROWS))
    actual = read(folder)
    assert actual.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(actual[name], tensor)


def test_small_weights_are_one_file(tmp_path):
    save_weights(make_root(), ROWS, tmp_path, max_shard_size=2400)
    assert names(tmp_path) == ["model.safetensors"]
    assert_holds(tmp_path, make_root())


@pytest.mark.parametrize("limit", [2399, 1000, 800, 400, 399, 1, "1KB", "0.8KB", "0.8KiB"])
def test_large_weights_are_shards_with_an_index(tmp_path, limit):
    save_weights(make_root(), ROWS, tmp_path, max_shard_size=limit)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_parameters": 600, "total_size": 2400}
    shards = sorted(set(index["weight_map"].values()))
    assert names(tmp_path) == [*shards, "model.safetensors.index.json"]
    assert shards == [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    for shard in shards:
        with safetensors.safe_open(tmp_path / shard, framework="numpy") as file:
            assert file.metadata() == {"format": "pt"}
            assert len(file.keys()) == 1 or 400 * len(file.keys()) <= saving._size_in_bytes(limit)
    assert_holds(tmp_path, make_root())


@pytest.mark.parametrize(("size", "expected"), [("5GB", 5 * 10**9), ("200 mb", 2 * 10**8), ("1.5KiB", 1536), (7, 7)])
def test_sizes_as_text(size, expected):
    assert saving._size_in_bytes(size) == expected


@pytest.mark.parametrize("size", [0, -1, True, 1.5, None, "5", "GB", "-5GB", "5 giga", "0GB", "0.0001KB", "", "5GBB"])
def test_sizes_that_are_none_raise_and_write_nothing(tmp_path, size):
    with pytest.raises(ValueError, match="max_shard_size must be a positive number of bytes or text such as"):
        save_weights(make_root(), ROWS, tmp_path, max_shard_size=size)
    assert not names(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("limit", ["5GB", 500])
def test_weights_are_cast_to_the_type_that_was_asked_for(tmp_path, dtype, limit):
    save_weights(make_root(), ROWS, tmp_path, limit, dtype)
    assert {tensor.dtype.name for tensor in read(tmp_path).values()} == {dtype}
    assert_holds(tmp_path, make_root())
    root = make_root(start=9)
    load_checkpoint(root, ROWS, tmp_path, "example")
    assert_holds(tmp_path, root)


@pytest.mark.parametrize("dtype", ["int8", "float64", "bf16", "", 16])
def test_types_that_are_none_raise(tmp_path, dtype):
    with pytest.raises(ValueError, match=r"dtype must be one of float32, bfloat16, float16, or None. Received: dtype="):
        save_weights(make_root(), ROWS, tmp_path, dtype=dtype)
    assert not names(tmp_path)


def test_a_type_that_is_too_narrow_raises_and_leaves_the_former_files(tmp_path):
    save_weights(make_root(), ROWS, tmp_path, 1000)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"dtype=float16, which is too narrow for weight\.5"):
        save_weights(make_root(start=65515), ROWS, tmp_path, 1000, "float16")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("first", [10**6, 1000, 800, 400])
@pytest.mark.parametrize("second", [10**6, 1000, 800, 400])
def test_later_weights_replace_earlier_ones_of_any_layout(tmp_path, first, second):
    (tmp_path / "model-notes.safetensors").write_bytes(b"of the user")
    save_weights(make_root(), ROWS, tmp_path, first)
    save_weights(make_root(start=10), ROWS, tmp_path, second)
    (tmp_path / "model-notes.safetensors").unlink()
    assert_holds(tmp_path, make_root(start=10))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    save_weights(make_root(start=10), ROWS, fresh, second)
    assert [name for name in names(tmp_path) if name != "fresh"] == names(fresh)


@pytest.mark.parametrize("calls", range(3))
def test_a_save_that_breaks_off_leaves_the_former_weights_alone(tmp_path, monkeypatch, calls):
    save_weights(make_root(), ROWS, tmp_path, 1000)
    before = names(tmp_path)
    write, left = saving.write_safetensors, [calls]

    def breaking(*arguments):
        if not left[0]:
            raise OSError("no space left on device")
        left[0] -= 1
        write(*arguments)

    monkeypatch.setattr(saving, "write_safetensors", breaking)
    with pytest.raises(OSError, match="no space left"):
        save_weights(make_root(start=10), ROWS, tmp_path, 1000)
    assert names(tmp_path) == before
    assert_holds(tmp_path, make_root())


@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_transformers_loads_shards_and_types(tmp_path, kind):
    transformers.logging.set_verbosity_error()
    model = make_model(kind)
    model.config.to_json(tmp_path / "config.json")
    save_weights(model, model.weight_map(model.config).rules, tmp_path, "30KB", "bfloat16")
    assert len(names(tmp_path)) > 4
    reference_class = getattr(transformers, type(model).__name__)
    loaded, report = reference_class.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) <= {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert not report["unexpected_keys"]
    state = loaded.state_dict()
    for name, tensor in reference_tensors(model, model.weight_map(model.config).rules):
        np.testing.assert_allclose(state[name].float().numpy(), tensor, rtol=2**-8)

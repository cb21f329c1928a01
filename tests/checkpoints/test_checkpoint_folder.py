"""A folder's weights are found in the known order, whole or in shards, and never outside the folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import flax_path, write_flax, write_tensorflow

from tfmodels.checkpoints import open_checkpoint, write_safetensors


def _array(value: float) -> np.ndarray:
    return np.full((2, 2), value, "float32")


def _write_index(folder: Path, weight_map: object, kind: str = "safetensors") -> None:
    name = {"safetensors": "model", "bin": "pytorch_model", "msgpack": "flax_model"}[kind]
    (folder / f"{name}.{kind}.index.json").write_text(
        json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map})
    )


def test_the_safetensors_file_is_preferred_then_its_shards_then_pytorch_tensorflow_and_flax(tmp_path):
    write_flax(tmp_path / "shard.msgpack", {"weight": np.full(1, 7, "float32")})
    _write_index(tmp_path, {"weight": "shard.msgpack"}, kind="msgpack")
    writers = [
        lambda: None,
        lambda: write_flax(tmp_path / "flax_model.msgpack", {"weight": np.full(1, 6, "float32")}),
        lambda: write_tensorflow(tmp_path / "tf_model.h5", {"a.weight": np.full((1, 1), 5, "float32")}),
        lambda: (
            torch.save({"weight": torch.full((2, 2), 4.0)}, tmp_path / "shard.bin"),
            _write_index(tmp_path, {"weight": "shard.bin"}, kind="bin"),
        ),
        lambda: torch.save({"weight": torch.full((2, 2), 3.0)}, tmp_path / "pytorch_model.bin"),
        lambda: (
            write_safetensors(tmp_path / "shard.safetensors", {"weight": _array(2)}),
            _write_index(tmp_path, {"weight": "shard.safetensors"}),
        ),
        lambda: write_safetensors(tmp_path / "model.safetensors", {"weight": _array(1)}),
    ]
    for expected, write in zip((7, 6, 5, 4, 3, 2, 1), writers, strict=True):
        write()
        with open_checkpoint(tmp_path) as checkpoint:
            np.testing.assert_array_equal(checkpoint.read(checkpoint.names()[0]), expected)


@pytest.mark.parametrize("kind", ["safetensors", "bin", "msgpack"])
def test_shards_are_read_as_one_checkpoint(tmp_path, kind):
    arrays = {f"layer.{index}.weight": np.full((2, 3), index, "float32") for index in range(4)}
    weight_map = {}
    for shard in range(2):
        part = {name: array for name, array in arrays.items() if int(name[6]) % 2 == shard}
        file = f"model-0000{shard}-of-00002.{kind}"
        if kind == "bin":
            torch.save({name: torch.from_numpy(array) for name, array in part.items()}, tmp_path / file)
        elif kind == "msgpack":
            write_flax(tmp_path / file, part)
        else:
            write_safetensors(tmp_path / file, part)
        # Flax's index has Flax's names.
        of_index = ["/".join(flax_path(name, 2)) if kind == "msgpack" else name for name in part]
        weight_map |= dict.fromkeys(of_index, file)
    _write_index(tmp_path, weight_map, kind)
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.names() == sorted(arrays)
        for name, array in arrays.items():
            assert checkpoint.shape(name) == (2, 3)
            assert checkpoint.dtype(name) == "float32"
            np.testing.assert_array_equal(checkpoint.read(name), array)
        with pytest.raises(KeyError, match=r"layer\.0"):
            checkpoint.read("layer.00.weight")


def test_tensors_that_the_index_forgets_are_still_named(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"weight": _array(1), "bias": _array(2)})
    _write_index(tmp_path, {"weight": "a.safetensors"})
    with open_checkpoint(tmp_path) as checkpoint:
        assert checkpoint.names() == ["bias", "weight"]


@pytest.mark.parametrize(
    "shard",
    [
        "../../etc/passwd",
        "../outside.safetensors",
        "/etc/passwd",
        "sub/inside.safetensors",
        "..\\outside.safetensors",
        "C:outside.safetensors",
        "..safetensors",
        "..",
        "",
        "shard.bin",
        "shard.safetensors\0",
    ],
)
def test_an_index_cannot_name_files_elsewhere(tmp_path, shard):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "outside.safetensors", folder / "sub" / "inside.safetensors"):
        write_safetensors(path, {"weight": _array(1)})
    _write_index(folder, {"weight": shard})
    with pytest.raises(ValueError, match=r"weight_map must name \.safetensors files in the same folder"):
        open_checkpoint(folder)


def test_links_within_the_folder_are_followed_as_the_hub_cache_has_them(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    write_safetensors(tmp_path / "blobs" / "0123abcd", {"weight": _array(1)})
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / "0123abcd")
    with open_checkpoint(tmp_path / "snapshot") as checkpoint:
        assert checkpoint.names() == ["weight"]


def test_a_missing_shard_raises_with_its_name(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"weight": _array(1)})
    _write_index(tmp_path, {"weight": "a.safetensors", "bias": "b.safetensors"})
    with pytest.raises(ValueError, match=r"b\.safetensors.*missing"):
        open_checkpoint(tmp_path)


def test_an_index_that_disagrees_with_its_shards_raises(tmp_path):
    write_safetensors(tmp_path / "a.safetensors", {"weight": _array(1)})
    write_safetensors(tmp_path / "b.safetensors", {"weight": _array(2), "bias": _array(2)})
    _write_index(tmp_path, {"weight": "a.safetensors", "scale": "a.safetensors"})
    with pytest.raises(ValueError, match=r"\['scale'\] are not in a\.safetensors"):
        open_checkpoint(tmp_path)
    _write_index(tmp_path, {"weight": "a.safetensors", "bias": "b.safetensors"})
    with pytest.raises(ValueError, match="'weight' in two files"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("\xff", "must be JSON"),
        ("[]", "must hold a weight_map"),
        ('{"metadata": {}}', "must hold a weight_map"),
        ('{"weight_map": {}}', "must hold a weight_map"),
        ('{"weight_map": {"weight": 3}}', r"weight_map\['weight'\] must be a file name. Received: 3"),
    ],
)
def test_an_index_that_is_none_raises(tmp_path, text, message):
    (tmp_path / "model.safetensors.index.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        open_checkpoint(tmp_path)


def test_a_folder_without_weights_lists_what_was_sought_and_what_is_there(tmp_path):
    (tmp_path / "rust_model.ot").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors.*pytorch_model\.bin.*with rust_model\.ot"):
        open_checkpoint(tmp_path)
    (tmp_path / "rust_model.ot").unlink()
    with pytest.raises(FileNotFoundError, match="with nothing"):
        open_checkpoint(tmp_path)


def test_a_missing_folder_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be an existing folder"):
        open_checkpoint(tmp_path / "nowhere")

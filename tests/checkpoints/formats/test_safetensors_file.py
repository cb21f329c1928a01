"""Safetensors files go to and fro without a change, and broken ones are refused by name."""

import errno
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError

from tfmodels.checkpoints import write_safetensors
from tfmodels.checkpoints.formats.safetensors_file import SafetensorsFile


def _with_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_written_arrays_are_read_back_in_type_shape_and_value(tmp_path):
    arrays = {
        "matrix": np.arange(6, dtype="float32").reshape(2, 3),
        "transposed": np.arange(6, dtype="float32").reshape(2, 3).T,
        "strided": np.arange(20, dtype="int64")[::3],
        "broadcast": np.broadcast_to(np.float16(2), (3, 4)),
        "big_endian": np.arange(4, dtype=">f4"),
        "half": np.linspace(-1, 1, 5, dtype="float16"),
        "brain": np.linspace(-1, 1, 5).astype(ml_dtypes.bfloat16),
        "truth": np.array([True, False]),
        "scalar": np.array(3.5, "float64"),
        "empty": np.zeros((0, 4), "float32"),
    }
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with SafetensorsFile(tmp_path / "model.safetensors") as checkpoint:
        assert checkpoint.names() == sorted(arrays)
        for name, array in arrays.items():
            assert checkpoint.shape(name) == array.shape
            read = checkpoint.read(name)
            assert read.dtype == checkpoint.dtype(name) == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(read, array)


def test_written_files_load_in_pytorch_with_the_metadata_that_transformers_asks_for(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"weight": np.arange(6, dtype="float32").reshape(2, 3).T.astype(ml_dtypes.bfloat16)})
    loaded = safetensors.torch.load_file(path)["weight"]
    assert torch.equal(loaded, torch.arange(6).reshape(2, 3).T.to(torch.bfloat16))
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool"])
def test_files_that_pytorch_wrote_are_read_bit_for_bit(tmp_path, dtype):
    tensor = torch.randn(3, 5).to(getattr(torch, dtype))
    safetensors.torch.save_file({"weight": tensor}, tmp_path / "torch.safetensors")
    with SafetensorsFile(tmp_path / "torch.safetensors") as checkpoint:
        array = checkpoint.read("weight")
    assert array.dtype.name == dtype
    assert array.tobytes() == tensor.view(torch.uint8).numpy().tobytes()


def test_a_failed_write_leaves_the_former_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"weight": np.ones((2,), "float32")})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"types that safetensors stores. Received: \['object'\]"):
        write_safetensors(path, {"weight": np.array([None, "text"])})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_written_file_has_the_rights_of_any_other_new_file(tmp_path):
    write_safetensors(tmp_path / "x.safetensors", {"a": np.zeros(3, "float32")})
    (tmp_path / "other").touch()
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_error_of_the_disk_is_an_os_error_and_no_error_of_types(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise SafetensorError('Error while serializing: I/O error: No space left on device (os error 28) at path "x"')

    monkeypatch.setattr("tfmodels.checkpoints.formats.safetensors_file.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_safetensors(tmp_path / "x.safetensors", {"a": np.zeros(3, "float32")})
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({}, None, "tensors must hold at least one array"),
        ({"weight": [1.0]}, None, r"tensors\['weight'\] must be a numpy array. Received: list"),
        ({"weight": np.ones(2, "float32")}, {"step": 3}, "metadata must hold strings only"),
    ],
)
def test_unwritable_arguments_raise(tmp_path, tensors, metadata, message):
    with pytest.raises(ValueError, match=message):
        write_safetensors(tmp_path / "model.safetensors", tensors, metadata)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 4, 8, 40, -1])
def test_a_truncated_file_raises_naming_it(tmp_path, kept):
    path = tmp_path / "cut.safetensors"
    safetensors.numpy.save_file({"weight": np.ones((10, 10), "float32")}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.safetensors must be a whole \.safetensors file"):
        SafetensorsFile(path)


@pytest.mark.parametrize(
    "header",
    [
        {"weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"weight": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}},
        {"weight": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
        {"weight": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}},
        {"weight": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"weight": {"dtype": "NONE", "shape": [2], "data_offsets": [0, 8]}},
        ["weight"],
    ],
)
def test_a_header_that_claims_what_the_file_does_not_hold_raises(tmp_path, header):
    path = _with_header(tmp_path / "claims.safetensors", header, bytes(8))
    with pytest.raises(ValueError, match=r"claims\.safetensors must be a whole"):
        SafetensorsFile(path)


def test_a_header_that_claims_terabytes_raises(tmp_path):
    path = tmp_path / "huge.safetensors"
    path.write_bytes((2**42).to_bytes(8, "little") + b"{}")
    with pytest.raises(ValueError, match=r"huge\.safetensors must be a whole"):
        SafetensorsFile(path)


def test_a_type_that_numpy_lacks_raises(tmp_path):
    header = {"weight": {"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}}
    with SafetensorsFile(_with_header(tmp_path / "eight.safetensors", header, bytes(8))) as checkpoint:
        for ask in (checkpoint.dtype, checkpoint.read):
            with pytest.raises(ValueError, match="tensor 'weight' must be of one of .*Received: F8_E4M3"):
                ask("weight")


def test_an_unknown_name_raises(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", {"weight": np.ones((2,), "float32")})
    with SafetensorsFile(tmp_path / "model.safetensors") as checkpoint:
        with pytest.raises(KeyError, match="weight"):
            checkpoint.read("weigth")
        with pytest.raises(KeyError, match="bias"):
            checkpoint.shape("bias")


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SafetensorsFile(tmp_path / "nowhere.safetensors")

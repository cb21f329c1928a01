"""The reader of PyTorch's files gives PyTorch's tensors bit for bit, and runs and believes nothing in them."""

import io
import os
import pickle
import pickletools
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from tfmodels.checkpoints.formats.torch_file import TorchFile


def _save(path: Path, tensors: dict) -> Path:
    torch.save(tensors, path)
    return path


def _assert_equals_torch(array: np.ndarray, tensor: torch.Tensor) -> None:
    """Same shape, same bytes: bfloat16 is compared through its bits."""
    assert array.shape == tuple(tensor.shape)
    assert array.tobytes() == tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _write_archive(
    path: Path, program: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
    return path


def _edited(path: Path, edit) -> Path:
    """The same archive with its pickle changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, edit(data) if name.endswith("data.pkl") else data)
    return path


class _TensorCall:
    """Pickles as the call by which torch.save describes a tensor."""

    def __init__(self, storage: tuple, offset: object, size: object, stride: object) -> None:
        self.storage, self.arguments = storage, (offset, size, stride)

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (_Stored(self.storage), *self.arguments, False, OrderedDict())


class _Stored:
    def __init__(self, identity: tuple) -> None:
        self.identity = identity


def _program(mapping: object) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.identity if isinstance(value, _Stored) else None

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(mapping)
    return stream.getvalue()


def _claim(
    elements: object = 4, offset: object = 0, size: object = (4,), stride: object = (1,), key: object = "0"
) -> bytes:
    storage = ("storage", torch.FloatStorage, key, "cpu", elements)
    return _program({"weight": _TensorCall(storage, offset, size, stride)})


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]
)
def test_every_type_is_read_bit_for_bit(tmp_path, dtype):
    tensor = (torch.randn(5, 7) * 3).to(getattr(torch, dtype))
    with TorchFile(_save(tmp_path / "pytorch_model.bin", {"weight": tensor})) as checkpoint:
        array = checkpoint.read("weight")
        assert array.dtype.name == checkpoint.dtype("weight").name == dtype
        _assert_equals_torch(array, tensor)


def test_views_of_any_layout_are_read_as_pytorch_sees_them(tmp_path):
    base = torch.arange(120, dtype=torch.float32).reshape(2, 3, 4, 5)
    tensors = {
        "transposed": base.permute(3, 0, 2, 1),
        "strided": base[:, ::2, 1:, ::3],
        "column": base[1, :, 2, 4],
        "scalar": base[1, 2, 3, 4],
        "expanded": base[:1, 0, 0, 0].expand(6),
        "empty": torch.zeros(0, 768),
        "constant": torch.tensor(2.5),
    }
    with TorchFile(_save(tmp_path / "views.bin", tensors)) as checkpoint:
        for name, tensor in tensors.items():
            assert checkpoint.shape(name) == tuple(tensor.shape)
            _assert_equals_torch(checkpoint.read(name), tensor)


def test_tensors_that_share_a_storage_are_read_as_arrays_of_their_own(tmp_path):
    shared = torch.randn(6, 4)
    path = _save(tmp_path / "shared.bin", {"shared": shared, "encoder": shared, "half": shared[3:]})
    with zipfile.ZipFile(path) as archive:
        assert sum("/data/" in name for name in archive.namelist()) == 1
    with TorchFile(path) as checkpoint:
        first, second = checkpoint.read("shared"), checkpoint.read("encoder")
        np.testing.assert_array_equal(first, second)
        first[:] = 0
        np.testing.assert_array_equal(second, shared.numpy())
        np.testing.assert_array_equal(checkpoint.read("half"), shared[3:].numpy())


def test_a_state_dict_with_metadata_and_parameters_is_read_whole(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with TorchFile(_save(tmp_path / "state.bin", model.state_dict())) as checkpoint:
        assert checkpoint.names() == sorted(model.state_dict())
        for name, tensor in model.state_dict().items():
            _assert_equals_torch(checkpoint.read(name), tensor)
    with TorchFile(_save(tmp_path / "parameters.bin", dict(model.named_parameters()))) as checkpoint:
        for name, tensor in model.named_parameters():
            _assert_equals_torch(checkpoint.read(name), tensor)


def test_reading_needs_no_pytorch(tmp_path):
    path = _save(tmp_path / "pytorch_model.bin", {"weight": torch.ones(2)})
    code = (
        "import sys; from tfmodels.checkpoints import open_checkpoint\n"
        f"print(open_checkpoint({str(tmp_path)!r}).read('weight').sum())\n"
        "print('torch' in sys.modules)"
    )
    assert path.is_file()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2.0", "False"]


def test_an_unknown_name_raises_with_the_close_ones(tmp_path):
    with (
        TorchFile(_save(tmp_path / "a.bin", {"encoder.weight": torch.ones(2)})) as checkpoint,
        pytest.raises(KeyError, match=r"encoder\.weight"),
    ):
        checkpoint.read("encoder.weights")


class _Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_the_system_is_refused_and_not_run(tmp_path, protocol):
    marker = tmp_path / "ran"
    program = pickle.dumps({"weight": _Command(marker)}, protocol=protocol)
    path = _write_archive(tmp_path / "evil.bin", program, {})
    with pytest.raises(ValueError, match=r"evil\.bin must hold tensors and nothing else.*posix\.system"):
        TorchFile(path)
    assert not marker.exists()


def test_a_pickle_that_names_other_parts_of_pytorch_is_refused(tmp_path):
    path = _save(tmp_path / "size.bin", {"weight": torch.ones(2), "size": torch.Size([2])})
    with pytest.raises(ValueError, match=r"Refused, and not run: the name torch\.Size"):
        TorchFile(path)


@pytest.mark.parametrize("name", ["builtins eval", "builtins getattr", "torch.storage _load_from_bytes", "torch load"])
def test_names_outside_the_list_are_refused(tmp_path, name):
    module, function = name.split()
    program = b"\x80\x02" + f"c{module}\n{function}\n".encode() + b"."
    with pytest.raises(ValueError, match=f"the name {module}.{function}"):
        TorchFile(_write_archive(tmp_path / "names.bin", program, {}))


def test_instructions_that_no_checkpoint_needs_are_refused(tmp_path):
    program = b"\x80\x02" + b"\x82\x01" + b"."
    with pytest.raises(ValueError, match="the pickle instruction EXT1"):
        TorchFile(_write_archive(tmp_path / "extension.bin", program, {}))
    program = b"\x80\x02}r\xff\xff\xff\x7f."
    assert [code.name for code, _, _ in pickletools.genops(program)][2] == "LONG_BINPUT"
    with pytest.raises(ValueError, match="the pickle instruction LONG_BINPUT 2147483647"):
        TorchFile(_write_archive(tmp_path / "memo.bin", program, {}))


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"elements": 2**40}, "storage of 4398046511104 bytes, of which 16 exist"),
        ({"elements": 5}, "storage of 20 bytes, of which 16 exist"),
        ({"size": (5,)}, "reaches to element 5 of a storage of 4"),
        ({"offset": 1}, "reaches to element 5 of a storage of 4"),
        ({"size": (2, 2), "stride": (3, 1)}, "reaches to element 5 of a storage of 4"),
        ({"size": (2**40,), "stride": (0,)}, "more than the file's"),
        ({"size": (0, 2**60), "stride": (1, 1)}, "more than the file's"),
        ({"size": (1,) * 65, "stride": (1,) * 65}, "no description of a tensor"),
        ({"size": (-4,)}, "no description of a tensor"),
        ({"stride": (-1,)}, "no description of a tensor"),
        ({"offset": -1}, "no description of a tensor"),
        ({"size": (4.0,)}, "no description of a tensor"),
        ({"size": (True,)}, "no description of a tensor"),
        ({"size": (2, 2)}, "no description of a tensor"),
        ({"size": None}, "no description of a tensor"),
        ({"key": "1"}, "storage '1', which is not in the archive"),
        ({"key": "../../etc/passwd"}, "which is not in the archive"),
        ({"key": 0}, "no description of a tensor"),
    ],
)
def test_claims_that_the_file_does_not_hold_raise_on_opening(tmp_path, claim, message):
    path = _write_archive(tmp_path / "claims.bin", _claim(**claim), {"0": bytes(16)})
    with pytest.raises(ValueError, match=message):
        TorchFile(path)


def test_the_honest_form_of_those_claims_is_read(tmp_path):
    data = np.arange(4, dtype="float32").tobytes()
    with TorchFile(_write_archive(tmp_path / "claims.bin", _claim(), {"0": data})) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("weight"), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([1, 2], "a mapping of names to tensors. Received: list"),
        ({"epoch": 3}, "a flat mapping.*'epoch' with a value of type int"),
        ({"state_dict": {"weight": 1}}, "'state_dict' with a value of type dict"),
        ({7: 3}, "7 with a value of type int"),
    ],
)
def test_anything_but_a_flat_mapping_of_tensors_raises(tmp_path, mapping, message):
    with pytest.raises(ValueError, match=message):
        TorchFile(_write_archive(tmp_path / "mapping.bin", _program(mapping), {}))


def test_a_mapping_that_hides_its_items_is_still_checked(tmp_path):
    # {"weight": 3} whose attribute "items" is the class OrderedDict, which returns an empty mapping when called.
    program = b"\x80\x02ccollections\nOrderedDict\n)RX\x06\x00\x00\x00weightK\x03s"
    program += b"}X\x05\x00\x00\x00itemsccollections\nOrderedDict\nsb."
    with pytest.raises(ValueError, match="'weight' with a value of type int"):
        TorchFile(_write_archive(tmp_path / "hidden.bin", program, {}))


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_raises_naming_it(tmp_path, kept):
    path = _save(tmp_path / "cut.bin", {"weight": torch.randn(100, 100)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"cut\.bin must be a whole PyTorch checkpoint"):
        TorchFile(path)


def test_a_truncated_pickle_raises(tmp_path):
    path = _edited(_save(tmp_path / "cut.bin", {"weight": torch.ones(2)}), lambda program: program[:-9])
    with pytest.raises(ValueError, match="a pickle that cannot be read"):
        TorchFile(path)


def test_compressed_entries_are_refused(tmp_path):
    path = _write_archive(tmp_path / "bomb.bin", _claim(elements=2**20), {"0": bytes(2**22)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="must hold its entries uncompressed"):
        TorchFile(path)


def test_the_format_before_zip_is_named_as_such(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match=r"zip format.*before PyTorch 1\.6"):
        TorchFile(tmp_path / "old.bin")


def test_an_archive_of_something_else_raises(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.bin", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match=r"0 entries named \*/data\.pkl"):
        TorchFile(tmp_path / "other.bin")


def test_a_big_endian_file_is_refused(tmp_path):
    path = _write_archive(tmp_path / "big.bin", _claim(), {"0": bytes(16)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(ValueError, match=r"little-endian.*big"):
        TorchFile(path)


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TorchFile(tmp_path / "nowhere.bin")

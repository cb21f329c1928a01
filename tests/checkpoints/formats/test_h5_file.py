"""TensorFlow's files are read under the reference's names and in its layout, and nothing beside them is touched."""

import tracemalloc

import h5py
import numpy as np
import pytest

from tfmodels.checkpoints.formats.h5_file import H5File

PREFIX = "led/tfled_for_conditional_generation/led"
ATTENTION = "encoder/layers.0/self_attn/longformer_self_attn"
# What transformers 4.57 writes for LED, beside the reference's name and whether it is transposed.
NAMES = {
    "led/led.shared/led.shared/embeddings:0": ("led.shared.weight", False),
    "final_logits_bias/final_logits_bias:0": ("final_logits_bias", False),
    f"{PREFIX}/encoder/embed_positions/embeddings:0": ("led.encoder.embed_positions.weight", False),
    f"{PREFIX}/encoder/layernorm_embedding/gamma:0": ("led.encoder.layernorm_embedding.weight", False),
    f"{PREFIX}/encoder/layernorm_embedding/beta:0": ("led.encoder.layernorm_embedding.bias", False),
    f"{PREFIX}/{ATTENTION}/query_global/kernel:0": (
        "led.encoder.layers.0.self_attn.longformer_self_attn.query_global.weight",
        True,
    ),
    f"{PREFIX}/{ATTENTION}/query_global/bias:0": (
        "led.encoder.layers.0.self_attn.longformer_self_attn.query_global.bias",
        False,
    ),
    f"{PREFIX}/encoder/layers.0/self_attn/output/kernel:0": ("led.encoder.layers.0.self_attn.output.weight", True),
    f"{PREFIX}/decoder/layers.1/encoder_attn/k_proj/kernel:0": (
        "led.decoder.layers.1.encoder_attn.k_proj.weight",
        True,
    ),
    f"{PREFIX}/decoder/layers.1/encoder_attn_layer_norm/gamma:0": (
        "led.decoder.layers.1.encoder_attn_layer_norm.weight",
        False,
    ),
    f"{PREFIX}/decoder/layers.1/fc1/bias:0": ("led.decoder.layers.1.fc1.bias", False),
}
# Files of 2021 name the shared table's variable otherwise.
OLD_NAMES = {"led/led.shared/led.shared/weight:0": ("led.shared.weight", False)}


@pytest.fixture
def writer(tmp_path):
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        yield file


def opened(writer):
    """The reader of what was written."""
    path = writer.filename
    writer.close()
    return H5File(path)


@pytest.mark.parametrize("names", [NAMES, OLD_NAMES], ids=["today", "2021"])
def test_every_kind_of_tensor_goes_by_the_references_name_and_layout(writer, names):
    arrays = {place: np.random.default_rng(0).normal(size=(3, 5)).astype("float32") for place in names}
    for place, array in arrays.items():
        writer[place] = array
    writer.create_group("top_level_model_weights")
    with opened(writer) as checkpoint:
        assert checkpoint.names() == sorted(name for name, _ in names.values())
        for place, (name, transpose) in names.items():
            expected = arrays[place].T if transpose else arrays[place]
            assert checkpoint.shape(name) == expected.shape
            np.testing.assert_array_equal(checkpoint.read(name), expected)
        with pytest.raises(KeyError, match="Close to it"):
            checkpoint.read("led.shared.wieght")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32", "bool", ">f4"])
def test_types_are_kept(writer, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    writer["led/tfled/led/fc1/bias:0"] = array
    with opened(writer) as checkpoint:
        read = checkpoint.read("led.fc1.bias")
        assert read.dtype == checkpoint.dtype("led.fc1.bias") == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(read, array)


def test_opening_reads_no_data_and_reading_brings_in_one_tensor(writer):
    for index in range(4):
        writer[f"led/tfled/led/layers.{index}/kernel:0"] = np.ones((1024, 512), "float32")
    path = writer.filename
    writer.close()
    tracemalloc.start()
    try:
        with H5File(path) as checkpoint:
            assert tracemalloc.get_traced_memory()[1] < 2**20
            for name in checkpoint.names():
                checkpoint.read(name)
            assert tracemalloc.get_traced_memory()[1] < 1.5 * 2**21
    finally:
        tracemalloc.stop()


def _external_storage(file):
    raw = file.filename + ".raw"
    with open(raw, "wb") as stream:
        stream.write(bytes(12))
    file.create_dataset("led/a/weight:0", (3,), "float32", external=[(raw, 0, 12)])


def _virtual(file):
    layout = h5py.VirtualLayout((3,), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "data", (3,))
    file.create_virtual_dataset("led/a/weight:0", layout)


def _loop(file):
    group = file.create_group("led")
    group["loop"] = group


def _doubling(file):
    group = file.create_group("led")
    for _ in range(30):
        inner = group.create_group("x")
        group["y"] = inner
        group = inner


def _twice(file):
    file["led/tfled/led/fc1/weight:0"] = np.ones(3)
    file["led/tfled/led/fc1/gamma:0"] = np.ones(3)


HOSTILE = {
    "external link": (
        lambda file: file.update({"led": h5py.ExternalLink("/etc/passwd", "/")}),
        "'led', a link elsewhere",
    ),
    "soft link": (lambda file: file.update({"led": h5py.SoftLink("/elsewhere")}), "'led', a link elsewhere"),
    "external storage": (_external_storage, "whose data lies in other files"),
    "virtual dataset": (_virtual, "whose data lies in other files"),
    "objects": (lambda file: file.update({"led/a:0": ["text"]}), "hold arrays of numbers"),
    "references": (lambda file: file.create_dataset("led/a", (2,), h5py.ref_dtype), "hold arrays of numbers"),
    "structures": (lambda file: file.update({"led/a": np.zeros(2, "f4,f4")}), "hold arrays of numbers"),
    "no shape": (lambda file: file.update({"led/a": h5py.Empty("f4")}), "hold arrays of numbers"),
    "a type by itself": (lambda file: file.update({"led/a": np.dtype("f4")}), "no tensor of a layer"),
    "outside a layer": (lambda file: file.update({"weight": np.ones(2)}), "no tensor of a layer"),
    "terabytes unwritten": (lambda file: file.create_dataset("led/a", (2**40,), "float32"), "of which 0 exist"),
    "compression bomb": (
        lambda file: file.create_dataset("led/a", (2**40,), "float32", chunks=(2**20,), compression="gzip"),
        "hold its tensors uncompressed",
    ),
    "groups in a circle": (_loop, "nested deeper"),
    "groups that double": (_doubling, "objects, or groups nested deeper"),
    "two of a name": (_twice, "two tensors named 'led.fc1.weight'"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_checkpoint_needs_is_refused_without_taking_memory(writer, kind):
    write, message = HOSTILE[kind]
    write(writer)
    path = writer.filename
    writer.close()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"tf_model\.h5 must.*{message}"):
            H5File(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_raises_naming_it(tmp_path, kept):
    path = tmp_path / "cut.h5"
    with h5py.File(path, "w") as file:
        file["led/tfled/led/fc1/kernel:0"] = np.ones((100, 100), "float32")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"cut\.h5 must be a whole HDF5 file"):
        H5File(path)


def test_a_file_of_another_kind_or_none_raises(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    with pytest.raises(ValueError, match=r"text\.h5 must be a whole HDF5 file"):
        H5File(tmp_path / "text.h5")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        H5File(tmp_path / "nowhere.h5")

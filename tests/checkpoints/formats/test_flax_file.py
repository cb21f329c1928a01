"""Flax's files are read under the reference's names and in its layout, piece by piece, and believed in nothing."""

import tracemalloc

import ml_dtypes
import msgpack
import numpy as np
import pytest
from foreign_files import chunked, packed_array

from tfmodels.checkpoints.formats.flax_file import FlaxFile

ATTENTION = ("encoder", "block", "0", "layer", "0", "TransientGlobalSelfAttention")
# What transformers 4.57 writes for LongT5, beside the reference's name and whether it is transposed.
NAMES = {
    ("shared", "embedding"): ("shared.weight", False),
    ("lm_head", "kernel"): ("lm_head.weight", True),
    (*ATTENTION, "q", "kernel"): (".".join(ATTENTION) + ".q.weight", True),
    (*ATTENTION, "relative_attention_bias", "embedding"): (
        ".".join(ATTENTION) + ".relative_attention_bias.weight",
        False,
    ),
    (*ATTENTION, "global_input_layer_norm", "weight"): (
        ".".join(ATTENTION) + ".global_input_layer_norm.weight",
        False,
    ),
    ("encoder", "final_layer_norm", "weight"): ("encoder.final_layer_norm.weight", False),
    ("decoder", "norm", "scale"): ("decoder.norm.weight", False),
}


def write(folder, value):
    """A file of one msgpack value, or of raw bytes."""
    path = folder / "flax_model.msgpack"
    path.write_bytes(value if isinstance(value, bytes) else msgpack.packb(value))
    return path


def nested(path, leaf):
    """{"a": {"b": leaf}} of ["a", "b"]."""
    for key in reversed(path):
        leaf = {key: leaf}
    return leaf


@pytest.mark.parametrize("path", NAMES)
def test_every_kind_of_tensor_goes_by_the_references_name_and_layout(tmp_path, path):
    name, transpose = NAMES[path]
    array = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    with FlaxFile(write(tmp_path, nested(path, packed_array(array)))) as checkpoint:
        assert checkpoint.names() == [name]
        expected = array.T if transpose else array
        assert checkpoint.shape(name) == expected.shape
        np.testing.assert_array_equal(checkpoint.read(name), expected)
        with pytest.raises(KeyError, match="must be one of the 1 tensors"):
            checkpoint.read("other")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3), (70, 300), (2, 2, 2)])
def test_types_shapes_and_bits_are_kept(tmp_path, dtype, shape):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    with FlaxFile(write(tmp_path, {"a": {"bias": packed_array(array)}})) as checkpoint:
        read = checkpoint.read("a.bias")
    assert (read.dtype, read.shape, read.tobytes()) == (dtype, shape, array.tobytes())


@pytest.mark.parametrize("size", [1, 7, 12, 100])
def test_arrays_in_chunks_are_read_as_one(tmp_path, size):
    array = np.arange(24, dtype="float32").reshape(4, 6)
    tree = {"lm_head": {"kernel": chunked(array, size)}, "shared": {"embedding": packed_array(array)}}
    with FlaxFile(write(tmp_path, tree)) as checkpoint:
        assert checkpoint.shape("lm_head.weight") == (6, 4)
        np.testing.assert_array_equal(checkpoint.read("lm_head.weight"), array.T)
        np.testing.assert_array_equal(checkpoint.read("shared.weight"), array)


def test_long_maps_and_names_are_read(tmp_path):
    tree = {f"{index:05d}" * 40: packed_array(np.float32([index])) for index in range(66_000)}
    with FlaxFile(write(tmp_path, {"layers": tree})) as checkpoint:
        assert len(checkpoint.names()) == 66_000
        assert checkpoint.read("layers." + "00777" * 40) == 777


def test_opening_reads_no_data_and_reading_brings_in_one_tensor(tmp_path):
    array = np.ones((1024, 512), "float32")
    path = write(tmp_path, {f"layer_{index}": {"kernel": packed_array(array)} for index in range(4)})
    tracemalloc.start()
    try:
        with FlaxFile(path) as checkpoint:
            assert tracemalloc.get_traced_memory()[1] < 2**20
            for name in checkpoint.names():
                checkpoint.read(name)
            assert tracemalloc.get_traced_memory()[1] < 1.5 * array.nbytes
    finally:
        tracemalloc.stop()


ARRAY = np.ones((2, 3), "float32")
GOOD_CHUNKS = chunked(ARRAY, 4)
TERABYTES = b"\xc9\xff\xff\xff\xff\x01"
HOSTILE = {
    "a list": ([1], "begins with a value of kind array"),
    "a number": (b"\x01", "begins with a value of kind int"),
    "nothing": (b"", "its end, 1 bytes too early"),
    "more behind": (msgpack.packb({}) + b"\x00", "1 bytes behind the last tensor"),
    "nested without end": (b"\x81\xa1a" * 10**6, "nested deeper than 32"),
    "a map of billions": (b"\xdf\xff\xff\xff\xff\xa1a" + msgpack.packb(packed_array(ARRAY)), "the file must go on"),
    "an endless map of empty maps": (b"\xdf\xff\xff\xff\xff" + b"\xa0\x80" * 110_000, "more than 100000 values"),
    "a name of gigabytes": (b"\x81\xdb\xff\xff\xff\xff", "a string of at most 1024 bytes. Received: str of 4294967295"),
    "an array beyond the file": (b"\x81\xa1a" + TERABYTES, "'a', which claims 4294967295 bytes of a file of 9"),
    "a shape of terabytes": (
        {"a": packed_array(ARRAY, [2**40, 3])},
        "of shape .1099511627776, 3. and type float32 with 24",
    ),
    "a shape of nothing": ({"a": packed_array(ARRAY, [0, 2**60])}, "with 24 bytes"),
    "a smaller shape": ({"a": packed_array(ARRAY, [2, 2])}, "with 24 bytes of bin"),
    "a negative shape": ({"a": packed_array(ARRAY, [-2, -3])}, "a value that begins with 0xfe"),
    "many dimensions": ({"a": packed_array(ARRAY, [1] * 40)}, "no .shape, type, bytes."),
    "text for a shape": ({"a": packed_array(ARRAY, "23")}, "no .shape, type, bytes."),
    "objects": ({"a": packed_array(ARRAY, type_name="object")}, "of type 'object'"),
    "structures": ({"a": packed_array(ARRAY, type_name="f4,f4")}, "of type 'f4,f4'"),
    "an empty array": ({"a": msgpack.ExtType(1, b"")}, "the file must go on"),
    "an array of two parts": ({"a": msgpack.ExtType(1, msgpack.packb([[2], "bool"]))}, "no .shape, type, bytes."),
    "a scalar": ({"a": msgpack.ExtType(3, packed_array(ARRAY).data)}, "kind ext of type 3"),
    "a complex number": ({"a": msgpack.ExtType(2, b"\x00")}, "kind ext of type 2"),
    "an unknown extension": ({"a": msgpack.ExtType(42, b"payload")}, "kind ext of type 42"),
    "a timestamp": ({"a": msgpack.Timestamp(1, 2)}, "kind ext of type 255"),
    "a float": ({"a": 1.5}, "a value that begins with 0xcb"),
    "text": ({"a": {"b": "text"}}, "'a.b' of kind str"),
    "a list of arrays": ({"a": [packed_array(ARRAY)]}, "'a' of kind array"),
    "a number for a name": ({3: packed_array(ARRAY)}, "a name must be a string"),
    "bytes for a name": ({b"a": packed_array(ARRAY)}, "a name must be a string"),
    "a broken name": (b"\x81\xa2\xff\xfe\x80", "utf-8"),
    "two of a name": (
        {"a": {"kernel": packed_array(ARRAY), "scale": packed_array(ARRAY)}},
        "two tensors named 'a.weight'",
    ),
    "chunks of another size": ({"a": {**GOOD_CHUNKS, "shape": {"0": 2**40}}}, "chunks do not make its shape"),
    "chunks without a shape": ({"a": {"__msgpack_chunked_array__": True, "chunks": {}}}, "not of shape and chunks"),
    "chunks of many types": (
        {"a": {**GOOD_CHUNKS, "chunks": {"0": packed_array(ARRAY[0]), "1": packed_array(ARRAY[0].astype("float16"))}}},
        "chunks do not make its shape",
    ),
    "chunks out of order": (
        {"a": {**GOOD_CHUNKS, "chunks": {"0": packed_array(ARRAY), "2": packed_array(ARRAY)}}},
        "not a map of numbered values",
    ),
    "chunks in a list": ({"a": {**GOOD_CHUNKS, "chunks": []}}, "not a map of numbered values"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_checkpoint_needs_is_refused_without_taking_memory(tmp_path, kind):
    value, message = HOSTILE[kind]
    path = write(tmp_path, value)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"flax_model\.msgpack must be a whole msgpack file.*{message}"):
            FlaxFile(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_cut_anywhere_raises_naming_it(tmp_path):
    path = write(tmp_path, {"a": {"kernel": packed_array(ARRAY), "b": chunked(ARRAY, 4)}})
    data = path.read_bytes()
    for kept in range(len(data)):
        path.write_bytes(data[:kept])
        with pytest.raises(ValueError, match=r"flax_model\.msgpack must be a whole msgpack file of a Flax model"):
            FlaxFile(path)


def test_a_file_that_is_cut_after_opening_raises(tmp_path):
    path = write(tmp_path, {"a": {"bias": packed_array(np.ones(4096, "float32"))}})
    with FlaxFile(path) as checkpoint:
        path.write_bytes(path.read_bytes()[:-9000])
        with pytest.raises(ValueError, match=r"flax_model\.msgpack must hold 16384 bytes from byte"):
            checkpoint.read("a.bias")


def test_a_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FlaxFile(tmp_path / "nowhere.msgpack")

"""A model is the same to the bit, whichever framework's file it was loaded from."""

import shutil

import numpy as np
import pytest
import torch
from foreign_files import write_flax, write_tensorflow
from routines import randomise
from tiny import make_model

from tfmodels.checkpoints.mapping import reference_tensors


def tensors_of(model):
    return dict(reference_tensors(model, model.weight_map(model.config).rules))


def assert_same(loaded, model):
    actual, expected = tensors_of(loaded), tensors_of(model)
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(actual[name], tensor, name)


def with_other_weights(model, folder, name, write):
    """The model's folder with the weights in another format."""
    model.save_pretrained(folder)
    shutil.move(folder / "model.safetensors", folder / "before")
    write(folder / name, tensors_of(model))
    return folder


def write_torch(path, tensors):
    torch.save({name: torch.from_numpy(tensor.copy()) for name, tensor in tensors.items()}, path)


CASES = [
    ("led", {}, "tf_model.h5", write_tensorflow),
    ("led", {}, "pytorch_model.bin", write_torch),
    ("longt5-local", {"tie_word_embeddings": True}, "flax_model.msgpack", write_flax),
    (
        "longt5-local",
        {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu"},
        "flax_model.msgpack",
        write_flax,
    ),
    ("longt5-tglobal", {"tie_word_embeddings": False}, "flax_model.msgpack", write_flax),
    ("longt5-tglobal", {"tie_word_embeddings": False}, "pytorch_model.bin", write_torch),
]


@pytest.mark.parametrize(("kind", "changes", "name", "write"), CASES, ids=lambda value: str(value)[:40])
def test_every_format_gives_the_same_weights(tmp_path, kind, changes, name, write):
    model = make_model(kind, **changes)
    randomise(model)
    with_other_weights(model, tmp_path, name, write)
    assert_same(type(model).from_pretrained(tmp_path), model)


@pytest.mark.parametrize("kind", ["longt5-local", "longt5-tglobal"])
def test_a_headless_torch_file_is_completed_by_the_flax_file_beside_it(tmp_path, kind):
    model = make_model(kind, tie_word_embeddings=False)
    randomise(model)

    def write_headless(path, tensors):
        write_torch(path, {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"})

    with_other_weights(model, tmp_path, "pytorch_model.bin", write_headless)
    with pytest.raises(ValueError, match=r"Missing: lm_head\.weight\. The file holds no head"):
        type(model).from_pretrained(tmp_path)
    write_flax(tmp_path / "flax_model.msgpack", tensors_of(model))
    assert_same(type(model).from_pretrained(tmp_path), model)


@pytest.mark.parametrize("name", ["d_model", "d_ff"])
def test_a_config_that_claims_terabytes_is_held_against_the_file_first(tmp_path, name):
    model = make_model("longt5-local")
    model.save_pretrained(tmp_path)
    model.config.replace(**{name: 2**40}).to_json(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"as the config says\. Received: shape"):
        type(model).from_pretrained(tmp_path)

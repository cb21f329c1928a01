"""A hub id is found in the hub's own cache, in offline mode, by models and tokenizers alike; no weights come twice."""

import shutil
from fnmatch import fnmatch

import numpy as np
import pytest
from foreign_files import write_flax
from safetensors.numpy import load_file, save_file
from tiny import make_model

import tfmodels
from tfmodels.checkpoints.mapping import reference_tensors
from tfmodels.utils.hub import fetch_beside, local_folder


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A repository in the layout of the hub's cache, as an earlier download would have left it."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--tiny-led"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(["some words to learn from"] * 5, 300)
    snapshot = repository / "snapshots" / revision
    make_model("led", vocab_size=tokenizer.vocab_size).save_pretrained(snapshot)
    tokenizer.save_pretrained(snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return snapshot


def test_models_and_tokenizers_load_by_hub_id(cached):
    assert local_folder("someone/tiny-led") == cached
    model = tfmodels.LEDForConditionalGeneration.from_pretrained("someone/tiny-led")
    tokenizer = tfmodels.LEDTokenizer.from_pretrained("someone/tiny-led")
    assert tokenizer.vocab_size == model.config.vocab_size


@pytest.mark.parametrize("name", ["someone/never-downloaded", "./nowhere", "/nowhere", "a/b/c", ""])
def test_a_name_that_leads_nowhere_is_an_error_that_names_it(cached, name):
    with pytest.raises(ValueError, match="name_or_folder must be a folder or a hub id"):
        local_folder(name)


@pytest.mark.parametrize(
    "revision",
    ["../../outside", "..", "refs/../../../outside", "/etc/passwd", "a//b", "a b", "a\n", ".", "a/.b", "~", ""],
)
def test_a_revision_leads_nowhere_out_of_the_cache(cached, revision):
    outside = cached.parent.parent.parent / "outside"
    outside.write_text("../../../elsewhere")
    (outside.parent / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="revision must be a branch, tag or commit"):
        local_folder("someone/tiny-led", revision)
    if revision:
        with pytest.raises(ValueError, match="revision must be a branch, tag or commit"):
            local_folder(f"hf://someone/tiny-led@{revision}")
    for usual in ("main", cached.name):
        assert local_folder("someone/tiny-led", usual) == cached


COMMIT = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository's folder, and the cache into which a stand-in for the hub's client copies what it is asked for."""
    repository, cache = tmp_path / "repository", tmp_path / "snapshots" / COMMIT
    repository.mkdir()

    def snapshot_download(name, revision=None, allow_patterns=()):
        assert name == "someone/model"
        assert revision in (None, COMMIT)
        cache.mkdir(parents=True, exist_ok=True)
        for path in repository.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, cache)
        return str(cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return repository, cache


def names(folder):
    return sorted(path.name for path in folder.iterdir())


SMALL = [
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
]
WEIGHTS = [
    ["model.safetensors"],
    ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"],
    ["tf_model.h5"],
    ["flax_model.msgpack"],
]


@pytest.mark.parametrize("first", range(len(WEIGHTS)))
def test_the_first_kind_of_weights_that_there_is_comes_alone(hub, first):
    repository, _ = hub
    there = [name for kind in WEIGHTS[first:] for name in kind]
    for name in [*SMALL, *there, "README.md", "training_args.bin", "onnx_model.onnx"]:
        (repository / name).write_text(name)
    # Indexes are small: they come with whatever there is.
    others = {name for name in there if name.endswith(".index.json")}
    assert set(names(local_folder("someone/model"))) == {*SMALL, *WEIGHTS[first], *others}


def test_further_files_are_fetched_at_the_commit_of_the_first_ones(hub):
    repository, cache = hub
    (repository / "model.safetensors").write_text("weights")
    (repository / "flax_model.msgpack").write_text("more")
    folder = local_folder("someone/model")
    assert folder == cache
    fetch_beside("someone/model", folder, "flax_model*.msgpack")
    assert names(folder) == ["flax_model.msgpack", "model.safetensors"]
    fetch_beside(folder, folder, "*.bin")


def test_a_head_that_the_torch_file_lacks_is_fetched_from_the_flax_file(hub):
    repository, cache = hub
    model = make_model("longt5-tglobal", tie_word_embeddings=False)
    model.save_pretrained(repository)
    tensors = load_file(repository / "model.safetensors")
    write_flax(repository / "flax_model.msgpack", tensors)
    tfmodels.LongT5ForConditionalGeneration.from_pretrained("someone/model")
    assert "flax_model.msgpack" not in names(cache)
    del tensors["lm_head.weight"]
    save_file(tensors, repository / "model.safetensors")
    loaded = tfmodels.LongT5ForConditionalGeneration.from_pretrained("someone/model")
    assert "flax_model.msgpack" in names(cache)
    rows = model.weight_map(model.config).rules
    for (name, found), (_, wanted) in zip(reference_tensors(loaded, rows), reference_tensors(model, rows), strict=True):
        np.testing.assert_array_equal(found, wanted, name)
    (repository / "flax_model.msgpack").unlink()
    shutil.rmtree(cache)
    with pytest.raises(ValueError, match=r"someone/model must hold.*Missing: lm_head\.weight"):
        tfmodels.LongT5ForConditionalGeneration.from_pretrained("someone/model")

"""A hub id is found in the hub's own cache, in offline mode, by models and tokenizers alike."""

import pytest
from tiny import make_model

import tfmodels
from tfmodels.hub import local_folder


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

"""Models and tokenizers go to a hub in one commit and come back from it, by the hub's own client."""

import numpy as np
import pytest
from documents import ARTICLES
from hub_server import running_hub
from huggingface_hub.utils import reset_sessions
from tiny import FAMILY_OF, make_model, one_layer

import tfmodels
from tfmodels.auto import load_pretrained
from tfmodels.utils.hub import local_folder

KIND = "longt5-local"
NAME = "me/summaries"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of this machine, which huggingface_hub takes for its own."""
    with running_hub() as (hub, address):
        # What its environment variables set when it is imported.
        constants = {"HF_HUB_OFFLINE": False, "ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "cache")}
        for name, value in constants.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        address_of_files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", address_of_files)
        reset_sessions()
        yield hub
        reset_sessions()


@pytest.fixture(scope="module")
def tokenizer():
    return FAMILY_OF[KIND].tokenizer.train_from_iterator(ARTICLES * 3, 130)


@pytest.fixture(scope="module")
def model(tokenizer):
    return make_model(KIND, vocab_size=tokenizer.vocab_size, **one_layer(KIND))


def test_model_and_tokenizer_go_in_one_commit_and_come_back(hub, model, tokenizer):
    address = model.push_to_hub(
        NAME, tokenizer, private=True, token="hf_secret", commit_message="First", card={"license": "mit"}
    )
    repository = hub.repositories[NAME]
    assert repository["private"]
    assert repository["titles"][1:] == ["First"]
    assert "Bearer hf_secret" in hub.tokens
    assert {"README.md", "config.json", "model.safetensors", "spiece.model"} <= set(hub.files(NAME))
    card = hub.files(NAME)["README.md"].decode()
    assert 'license: "mit"' in card
    assert f'from_pretrained("{NAME}")' in card
    commit = address.rpartition("/")[2]
    for name in (NAME, f"hf://{NAME}", f"hf://{NAME}@{commit}"):
        loaded, words = load_pretrained(name)
        assert loaded.config.vocab_size == words.vocab_size
    for ours, theirs in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="revision must be that of the name"):
        local_folder(f"hf://{NAME}@{commit}", revision="main")


def test_a_later_upload_replaces_files_and_leaves_the_card(hub, model, tokenizer):
    model.push_to_hub(NAME, max_shard_size="40KB", card={"license": "mit"})
    tokenizer.push_to_hub(NAME)
    assert "model.safetensors.index.json" in hub.files(NAME)
    hub.files(NAME)["README.md"] = b"by hand"
    model.push_to_hub(f"hf://{NAME}")
    files = hub.files(NAME)
    assert files["README.md"] == b"by hand"
    assert [name for name in files if "safetensors" in name] == ["model.safetensors"]
    assert "spiece.model" in files
    loaded = tfmodels.LongT5ForConditionalGeneration.from_pretrained(f"hf://{NAME}")
    loaded.save_pretrained(local_folder(NAME).parent / "again")
    assert f'base_model: "{NAME}"' in (local_folder(NAME).parent / "again" / "README.md").read_text()


@pytest.mark.parametrize("part", ["preupload", "commit"])
def test_an_upload_that_fails_leaves_no_file(hub, model, part):
    hub.refuse = part
    with pytest.raises(OSError, match="500"):
        model.push_to_hub(NAME)
    assert hub.repositories[NAME]["commits"] == [{}]


def test_what_cannot_be_saved_leaves_no_repository(hub, model):
    with pytest.raises(ValueError, match="dtype must be"):
        model.push_to_hub(NAME, dtype="int3")
    assert not hub.repositories


@pytest.mark.parametrize("name", ["", "me/", "a/b/c", "me/model@main"])
def test_a_bad_name_is_refused_before_anything_is_sent(hub, model, name):
    with pytest.raises(ValueError, match="repo_id must be OWNER/NAME"):
        model.push_to_hub(name)
    assert not hub.repositories


@pytest.mark.parametrize("name", ["hf://", "hf://me/model@", "hf:///absolute", "hf://a/b/c"])
def test_an_address_that_names_no_repository_is_refused(name):
    with pytest.raises(ValueError, match="name_or_folder must be"):
        local_folder(name)

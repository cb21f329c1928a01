"""The trained models that come with the package load by name, are small, and write sentences about code."""

import numpy as np
import pytest
from safetensors import safe_open

from tfmodels.auto import classes_of
from tfmodels.utils.hub import packaged_models
from training.config import Config
from training.defaults import find_model, resolve

NAMES = sorted(packaged_models())
DOCUMENTS = {
    "def read_file_lines(path):\n    with open(path) as stream:\n        return stream.readlines()": "file",
    "def remove_node(self, node):\n    del self._nodes[node]\n    self._edges.pop(node, None)": "node",
    "class MessageQueue:\n    def __init__(self, size):\n        self.messages = deque(maxlen=size)": "queue",
}


def test_there_is_a_model():
    assert "longt5-python" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_at_most_eight_megabytes_in_bfloat16_with_its_card(name):
    folder = packaged_models()[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 8_000_000
    assert "python -m training.demo.pretrain" in (folder / "README.md").read_text(encoding="utf-8")
    with safe_open(folder / "model.safetensors", "np") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118


@pytest.mark.parametrize("name", NAMES)
def test_a_run_from_a_model_has_the_settings_of_a_small_one(name, tmp_path):
    source = find_model(name)
    config, _ = resolve(Config(model=name, output=tmp_path), source)
    assert source.folder == packaged_models()[name]
    assert config.lengths.sources == (256, 1024)
    assert config.optim.accumulate == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_model_writes_sentences_with_words_of_the_document(name):
    folder = packaged_models()[name]
    model_class, tokenizer_class = classes_of(folder)
    tokenizer = tokenizer_class.from_pretrained(name)
    inputs = tokenizer(list(DOCUMENTS), max_length=64)
    texts = tokenizer.batch_decode(model_class.from_pretrained(name).generate(**inputs))
    for text, word in zip(texts, DOCUMENTS.values(), strict=True):
        assert text[0].isupper()
        assert text.endswith(".")
        assert word in text.lower()
    assert len(set(texts)) == len(texts)
    assert np.mean([len(text.split()) for text in texts]) > 3

"""Every Python snippet of the README runs, in order, on a tiny checkpoint that stands where the public one would."""

import re
from pathlib import Path

import pytest
from tiny import make_model

import tfmodels

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARTICLES = [Path(tfmodels.__file__).read_text(), "a short document about windows"]
ABSTRACTS = ["Long documents in Keras.", "About windows."]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(ARTICLES * 3, 300)
    model = make_model(
        "led",
        vocab_size=tokenizer.vocab_size,
        encoder_layers=1,
        attention_window=32,
        max_encoder_position_embeddings=16384,
        max_decoder_position_embeddings=1024,
    )
    model.save_pretrained(folder / "allenai" / "led-base-16384")
    tokenizer.save_pretrained(folder / "allenai" / "led-base-16384")
    return folder


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_every_snippet_runs(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) == 6
    names = {"articles": ARTICLES, "abstracts": ABSTRACTS}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), names)
    assert len(names["summaries"]) == 2
    assert (workplace / "served" / "led" / "1" / "saved_model.pb").is_file()
    assert names["questions"]["offsets"].shape == (2, 1024, 2)
    assert names["layer_ids"].shape == (2, 1024)
    assert names["score"].shape == (None, 1)
    assert names["log_probabilities"].shape == (2,)
    assert names["next_logits"].shape[:2] == (2, 1)


def test_every_path_that_the_readme_names_exists():
    for path in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / path).exists(), path
    for folder in re.findall(r"^\| [^|]+ \| `([\w./-]+)` \|", README, re.MULTILINE):
        assert (ROOT / folder).exists(), folder

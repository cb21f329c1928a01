"""A saved model has a card that hubs read; a card that is there stays."""

import huggingface_hub
import pytest
from tiny import HEADS, make_encoder, make_model, one_layer

from tfmodels.modeling.model_card import model_card

TAGS = {
    "Model": "feature-extraction",
    "ForConditionalGeneration": "summarization",
    "ForSequenceClassification": "text-classification",
    "ForQuestionAnswering": "question-answering",
}


def read(text):
    """The front matter as the hub's own library reads it, and the text."""
    card = huggingface_hub.ModelCard(text)
    return card.data, card.text


@pytest.mark.parametrize("head", HEADS)
def test_a_card_names_license_task_and_class(head, tmp_path):
    model = make_model("led", head=head, **one_layer("led"))
    model.save_pretrained(tmp_path / "reports", card={"license": "apache-2.0", "language": ["en", "de"]})
    data, text = read((tmp_path / "reports" / "README.md").read_text())
    assert (data.license, data.language, data.pipeline_tag) == ("apache-2.0", ["en", "de"], TAGS[head])
    assert (data.library_name, data.base_model) == ("tfmodels", None)
    assert {"led", "keras"} <= set(data.tags)
    assert f'tfmodels.LED{head}.from_pretrained("reports")' in text
    assert "up to 160 tokens" in text


def test_metrics_are_a_table_and_with_a_data_set_a_result():
    model = make_model("longt5-local", **one_layer("longt5-local"))
    figures = {"metrics": {"rouge1": 33.25, "rougeL": 30.0}}
    data, text = read(model_card(model, "me/reports", {**figures, "datasets": ["me/reports-data"]}))
    (first, second) = data.eval_results
    assert (first.metric_type, first.metric_value, first.dataset_type) == ("rouge1", 33.25, "me/reports-data")
    assert second.task_type == "summarization"
    assert "| rougeL | 30.0 |" in text
    data, text = read(model_card(model, "me/reports", figures))
    assert data.eval_results is None
    assert data.metrics == ["rouge1", "rougeL"]
    assert "| rouge1 | 33.25 |" in text


def test_a_card_that_is_there_stays(tmp_path):
    (tmp_path / "README.md").write_text("by hand")
    make_encoder("longt5-local").save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "by hand"
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("card", [["mit"], {1: "mit"}, {"metrics": {"rouge1": float("nan")}}, {"license": object()}])
def test_a_bad_card_is_refused_before_anything_is_written(card, tmp_path):
    with pytest.raises(ValueError, match="card"):
        make_encoder("longt5-local").save_pretrained(tmp_path, card=card)
    assert not list(tmp_path.iterdir())

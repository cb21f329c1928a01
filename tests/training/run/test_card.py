"""A run's scores are in its model's card as hubs read them, with what they were measured on."""

import json
import math
import os
from pathlib import Path

import huggingface_hub
import pytest
from tiny import make_model, one_layer

from tfmodels.modeling.model_card import model_card
from training.config import Config, Evaluation, flat
from training.run.card import scored_card
from training.run.checkpoints import Checkpoints
from training.run.folder import RunFolder
from training.run.scores import scores_of
from training.run.state import TrainerState

CONFIG = Config("led-tiny", Path("out"), evaluation=Evaluation(loss_rows=400, rouge_rows=2, test_rows=3))
FILES = {"train": (Path("/home/someone/mine.jsonl.gz"),), "validation": (), "test": ()}
SIZES = {"train": 90, "validation": 5, "test": 4}
FIGURES = {"model": {"rougeL": (30.125, 20.0, 40.0)}, "lead": {"rougeL": (25.0, 15.0, 35.0)}}


@pytest.fixture(scope="module")
def plain():
    return model_card(make_model("led", **one_layer("led")), "sales", {}, "model")


@pytest.fixture
def folder(tmp_path):
    """A run whose best step is 3, evaluated with other settings than those of now."""
    folder = RunFolder(tmp_path / "out")
    folder.start(CONFIG)
    evaluated = flat(CONFIG) | {"evaluation.loss_rows": 4}
    for step in (3, 6):
        Checkpoints(folder.checkpoints).save(
            step, lambda at, step=step: TrainerState(step=step, settings=evaluated).write(at / "state.json")
        )
    lines = [
        {"kind": "train", "step": 3, "loss": 9.0},
        {"kind": "validation", "step": 3, "time": 1.5, "loss": 2.34567, "rougeL": 28.0, "rouge1": None},
        {"kind": "validation", "step": 6, "time": 2.5, "loss": 2.5},
    ]
    (folder.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def told(text):
    data = huggingface_hub.ModelCard(text).data
    return data, [
        (one.dataset_split, one.metric_type, one.metric_name, one.metric_value) for one in data.eval_results or ()
    ]


def test_hubs_read_the_scores_of_validation_and_test_with_the_name_of_the_file(folder, plain):
    text = scored_card(plain, "sales", scores_of(folder, 3, FIGURES, CONFIG, FILES, SIZES))
    data, results = told(text)
    assert results == [
        ("validation", "loss", "loss", 2.3457),
        ("validation", "rouge", "ROUGE-L", 28.0),
        ("test", "rouge", "ROUGE-L", 30.125),
    ]
    assert {(one.dataset_name, one.dataset_type) for one in data.eval_results} == {("mine.jsonl.gz", "json")}
    assert (data.model_name, data.metrics, data.pipeline_tag) == ("sales", ["loss", "rouge"], "summarization")
    assert "someone" not in text
    assert text.startswith(plain.split("\n---\n")[0])
    assert 'from_pretrained("model")' in text
    assert "- validation: 0.05 of `mine.jsonl.gz`" in text
    # Four rows by the settings of its step, two with texts; three of four test rows.
    assert "| validation | 4 | loss | 2.35 |  |" in text
    assert "| validation | 2 | ROUGE-L | 28.00 |  |" in text
    assert "| test | 3 | ROUGE-L | 30.12 (20.00 to 40.00) | 25.00 |" in text


def test_what_was_not_measured_is_not_told(folder, plain):
    nothing = {"model": {"rougeL": (math.nan, 0.0, 0.0)}}
    (folder.path / "metrics.jsonl").unlink()
    for figures in ({}, nothing):
        scores = scores_of(folder, 3, figures, CONFIG, FILES, SIZES)
        assert scores == []
        assert scored_card(plain, "sales", scores) == plain
    assert scored_card("by another program", "sales", scores_of(folder, 3, FIGURES, CONFIG, FILES, SIZES)) == (
        "by another program"
    )


def test_files_of_their_own_are_named_whatever_their_names(folder, plain):
    odd = Path(os.fsdecode(b"a`\n\x1b[31m\x7f\xff \xf0\x9f\x98\x80|\xe2\x80\xa8.csv"))
    files = {**FILES, "test": (odd, Path("b.csv"))}
    text = scored_card(plain, "sales", scores_of(folder, 6, FIGURES, CONFIG, files, SIZES))
    data, results = told(text)
    assert [result[:2] for result in results] == [("validation", "loss"), ("test", "rouge")]
    (name,) = {one.dataset_name for one in data.eval_results if one.dataset_split == "test"}
    assert name == "a`\n\x1b[31m\x7f\ufffd \U0001f600|\u2028.csv and 1 more"
    assert {one.dataset_type for one in data.eval_results} == {"json", "csv"}
    text.encode("utf-8")

"""ROUGE is rouge-score's own, averaged, and refuses lists that do not belong together."""

import pytest
from rouge_score import rouge_scorer

from training.metrics import ROUGE_NAMES, rouge, rouge_version


def test_equal_texts_score_a_hundred_and_disjoint_or_empty_ones_zero():
    assert rouge(["Return the area."], ["Return the area."]) == dict.fromkeys(ROUGE_NAMES, 100.0)
    assert rouge(["nothing"], ["Return the area."]) == dict.fromkeys(ROUGE_NAMES, 0.0)
    assert rouge([""], ["Return the area."]) == dict.fromkeys(ROUGE_NAMES, 0.0)


def test_scores_are_the_mean_f_measures_with_the_stemmer():
    predictions = ["Returns the areas of shapes", "Open a file"]
    references = ["Return the area of one shape", "Close the open files"]
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    each = [scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True)]
    scores = rouge(predictions, references)
    for name in ("rouge1", "rouge2", "rougeL"):
        assert scores[name] == pytest.approx(50 * sum(score[name].fmeasure for score in each))


def test_the_reference_and_the_prediction_keep_their_places():
    # Recall is whole and precision a half; were the two swapped, the means would agree and a count alone would tell.
    scorer = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)
    assert scorer.score("area", "area size")["rouge1"].precision == 0.5
    assert rouge(["area size"], ["area"])["rouge1"] == pytest.approx(200 / 3)


def test_lsum_compares_sentence_by_sentence():
    scores = rouge(["Close the file. Open the door."], ["Open the door. Close the file."])
    assert scores["rougeLsum"] == pytest.approx(100.0)
    assert scores["rougeL"] < 60


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "must be equally many. Received: 1 predictions and 2 references"),
        ([], [], "predictions must hold at least one text"),
        ("text", ["a"] * 4, "predictions must be a sequence of strings"),
        (["a"], "a", "references must be a sequence of strings"),
    ],
)
def test_lists_that_do_not_belong_together_raise(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        rouge(predictions, references)


def test_the_version_is_that_of_the_library():
    assert rouge_version().count(".") >= 1

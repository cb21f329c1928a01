"""ROUGE is rouge-score's own for English, means the same in every script, and refuses lists that do not fit."""

import unicodedata

import numpy as np
import pytest
from rouge_score import rouge_scorer, tokenizers

from training.metrics import ROUGE_NAMES, rouge, rouge_report, rouge_rows, rouge_version
from training.metrics.words import words

# In each script two texts that share words and are not the same, of two sentences each.
TEXTS = {
    "Latin": ("Größe zählt. Die Straße ist lang.", "Größe zählt nicht. Der Weg ist kurz."),
    "Cyrillic": ("Привет, мир. Как дела?", "Привет, друг. Как погода?"),
    "Greek": ("Καλημέρα κόσμε. Τι κάνεις;", "Καλημέρα φίλε. Πού είσαι;"),
    "Arabic": ("مرحبا بالعالم. كيف حالك؟", "مرحبا يا صديقي. كيف الطقس؟"),
    "Hebrew": ("שלום עולם. מה שלומך?", "שלום חבר. מה השעה?"),
    "Devanagari": ("नमस्ते दुनिया। आप कैसे हैं?", "नमस्ते मित्र। आप कहाँ हैं?"),
    "Bengali": ("হ্যালো বিশ্ব। তুমি কেমন আছো?", "হ্যালো বন্ধু। তুমি কোথায় আছো?"),
    "Thai": ("สวัสดีชาวโลก วันนี้อากาศดี", "สวัสดีเพื่อน วันนี้ฝนตก"),
    "Chinese": ("你好，世界。今天天气很好！", "你好，朋友。今天下雨了！"),
    "Japanese": ("こんにちは世界。カメラは良い。", "こんにちは友達。カメラは悪い。"),
    "Korean": ("안녕하세요 세계. 날씨가 좋습니다.", "안녕하세요 친구. 날씨가 나쁩니다."),
    "Khmer": ("សួស្តី​ពិភពលោក។ ថ្ងៃនេះល្អ។", "សួស្តី​មិត្ត។ ថ្ងៃនេះភ្លៀង។"),
    "Burmese": ("မင်္ဂလာပါ ကမ္ဘာ။", "မင်္ဂလာပါ မိတ်ဆွေ။"),
}


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


@pytest.mark.parametrize("script", TEXTS)
def test_a_text_in_any_script_scores_a_hundred_with_itself_and_less_with_another(script):
    one, other = TEXTS[script]
    assert rouge([one], [one]) == dict.fromkeys(ROUGE_NAMES, 100.0)
    assert rouge([unicodedata.normalize("NFD", one)], [one.upper()]) == dict.fromkeys(ROUGE_NAMES, 100.0)
    scores = rouge([one], [other])
    assert 0 < scores["rouge1"] < 100
    assert max(scores.values()) < 100


def test_english_words_are_those_of_the_default_tokenizer():
    generator = np.random.default_rng(0)
    default = tokenizers.DefaultTokenizer(use_stemmer=True)
    # Letters, digits and signs, with the quotes, dashes and emoji that English texts hold.
    alphabet = [
        *map(chr, range(9, 127)),
        *"“”‘’–—…•€²½™\u00a0\u00ad\u200b\u200d\u2028✓❤\ufe0f😀1\u20e3",
        *"etaoinshr" * 9,
    ]
    texts = ["".join(generator.choice(alphabet, 200)) for _ in range(200)]
    texts += ["The cats' toys weren't co-operating in 1990s-style A.I.; don’t ask (running_fast)."]
    from training.metrics.rouge import _Words

    ours = _Words()
    for text in texts:
        assert ours.tokenize(text) == default.tokenize(text)


def test_english_scores_are_those_of_the_default_tokenizer():
    predictions = ["The cats were running. They didn’t stop!", "A fox — it jumps.\nNo?", ""]
    references = ["A cat runs. It never stopped?", "The fox jumped. Yes!", "Something."]
    scorer = rouge_scorer.RougeScorer(list(ROUGE_NAMES), use_stemmer=True)
    lines = [[text.replace(". ", ".\n") for text in texts] for texts in (predictions, references)]
    each = [scorer.score(reference, text) for text, reference in zip(*lines, strict=True)]
    wanted = {name: [100.0 * score[name].fmeasure for score in each] for name in ROUGE_NAMES}
    assert rouge_rows(predictions, references) == wanted


def test_words_are_not_cut_at_marks_joiners_and_case():
    assert words("Straße STRASSE") == ["strasse", "strasse"]
    assert words("cafe\u0301 CAFÉ") == ["café", "café"]
    assert words("می\u200cروم") == ["میروم"]
    assert words("GPT模型 ver2が") == ["gpt", "模", "型", "ver2", "が"]
    assert words("ที่นี่") == ["ที่", "นี่"]


def test_lsum_knows_the_full_stops_of_other_scripts():
    scores = rouge(["関数を閉じる。窓を開ける。"], ["窓を開ける。関数を閉じる。"])
    assert scores["rougeLsum"] == pytest.approx(100.0)
    assert scores["rougeL"] < 80


def test_a_report_holds_the_mean_between_the_ends_of_its_interval():
    predictions, references = ["one two", "three", "four"], ["one", "three", "five"]
    report = rouge_report(predictions, references)
    means = rouge(predictions, references)
    assert {name: mean for name, (mean, _, _) in report.items()} == means
    assert all(low <= mean <= high for mean, low, high in report.values())
    assert report["rouge1"][1] < report["rouge1"][2]


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

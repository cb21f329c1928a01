"""The Python path: call format, decoding, files, training and errors, for both families."""

import json
import pickle
import random

import numpy as np
import pytest

from tfmodels import LEDTokenizer, LongT5Tokenizer

TEXTS = ["def encode(self, text):", "", "return the longest row of the batch and then some more words"]
FAMILIES = [LEDTokenizer, LongT5Tokenizer]


def test_rows_are_padded_to_the_longest_without_a_length(tokenizer):
    batch = tokenizer(TEXTS)
    lengths = [len(tokenizer.encode(text)) for text in TEXTS]
    assert batch["input_ids"].shape == (3, max(lengths))
    assert batch["attention_mask"].sum(axis=1).tolist() == lengths
    assert (batch["input_ids"][batch["attention_mask"] == 0] == tokenizer.pad_token_id).all()


def test_every_array_is_int32(tokenizer):
    batch = tokenizer(TEXTS, text_target=TEXTS)
    assert {array.dtype for array in batch.values()} == {np.dtype("int32")}


@pytest.mark.parametrize("max_length", [2, 3, 7, 64])
def test_every_row_has_the_length_asked_for(tokenizer, max_length):
    batch = tokenizer(TEXTS, text_target=TEXTS, max_length=max_length, max_target_length=max_length + 1)
    labels = batch.pop("labels")
    assert {array.shape for array in batch.values()} == {(3, max_length)}
    assert labels.shape == (3, max_length + 1)


def test_truncation_keeps_the_final_eos(tokenizer):
    full = tokenizer.encode(TEXTS[2])
    row = tokenizer(TEXTS[2], max_length=5)["input_ids"][0].tolist()
    assert row == [*full[:4], tokenizer.eos_token_id]


def test_labels_are_minus_100_on_padding_and_ids_elsewhere(tokenizer):
    labels = tokenizer(TEXTS, text_target=TEXTS, max_target_length=40)["labels"]
    for row, text in zip(labels, TEXTS, strict=True):
        ids = tokenizer.encode(text)
        assert row.tolist() == ids + [-100] * (40 - len(ids))


def test_a_pad_token_in_the_text_is_attended(tokenizer):
    batch = tokenizer("a<pad>b", max_length=16)
    place = batch["input_ids"][0].tolist().index(tokenizer.pad_token_id)
    assert batch["attention_mask"][0, place] == 1


def test_led_marks_position_zero_as_global_and_longt5_has_no_such_mask(led_tokenizer, longt5_tokenizer):
    mask = led_tokenizer(TEXTS, max_length=8)["global_attention_mask"]
    assert mask.tolist() == [[1] + [0] * 7] * 3
    assert set(longt5_tokenizer(TEXTS)) == {"input_ids", "attention_mask"}


def test_one_text_is_a_batch_of_one(tokenizer):
    one, many = tokenizer(TEXTS[0]), tokenizer([TEXTS[0]])
    assert all((one[name] == many[name]).all() for name in many)


def test_special_ids_are_those_of_the_families(led_tokenizer, longt5_tokenizer):
    led, t5 = led_tokenizer, longt5_tokenizer
    assert (led.bos_token_id, led.pad_token_id, led.eos_token_id, led.unk_token_id) == (0, 1, 2, 3)
    assert led.decoder_start_token_id == 2
    assert (t5.bos_token_id, t5.pad_token_id, t5.eos_token_id, t5.unk_token_id) == (None, 0, 1, 2)
    assert t5.decoder_start_token_id == 0
    assert t5.encode("<extra_id_0><extra_id_99>") == [t5.vocab_size - 1, t5.vocab_size - 100, 1]
    assert len(t5.all_special_ids) == 103


def test_special_ids_are_read_from_the_vocabulary_not_assumed(led_tokenizer):
    files = led_tokenizer.to_files()
    vocab = json.loads(files["vocab.json"])
    moved = {token: (index + 5) % len(vocab) for token, index in vocab.items()}
    other = LEDTokenizer.from_files({**files, "vocab.json": json.dumps(moved).encode()})
    assert other.encode("<mask>x") == [moved["<s>"], moved["<mask>"], moved["x"], moved["</s>"]]
    assert other.in_graph().encode(["<mask>x"]).to_list() == [other.encode("<mask>x")]


def test_decoding_gives_back_any_text_of_byte_level_bpe(led_tokenizer, fuzz_texts, source_texts):
    texts = [text for text in fuzz_texts if not any(token in text for token in led_tokenizer.special_tokens)]
    texts += source_texts
    assert led_tokenizer.batch_decode([led_tokenizer.encode(text) for text in texts]) == texts


def test_decoding_sentencepiece_gives_back_plain_text(longt5_tokenizer):
    text = "the longest row of the batch"
    assert longt5_tokenizer.decode(longt5_tokenizer.encode(text)) == text


def test_special_tokens_are_kept_when_asked_for(led_tokenizer, longt5_tokenizer):
    assert led_tokenizer.decode(led_tokenizer.encode("a b"), skip_special_tokens=False) == "<s>a b</s>"
    assert longt5_tokenizer.decode(longt5_tokenizer.encode("the"), skip_special_tokens=False) == "the</s>"


def test_ids_outside_the_vocabulary_are_ignored(tokenizer):
    ids = tokenizer.encode("return self")
    assert tokenizer.decode([-100, *ids, tokenizer.vocab_size, 10**6, -1]) == "return self"


def test_batch_decode_takes_lists_arrays_and_tensors(tokenizer):
    import tensorflow as tf

    rows = [tokenizer.encode("the text")] * 2
    ragged = tf.ragged.constant([*rows, [tokenizer.eos_token_id]], dtype=tf.int32)
    assert tokenizer.batch_decode(rows) == ["the text"] * 2
    assert tokenizer.batch_decode(np.array(rows)) == ["the text"] * 2
    assert tokenizer.batch_decode(tf.constant(rows)) == ["the text"] * 2
    assert tokenizer.batch_decode(ragged) == ["the text", "the text", ""]
    assert tokenizer.decode(tf.constant(rows[0])) == "the text"


def test_a_saved_tokenizer_is_the_same_tokenizer(tokenizer, tmp_path, fuzz_texts):
    folder = tmp_path / "new" / "folder"
    tokenizer.save_pretrained(folder)
    loaded = type(tokenizer).from_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(tokenizer.to_files())
    assert set(tokenizer.file_names) <= set(tokenizer.to_files())
    assert loaded.to_files() == tokenizer.to_files()
    assert loaded.special_tokens == tokenizer.special_tokens
    assert [loaded.encode(text) for text in fuzz_texts[:200]] == [tokenizer.encode(text) for text in fuzz_texts[:200]]


def test_a_pickled_tokenizer_is_the_same_tokenizer(tokenizer):
    tokenizer.in_graph()
    assert pickle.loads(pickle.dumps(tokenizer)).encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_training_is_deterministic(family, source_texts):
    first = family.train_from_iterator(iter(source_texts[:1]), vocab_size=400)
    second = family.train_from_iterator(iter(source_texts[:1]), vocab_size=400)
    assert first.to_files() == second.to_files()
    assert first.vocab_size <= 400


def test_training_reads_lines_of_any_length():
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdef", k=4)) for _ in range(50)]
    text = " ".join(generator.choices(words, k=40_000)) + " zyx" * 40_000
    tokenizer = LongT5Tokenizer.train_from_iterator([text], vocab_size=300)
    assert tokenizer.unk_token_id not in tokenizer.encode("zyx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": []}, "texts must hold at least one text"),
        ({"texts": 3}, "texts must be a str or a sequence of str. Received: 3"),
        ({"texts": b"bytes"}, "texts must be a str or a sequence of str"),
        ({"texts": ["a", None]}, r"texts\[1\] must be a str. Received: None"),
        ({"texts": "\ud800"}, "texts must be valid Unicode without lone surrogates"),
        ({"texts": "a", "max_length": 1}, "max_length must be at least 2. Received: max_length=1"),
        ({"texts": "a", "max_length": 2.5}, "max_length must be an integer. Received: max_length=2.5"),
        ({"texts": "a", "max_length": True}, "max_length must be an integer. Received: max_length=True"),
        ({"texts": "a", "text_target": "b", "max_target_length": 0}, "max_target_length must be at least 2"),
        ({"texts": "a", "max_target_length": 8}, "max_target_length needs text_target"),
        (
            {"texts": ["a", "b"], "text_target": "c"},
            "text_target must hold as many texts as texts. Received: 1",
        ),
        ({"texts": "a", "text_target": [1]}, r"text_target\[0\] must be a str. Received: 1"),
    ],
)
def test_wrong_arguments_are_named(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(**arguments)


def test_wrong_ids_are_named(tokenizer):
    with pytest.raises(ValueError, match="text must be a str"):
        tokenizer.encode(["a"])
    with pytest.raises(ValueError, match="ids must be one row of integer ids"):
        tokenizer.decode([[1, 2]])
    with pytest.raises(ValueError, match="ids must be one row of integer ids"):
        tokenizer.decode([1.5])
    with pytest.raises(ValueError, match="sequences must have two axes"):
        tokenizer.batch_decode(np.array([1, 2]))
    with pytest.raises(ValueError, match="max_length must be at least 2"):
        tokenizer.as_layer(1)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_training_arguments_are_named(family):
    with pytest.raises(ValueError, match="vocab_size must be at least"):
        family.train_from_iterator(["a"], vocab_size=10)
    with pytest.raises(ValueError, match="texts must be an iterable of str"):
        family.train_from_iterator("a text", vocab_size=400)
    with pytest.raises(ValueError, match=r"texts\[1\] must be a str"):
        family.train_from_iterator(["a", 2], vocab_size=400)


def test_a_vocabulary_too_small_for_the_characters_is_refused():
    with pytest.raises(ValueError, match="vocab_size and texts must suit each other"):
        LongT5Tokenizer.train_from_iterator(["abcdefghijklmnopqrstuvwxyz " * 20], vocab_size=110)
    with pytest.raises(ValueError, match="texts must hold at least one text that is not blank"):
        LongT5Tokenizer.train_from_iterator([" \n "], vocab_size=400)


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_files_are_named(family, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"without {family.file_names[0]}"):
        family.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", b"{", "vocab.json must be JSON"),
        ("vocab.json", b"[]", "vocab.json must hold a JSON object"),
        ("vocab.json", b'{"<s>": 0}', "vocab must hold the special tokens"),
        (
            "merges.txt",
            b"#version: 0.2\na b c\n",
            "merges.txt must hold two tokens a line. Received: 'a b c' in line 2",
        ),
        ("merges.txt", b"#version: 0.2\nzq qz\n", "merges must merge tokens of vocab"),
    ],
)
def test_broken_vocabularies_of_led_are_refused(led_tokenizer, name, content, message):
    with pytest.raises(ValueError, match=message):
        LEDTokenizer.from_files({**led_tokenizer.to_files(), name: content})


def test_repeated_ids_are_refused(led_tokenizer):
    files = led_tokenizer.to_files()
    vocab = {**json.loads(files["vocab.json"]), "<mask>": 0}
    with pytest.raises(ValueError, match="an id of its own"):
        LEDTokenizer.from_files({**files, "vocab.json": json.dumps(vocab).encode()})


def test_broken_models_of_longt5_are_refused():
    with pytest.raises(ValueError, match="model_proto must be a SentencePiece model"):
        LongT5Tokenizer(b"no model")

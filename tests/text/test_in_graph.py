"""The in-graph path equals the Python path, id for id and string for string."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmodels import LEDTokenizer, LongT5Tokenizer
from tfmodels.text.in_graph import strip_white_space

TEXTS = ["def encode(self, text):", "", "  the <mask> longest <extra_id_3> row\n\n  of the batch and then some"]


def _assert_equal(tokenizer, texts):
    expected = [tokenizer.encode(text) for text in texts]
    ids = tokenizer.in_graph().encode(tf.constant(texts, tf.string))
    assert ids.dtype == tf.int32
    for text, row, expected_row in zip(texts, ids.to_list(), expected, strict=True):
        assert row == expected_row, repr(text[:200])
    decoded = tokenizer.in_graph().decode(ids.to_tensor(default_value=-100)).numpy()
    assert [text.decode() for text in decoded] == tokenizer.batch_decode(expected)


def test_in_graph_ids_equal_the_python_ids(tokenizer, fuzz_texts):
    _assert_equal(tokenizer, fuzz_texts)


def test_in_graph_ids_equal_the_python_ids_on_source_text(tokenizer, source_texts):
    _assert_equal(tokenizer, source_texts)


def test_every_character_is_encoded_as_in_python(tokenizer):
    characters = [chr(code) for code in range(0x32000) if not 0xD800 <= code < 0xE000]
    texts = [
        "".join(f"a{character}1{character} " for character in characters[i : i + 64]) for i in range(0, 200_000, 64)
    ]
    ids = tokenizer.in_graph().encode(tf.constant(texts)).to_list()
    assert ids == tokenizer._encode_texts(texts)


@pytest.mark.parametrize("text", ["a" * 20_000, "\u4e2d\u6587\u5b57" * 5_000, " " * 20_000, "#" * 20_000])
def test_a_very_long_word_is_encoded_as_in_python(tokenizer, text):
    _assert_equal(tokenizer, ["def", text, ""])


def test_a_long_word_beside_many_short_ones_stays_small(tokenizer):
    # A dense (words, longest word) matrix would take gigabytes here.
    generator = random.Random(0)
    words = " ".join("".join(generator.choices("abcdefgh", k=7)) for _ in range(40_000))
    _assert_equal(tokenizer, [words + " " + "".join(generator.choices("abcdefgh", k=50_000))])


def test_white_space_is_stripped_as_in_python():
    characters = [chr(code) for code in range(0x3100)]
    texts = [f"{character} {character}a{character}b {character}" for character in characters]
    actual = [text.decode() for text in strip_white_space(tf.constant(texts)).numpy()]
    assert actual == [text.strip() for text in texts]


def test_white_space_before_a_word_is_split_as_the_look_ahead_has_it(led_tokenizer):
    spaces = [" ", "  ", "\n", "\n ", " \n", "\t\t", "\u3000", " \u3000 ", "\x85", "\xa0a", "\x1c ", ""]
    followers = ["", "a", "1", "!", "'s", "'", "<s>", "<mask>", "\u0301"]
    _assert_equal(led_tokenizer, [f"x{space}{next_}" for space in spaces for next_ in followers])
    _assert_equal(led_tokenizer, [f"{space}{next_}{space}" for space in spaces for next_ in followers])


def test_contractions_are_split_as_in_python(led_tokenizer):
    endings = ["s", "t", "re", "ve", "m", "ll", "d", "S", "LL", "sx", "l", "r", "v"]
    prefixes = ["x'", "'", "!'", " '", "''", "1'", "\n'", "x' '", "x'\u2019"]
    _assert_equal(
        led_tokenizer, [prefix + ending + rest for prefix in prefixes for ending in endings for rest in ("", "'s")]
    )


def test_merges_whose_result_takes_part_in_a_better_merge_are_applied_one_by_one(led_tokenizer):
    symbols = {token: index for token, index in led_tokenizer._vocab.items() if len(token) == 1 or token[0] == "<"}
    symbols = {token: index for index, token in enumerate(symbols)}
    generator = random.Random(2)
    for _ in range(20):
        tokens, merges = ["a", "b", "c"], []
        for _ in range(30):
            left, right = generator.choice(tokens), generator.choice(tokens)
            if len(left + right) < 7 and (left, right) not in merges:
                merges.append((left, right))
                tokens.append(left + right)
        generator.shuffle(merges)
        vocab = dict(symbols)
        for token in tokens:
            vocab.setdefault(token, len(vocab))
        tokenizer = LEDTokenizer(vocab, merges)
        _assert_equal(tokenizer, ["".join(generator.choices("abc", k=generator.randrange(40))) for _ in range(60)])


def test_a_vocabulary_without_merges_gives_bytes(led_tokenizer):
    tokens = [token for token in led_tokenizer._vocab if len(token) == 1 or token in led_tokenizer.special_tokens]
    _assert_equal(LEDTokenizer({token: index for index, token in enumerate(tokens)}, []), TEXTS)


def test_batches_of_empty_texts_and_empty_batches_work(tokenizer):
    _assert_equal(tokenizer, ["", ""])
    assert tokenizer.in_graph().encode(tf.constant([], tf.string)).nrows() == 0
    assert tokenizer.in_graph().decode(tf.zeros([0, 3], tf.int32)).shape == (0,)
    assert tokenizer.in_graph().decode(tf.zeros([2, 0], tf.int32)).numpy().tolist() == [b"", b""]


def test_invalid_utf8_is_replaced_as_in_python(tokenizer):
    generator = random.Random(3)
    units = [
        b"a",
        b" ",
        b"\xe2",
        b"\x82",
        b"\xac",
        b"\xf0\x9f",
        b"\x98\x80",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xc0",
        b"\xf4\x90",
    ]
    texts = [b"".join(generator.choices(units, k=generator.randrange(9))) for _ in range(500)]
    ids = tokenizer.in_graph().encode(tf.constant(texts)).to_list()
    assert ids == [tokenizer.encode(text.decode("utf-8", "replace")) for text in texts]


def test_any_ids_decode_as_in_python(tokenizer):
    ids = np.random.default_rng(0).integers(-110, tokenizer.vocab_size + 50, size=(500, 12)).astype("int32")
    decoded = tokenizer.in_graph().decode(ids).numpy()
    assert [text.decode() for text in decoded] == tokenizer.batch_decode(ids)


@pytest.mark.parametrize("max_length", [2, 3, 9, 64])
def test_the_layer_equals_the_python_call(tokenizer, max_length, fuzz_texts):
    texts = [*fuzz_texts[:300], "a</s>", "a</s>b c d e f g"]
    expected = tokenizer(texts, max_length=max_length)
    batch = tokenizer.as_layer(max_length)(tf.constant(texts))
    assert set(batch) == set(expected)
    for name, array in expected.items():
        assert batch[name].dtype == tf.int32
        assert (batch[name].numpy() == array).all(), name


def test_the_layer_runs_in_a_dataset_with_static_lengths(tokenizer):
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(tokenizer.as_layer(16))
    assert dataset.element_spec["input_ids"].shape == (None, 16)
    rows = np.concatenate([batch["input_ids"].numpy() for batch in dataset])
    assert (rows == tokenizer(TEXTS, max_length=16)["input_ids"]).all()


def _text_model(tokenizer):
    texts = keras.Input((), dtype="string")
    batch = tokenizer.as_layer(32)(texts)
    return keras.Model(texts, {**batch, "text": tokenizer.detokenizer_layer()(batch["input_ids"])})


def _assert_model_is_right(tokenizer, outputs):
    expected = tokenizer(TEXTS, max_length=32)
    for name, array in expected.items():
        assert (np.asarray(outputs[name]) == array).all(), name
    texts = [text.decode() for text in np.asarray(outputs["text"])]
    assert texts == tokenizer.batch_decode(expected["input_ids"])


def test_the_layers_compose_in_a_functional_model(tokenizer):
    model = _text_model(tokenizer)
    assert model.output["input_ids"].shape == (None, 32)
    assert model.output["text"].dtype == "string"
    _assert_model_is_right(tokenizer, model(tf.constant(TEXTS)))


def test_the_layers_survive_a_keras_file(tokenizer, tmp_path):
    _text_model(tokenizer).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _assert_model_is_right(tokenizer, loaded(tf.constant(TEXTS)))


def test_a_functional_model_exports_with_its_tables(tokenizer, tmp_path):
    signature = [keras.InputSpec(dtype="string", shape=(None,))]
    _text_model(tokenizer).export(tmp_path / "exported", input_signature=signature, verbose=False)
    _assert_model_is_right(tokenizer, tf.saved_model.load(tmp_path / "exported").serve(tf.constant(TEXTS)))


def test_the_module_survives_a_saved_model(tokenizer, tmp_path, fuzz_texts):
    texts = fuzz_texts[:300]
    tf.saved_model.save(tokenizer.in_graph(), tmp_path / "saved")
    loaded = tf.saved_model.load(tmp_path / "saved")
    ids = loaded.encode(tf.constant(texts))
    assert ids.to_list() == [tokenizer.encode(text) for text in texts]
    decoded = loaded.decode(ids.to_tensor(default_value=tokenizer.pad_token_id)).numpy()
    assert [text.decode() for text in decoded] == tokenizer.batch_decode(ids)


def test_encoding_works_in_a_function_without_autograph_and_traces_once(tokenizer):
    traces = []

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(texts):
        traces.append(None)
        return tokenizer.in_graph().pad_batch(tokenizer.in_graph().encode(texts), 8)["input_ids"]

    for texts in (TEXTS, TEXTS[:1], ["x"] * 7):
        assert (encode(tf.constant(texts)).numpy() == tokenizer(texts, max_length=8)["input_ids"]).all()
    assert len(traces) == 1


def test_the_first_use_may_be_inside_a_traced_function(source_texts):
    tokenizer = LEDTokenizer.train_from_iterator(source_texts[:1], vocab_size=300)
    dataset = tf.data.Dataset.from_tensors(TEXTS).map(lambda texts: tokenizer.in_graph().encode(texts))
    assert next(iter(dataset)).to_list() == [tokenizer.encode(text) for text in TEXTS]
    _assert_equal(tokenizer, TEXTS)


@pytest.mark.parametrize("family", [LEDTokenizer, LongT5Tokenizer])
def test_texts_have_one_axis_before_anything_runs_and_odd_tokens_of_ones_own_in_them(family):
    tokenizer = family.train_from_iterator(TEXTS * 9, vocab_size=300 if family is LEDTokenizer else 140)
    odd = ["<\x1b[31m>", "line\nbreak", "\u2028", "😀😀", " lead", "trail ", "x" * 300, "\u202e"]
    tokenizer.add_tokens(odd)
    decode = tf.function(
        tokenizer.in_graph().decode, autograph=False, input_signature=[tf.TensorSpec([None, None], "int32")]
    )
    # An export writes the axes of its outputs down.
    assert decode.get_concrete_function().output_shapes.rank == 1
    _assert_equal(tokenizer, ["a ".join(odd), "".join(odd), *odd, ""])

"""A folder gives the ids, sizes and texts of transformers, in Python and in the graph, whatever its files hold."""

import json
import logging
import pickle
import random
import warnings

import pytest
import tensorflow as tf
from folders import REFUSED, TOKENS, led_kinds, numbered, t5_kinds, texts_with, token, written

from tfmodels import LEDTokenizer, LongT5Tokenizer

transformers = pytest.importorskip("transformers")
SIZE = 600
LED_KINDS, T5_KINDS = led_kinds(SIZE), t5_kinds(SIZE - 100)
TEXTS = texts_with(list(TOKENS), 300)
SOME = TEXTS[::6]


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)


@pytest.fixture(scope="module")
def led_files(source_texts):
    tokenizer = LEDTokenizer.train_from_iterator(source_texts[:2], SIZE)
    assert len(tokenizer) == SIZE
    return tokenizer.to_files()


@pytest.fixture(scope="module")
def t5_files(source_texts):
    tokenizer = LongT5Tokenizer.train_from_iterator(source_texts[:2], SIZE)
    assert len(tokenizer) == SIZE
    return tokenizer.to_files()


def reference_ids(reference, texts):
    if reference.is_fast:
        return reference(texts)["input_ids"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This sequence already has")
        return [reference.encode(text) for text in texts]


def assert_python_equal(tokenizer, reference, texts):
    assert len(tokenizer) == len(reference)
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert tokenizer.special_tokens.keys() == set(reference.all_special_tokens)
    assert tokenizer.all_special_ids == sorted(reference.all_special_ids)
    actual = [tokenizer.encode(text) for text in texts]
    for text, ids, expected in zip(texts, actual, reference_ids(reference, texts), strict=True):
        assert ids == expected, repr(text)
    assert [tokenizer.tokenize(text) for text in texts] == [reference.tokenize(text) for text in texts]
    generator, vocab = random.Random(0), list(tokenizer.get_vocab().values())
    rows = actual[:150] + [generator.choices(vocab, k=8) for _ in range(50)]
    for skips in (True, False):
        for row in rows:
            assert tokenizer.decode(row, skips) == reference.decode(row, skip_special_tokens=skips), (row, skips)
    return rows


def assert_graph_equal(tokenizer, texts, rows):
    graph = tokenizer.in_graph()
    ids = graph.encode(tf.constant(texts)).to_list()
    for text, actual in zip(texts, ids, strict=True):
        assert actual == tokenizer.encode(text), repr(text)
    padded = tf.ragged.constant(rows, dtype=tf.int32).to_tensor(default_value=-100)
    assert [text.decode() for text in graph.decode(padded).numpy()] == tokenizer.batch_decode(rows)


def assert_equal(tokenizer, reference, texts, refused=None):
    rows = assert_python_equal(tokenizer, reference, texts)
    if refused is None:
        assert_graph_equal(tokenizer, texts, rows)
    else:
        with pytest.raises(ValueError, match=refused):
            tokenizer.in_graph()


@pytest.mark.filterwarnings("ignore:other characters that the model takes for")
@pytest.mark.parametrize("kind", LED_KINDS)
def test_a_folder_of_led_is_read_as_in_transformers(led_files, kind, tmp_path):
    written(tmp_path / "a", led_files, **LED_KINDS[kind])
    tokenizer = LEDTokenizer.from_pretrained(tmp_path / "a")
    reference = transformers.LEDTokenizerFast.from_pretrained(tmp_path / "a")
    assert_equal(tokenizer, reference, TEXTS)
    tokenizer.save_pretrained(tmp_path / "b")
    again = LEDTokenizer.from_pretrained(tmp_path / "b")
    assert again.to_files() == tokenizer.to_files()
    assert_python_equal(again, transformers.LEDTokenizerFast.from_pretrained(tmp_path / "b"), SOME)
    # And what transformers writes, tokenizer.json among it.
    reference.save_pretrained(tmp_path / "c")
    assert_python_equal(LEDTokenizer.from_pretrained(tmp_path / "c"), reference, SOME)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "c" / name).unlink()
    assert_python_equal(LEDTokenizer.from_pretrained(tmp_path / "c"), reference, SOME)


@pytest.mark.filterwarnings("ignore:other characters that the model takes for")
@pytest.mark.parametrize("kind", T5_KINDS)
def test_a_folder_of_t5_is_read_as_in_transformers(t5_files, kind, tmp_path):
    written(tmp_path / "a", t5_files, **T5_KINDS[kind])
    tokenizer = LongT5Tokenizer.from_pretrained(tmp_path / "a")
    reference = transformers.T5Tokenizer.from_pretrained(tmp_path / "a")
    assert_equal(tokenizer, reference, TEXTS, REFUSED.get(kind))
    tokenizer.save_pretrained(tmp_path / "b")
    again = LongT5Tokenizer.from_pretrained(tmp_path / "b")
    assert again.to_files() == tokenizer.to_files()
    assert_python_equal(again, transformers.T5Tokenizer.from_pretrained(tmp_path / "b"), SOME)
    reference.save_pretrained(tmp_path / "c")
    assert_python_equal(LongT5Tokenizer.from_pretrained(tmp_path / "c"), reference, SOME)


# A line break alone is nothing in T5's normalization.
JSON_TOKENS = [name for name in TOKENS if name != "\n"]
CAPITALS = (
    "[event]",
    "[EVENT]",
    "the end",
    "The  end",
    "THE</S> <s>",
    "<doc>",
    "<DOC>",
    "\u00c9\u00e9",
    "\u0130\u03a3 \u1e9e",
)
JSON_KINDS = {
    "plain": ({}, {}),
    "lower-casing": ({}, {"normalizer": {"type": "Lowercase"}}),
    "lower-casing and added tokens": (
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": numbered(
                    SIZE, token("[EVENT]"), token("The", rstrip=True), token("<DOC>", special=True), token("\u00c9")
                )
            }
        },
        {"normalizer": {"type": "Lowercase"}},
    ),
    "added_tokens_decoder": (
        {"tokenizer_config.json": {"added_tokens_decoder": numbered(SIZE, *map(token, JSON_TOKENS)), "legacy": False}},
        {},
    ),
    "additional special tokens": (
        {"tokenizer_config.json": {"additional_special_tokens": ["[EVENT]"], "extra_ids": 3, "eos_token": "[E]"}},
        {},
    ),
    "truncation and padding": (
        {"tokenizer_config.json": {"model_max_length": 512}},
        {
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "padding": {
                "strategy": {"Fixed": 8},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<pad>",
            },
        },
    ),
}


@pytest.fixture(scope="module")
def t5_json(t5_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5")
    written(folder, t5_files)
    transformers.T5TokenizerFast.from_pretrained(folder).save_pretrained(folder / "saved")
    return json.loads((folder / "saved" / "tokenizer.json").read_text())


@pytest.fixture(scope="module")
def led_json(led_files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("led")
    written(folder, led_files)
    transformers.LEDTokenizerFast.from_pretrained(folder).save_pretrained(folder / "saved")
    return json.loads((folder / "saved" / "tokenizer.json").read_text())


@pytest.mark.parametrize("kind", JSON_KINDS)
@pytest.mark.parametrize("family", ["led", "t5"])
def test_tokenizer_json_alone_is_read_as_in_transformers(family, kind, request, tmp_path):
    ours, theirs = (
        (LEDTokenizer, transformers.LEDTokenizerFast)
        if family == "led"
        else (LongT5Tokenizer, transformers.T5TokenizerFast)
    )
    files, changes = JSON_KINDS[kind]
    written(tmp_path / "a", {**files, "tokenizer.json": {**request.getfixturevalue(f"{family}_json"), **changes}})
    tokenizer, reference = ours.from_pretrained(tmp_path / "a"), theirs.from_pretrained(tmp_path / "a")
    refused = "folder must hold spiece.model" if family == "t5" else None
    texts = TEXTS
    if "lower" in kind:
        texts = [*CAPITALS, *(text.swapcase() for text in TEXTS[:100]), *TEXTS[100:]]
    assert_equal(tokenizer, reference, texts, refused)
    pairs = tokenizer(TEXTS[:50], text_pair=TEXTS[50:100])
    rows = [row[mask == 1].tolist() for row, mask in zip(pairs["input_ids"], pairs["attention_mask"], strict=True)]
    assert rows == reference(TEXTS[:50], TEXTS[50:100])["input_ids"]
    tokenizer.save_pretrained(tmp_path / "b")
    again = ours.from_pretrained(tmp_path / "b")
    assert again.to_files() == tokenizer.to_files()
    assert_python_equal(again, theirs.from_pretrained(tmp_path / "b"), SOME)
    assert pickle.loads(pickle.dumps(tokenizer)).to_files() == tokenizer.to_files()


def test_an_added_token_that_normalization_leaves_nothing_of_is_refused(t5_json, tmp_path):
    config = {"added_tokens_decoder": numbered(SIZE, token("\n"))}
    written(tmp_path, {"tokenizer.json": t5_json, "tokenizer_config.json": config})
    with pytest.raises(ValueError, match=r"leaves nothing of them. Received: '\\n' with normalized=True"):
        LongT5Tokenizer.from_pretrained(tmp_path)


def test_a_token_listed_with_and_without_normalization_is_found_as_in_transformers_or_refused(led_json, tmp_path):
    config = {"added_tokens_decoder": {"2": token("</s>", normalized=False, special=True), str(SIZE): token("s>")}}
    files = {"tokenizer.json": led_json, "tokenizer_config.json": config}
    texts = ["</s>s>", "a</s> b", "</S>", "s>", *TEXTS[:50]]
    written(tmp_path, files)
    tokenizer = LEDTokenizer.from_pretrained(tmp_path)
    assert_equal(tokenizer, transformers.LEDTokenizerFast.from_pretrained(tmp_path), texts)
    written(tmp_path, {"tokenizer.json": {**led_json, "normalizer": {"type": "Lowercase"}}})
    tokenizer, reference = (peer.from_pretrained(tmp_path) for peer in (LEDTokenizer, transformers.LEDTokenizerFast))
    assert_equal(tokenizer, reference, texts, "must agree on normalized")


def test_more_added_tokens_than_regular_expressions_bear_are_refused_in_the_graph(led_files, t5_files):
    for tokenizer in (LEDTokenizer.from_files(led_files), LongT5Tokenizer.from_files(t5_files)):
        assert tokenizer.add_tokens([f"token{number:05}" for number in range(2000)]) == 2000
        assert tokenizer.encode("token01999")[-2] == len(tokenizer) - 1
        with pytest.raises(ValueError, match=r"at most 16,384 bytes altogether for the tokenizer to run in the graph"):
            tokenizer.in_graph()


@pytest.mark.parametrize("family", ["led", "t5"])
def test_a_saved_tokenizer_takes_the_place_of_a_former_one(family, request, tmp_path):
    ours = LEDTokenizer if family == "led" else LongT5Tokenizer
    tokenizer = ours.from_files(request.getfixturevalue(f"{family}_files"))
    files = tokenizer.to_files()
    tokenizer.add_tokens(["<doc-sep>"])
    tokenizer.save_pretrained(tmp_path)
    written(tmp_path, {"added_tokens.json": {"[EVENT]": SIZE}, "config.json": {}})
    ours.from_files(files).save_pretrained(tmp_path)
    assert ours.from_pretrained(tmp_path).to_files() == files
    assert (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"model": []},
        {"model": {"type": "BPE", "vocab": 3}},
        {"pre_tokenizer": [1]},
        {"decoder": "x"},
        {"truncation": [1]},
        {"added_tokens": [3]},
        {"added_tokens": [{"id": 1}]},
        {"added_tokens": [{"id": 1, "content": "a", "lstrip": "yes"}]},
        {"post_processor": {"type": "RobertaProcessing"}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    ],
)
@pytest.mark.parametrize("family", ["led", "t5"])
def test_a_broken_tokenizer_json_is_refused_as_such(family, changes, request):
    ours = LEDTokenizer if family == "led" else LongT5Tokenizer
    content = {**request.getfixturevalue(f"{family}_json"), **changes}
    with pytest.raises(ValueError, match="tokenizer.json|vocab"):
        ours.from_files({"tokenizer.json": json.dumps(content).encode()}).encode("text")


@pytest.mark.filterwarnings("ignore:other characters that the model takes for")
@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("led", "strips and white space"),
        ("led", "single words"),
        ("t5", "added_tokens_decoder, not legacy"),
        ("t5", "added_tokens_decoder"),
    ],
)
def test_the_graph_is_saved_with_its_added_tokens(family, kind, request, tmp_path):
    ours, kinds = (LEDTokenizer, LED_KINDS) if family == "led" else (LongT5Tokenizer, T5_KINDS)
    written(tmp_path / "a", request.getfixturevalue(f"{family}_files"), **kinds[kind])
    tokenizer = ours.from_pretrained(tmp_path / "a")
    tf.saved_model.save(tokenizer.in_graph(), str(tmp_path / "b"))
    loaded = tf.saved_model.load(str(tmp_path / "b"))
    ids = loaded.encode(tf.constant(TEXTS))
    assert ids.to_list() == [tokenizer.encode(text) for text in TEXTS]
    texts = loaded.decode(ids.to_tensor(default_value=-100)).numpy()
    assert [text.decode() for text in texts] == tokenizer.batch_decode(ids.to_list())


def test_another_tokenizer_json_beside_a_sentencepiece_model_is_refused(t5_files, t5_json, tmp_path):
    written(tmp_path, t5_files, **{"tokenizer.json": t5_json})
    assert len(LongT5Tokenizer.from_pretrained(tmp_path)) == SIZE
    for changes, difference in (
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]}}, "normalizer Lowercase"),
        ({"model": {**t5_json["model"], "vocab": t5_json["model"]["vocab"][1:]}}, "other pieces"),
    ):
        written(tmp_path, {"tokenizer.json": {**t5_json, **changes}})
        with pytest.raises(
            ValueError, match=f"tokenizer.json must hold the model of spiece.model.* Received: {difference}"
        ):
            LongT5Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize("family", ["led", "t5"])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"tokenizer_config.json": {"padding_side": "left"}}, "padding_side in tokenizer_config.json must be 'right'"),
        ({"tokenizer_config.json": {"truncation_side": "left"}}, "truncation_side in tokenizer_config.json must be"),
        ({"tokenizer_config.json": {"init_inputs": ["x"]}}, "init_inputs in tokenizer_config.json must be empty"),
        ({"tokenizer_config.json": {"vocab_file": "/a/b.txt"}}, "vocab_file in tokenizer_config.json must be one of"),
        ({"tokenizer_config.json": {"model_max_length": "x"}}, "model_max_length in tokenizer_config.json must be a"),
        ({"tokenizer_config.json": {"eos_token": None}}, "eos_token must not be null"),
        ({"tokenizer_config.json": {"eos_token": 3}}, "eos_token in tokenizer_config.json must be a str"),
        ({"tokenizer_config.json": {"eos_token": {"content": "</s>"}}}, "eos_token in tokenizer_config.json must be"),
        ({"tokenizer_config.json": {"split_special_tokens": 1}}, "split_special_tokens in .* must be true or false"),
        ({"tokenizer_config.json": {"clean_up_tokenization_spaces": "no"}}, "clean_up_tokenization_spaces in"),
        ({"tokenizer_config.json": {"add_prefix_space": "no"}}, "add_prefix_space in"),
        ({"tokenizer_config.json": {"additional_special_tokens": "x"}}, "additional_special_tokens must be a list"),
        ({"tokenizer_config.json": {"extra_special_tokens": ["x"]}}, "extra_special_tokens in .* must be an object"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"x": {}}}}, "added_tokens_decoder in .* must map ids"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"10000000": {}}}}, "must map ids below 10,000,000"),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"9": {}}}}, r"\[9\].content must be a str"),
        (
            {"tokenizer_config.json": {"added_tokens_decoder": {"9": {"content": "a", "lstrip": 1}}}},
            r"added_tokens_decoder in tokenizer_config.json\[9\].lstrip must be one of",
        ),
        ({"added_tokens.json": {"x": -1}}, "added_tokens.json must map tokens to ids"),
        ({"added_tokens.json": [1]}, "added_tokens.json must hold a JSON object"),
        ({"special_tokens_map.json": {"eos_token": {"content": 1}}}, "eos_token in special_tokens_map.json.content"),
        ({"special_tokens_map.json": {"additional_special_tokens": [1]}}, r"additional_special_tokens\[0\] in"),
        ({"tokenizer_config.json": b"{" * 100_000}, "tokenizer_config.json must be JSON"),
    ],
)
def test_settings_that_are_not_followed_are_refused_by_name(family, files, message, request):
    own = request.getfixturevalue(f"{family}_files")
    given = {
        name: content if isinstance(content, bytes) else json.dumps(content).encode() for name, content in files.items()
    }
    with pytest.raises(ValueError, match=message):
        (LEDTokenizer if family == "led" else LongT5Tokenizer).from_files({**own, **given})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"legacy": "no"}, "legacy in tokenizer_config.json must be true or false"),
        ({"extra_ids": -1}, "extra_ids in tokenizer_config.json must be an integer from 0 to 100000"),
        ({"extra_ids": 10**9}, "extra_ids in tokenizer_config.json must be an integer from 0 to 100000"),
        ({"extra_ids": 7, "additional_special_tokens": ["<extra_id_0>"]}, "extra_ids and additional_special_tokens in"),
        ({"sp_model_kwargs": {"enable_sampling": True}}, "sp_model_kwargs in tokenizer_config.json must be empty"),
        ({"added_tokens_decoder": {"700": token("e")}}, "added tokens must have the ids of the model's pieces"),
        (
            {"added_tokens_decoder": {"700": token("q~", single_word=True, lstrip=True)}},
            "must not have single_word together with lstrip or rstrip",
        ),
    ],
)
def test_settings_of_t5_that_are_not_followed_are_refused_by_name(t5_files, config, message):
    with pytest.raises(ValueError, match=message):
        LongT5Tokenizer.from_files({**t5_files, "tokenizer_config.json": json.dumps(config).encode()})


@pytest.mark.parametrize("config", [{"do_lower_case": True}, {"errors": "ignore"}])
def test_settings_that_transformers_does_not_follow_are_warned_of(led_files, t5_files, config, tmp_path):
    for ours, theirs, files in (
        (LEDTokenizer, transformers.LEDTokenizerFast, led_files),
        (LongT5Tokenizer, transformers.T5Tokenizer, t5_files),
    ):
        written(tmp_path / ours.__name__, files, **{"tokenizer_config.json": config})
        with pytest.warns(UserWarning, match="in tokenizer_config.json is not followed"):
            tokenizer = ours.from_pretrained(tmp_path / ours.__name__)
        assert_python_equal(
            tokenizer, theirs.from_pretrained(tmp_path / ours.__name__), ["Some WORDS \u00c9", *TEXTS[:20]]
        )

"""A byte-level BPE vocabulary from either form of its files, with a prefix space and without some byte symbols."""

import json

import pytest
import tensorflow as tf

from tfmodels import LEDTokenizer

transformers = pytest.importorskip("transformers")

TEXTS = [
    "the text",
    " the",
    "\nthe",
    "",
    "a<mask>b <mask> c</s>d",
    "</s>",
    "\u3000x",
    "1 2",
    "\u00e9t\u00e9 \U0001f389",
]


def without_symbols(tokenizer, symbols):
    """Vocabulary and merges without these symbols and all that holds them."""
    vocab = {
        token: index
        for token, index in tokenizer._vocab.items()
        if token in tokenizer.special_tokens or not set(token) & set(symbols)
    }
    return vocab, [pair for pair in tokenizer._merges if not set("".join(pair)) & set(symbols)]


def assert_equal_everywhere(tokenizer, reference, texts):
    expected = [reference(text)["input_ids"] for text in texts]
    assert [tokenizer.encode(text) for text in texts] == expected
    assert tokenizer.in_graph().encode(tf.constant(texts)).to_list() == expected


def saved(tokenizer, folder):
    tokenizer.save_pretrained(folder)
    return transformers.LEDTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def tokenizer_json(led_reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    led_reference.save_pretrained(folder)
    return json.loads((folder / "tokenizer.json").read_text())


def from_json(content, **files):
    return LEDTokenizer.from_files({"tokenizer.json": json.dumps(content).encode(), **files})


def test_tokenizer_json_holds_the_same_as_the_two_files(led_tokenizer, tokenizer_json, fuzz_texts, tmp_path):
    actual = from_json(tokenizer_json)
    assert actual.to_files() == led_tokenizer.to_files()
    merges = [" ".join(pair) for pair in tokenizer_json["model"]["merges"]]
    older = {**tokenizer_json, "model": {**tokenizer_json["model"], "merges": merges}}
    assert from_json(older).to_files() == led_tokenizer.to_files()
    (tmp_path / "tokenizer.json").write_text(json.dumps(older))
    loaded = LEDTokenizer.from_pretrained(tmp_path)
    assert loaded._tokenize(fuzz_texts[:200]) == led_tokenizer._tokenize(fuzz_texts[:200])


def test_tokenizer_json_comes_before_the_two_files_as_in_transformers(led_tokenizer, tokenizer_json, tmp_path):
    led_tokenizer.save_pretrained(tmp_path)
    merges = tokenizer_json["model"]["merges"][:-50]
    shorter = {**tokenizer_json, "model": {**tokenizer_json["model"], "merges": merges}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(shorter))
    actual = LEDTokenizer.from_pretrained(tmp_path)
    assert actual._merges == [tuple(pair) for pair in merges]
    assert_equal_everywhere(actual, transformers.LEDTokenizerFast.from_pretrained(tmp_path), [*TEXTS, "def test(self)"])


def changed(content, part, **values):
    return {**content, part: {**content[part], **values}}


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("model", {"type": "WordPiece"}, "model.type of tokenizer.json must be 'BPE'"),
        ("model", {"unk_token": "[UNK]"}, "model.unk_token of tokenizer.json must be in model.vocab"),
        ("model", {"byte_fallback": True}, "model.byte_fallback of tokenizer.json must be False"),
        ("model", {"continuing_subword_prefix": "##"}, "model.continuing_subword_prefix"),
        ("model", {"dropout": 0.1}, "model.dropout"),
        ("model", {"merges": [["a", "b", "c"]]}, "model.merges of tokenizer.json must hold two tokens each"),
        ("model", {"merges": ["ab"]}, "model.merges of tokenizer.json must hold two tokens each"),
        ("model", {"vocab": {"a": "1"}}, "model.vocab of tokenizer.json must map tokens to integer ids"),
        ("pre_tokenizer", {"type": "Whitespace"}, "pre_tokenizer.type of tokenizer.json must be 'ByteLevel'"),
        ("pre_tokenizer", {"use_regex": False}, "pre_tokenizer.use_regex"),
    ],
)
def test_other_tokenizers_are_refused(tokenizer_json, part, values, message):
    with pytest.raises(ValueError, match=message):
        from_json(changed(tokenizer_json, part, **values))


def test_other_parts_are_refused(tokenizer_json):
    with pytest.raises(ValueError, match="normalizer of tokenizer.json must be null or Lowercase for the tokenizer"):
        from_json({**tokenizer_json, "normalizer": {"type": "NFC"}}).in_graph()
    with pytest.raises(ValueError, match="tokenizer.json must be a file of the tokenizers library. Received: "):
        from_json({**tokenizer_json, "normalizer": {"type": "Unheard"}})
    with pytest.raises(ValueError, match="post_processor of tokenizer.json must have the form cls A sep and"):
        from_json({**tokenizer_json, "post_processor": None})
    with pytest.raises(ValueError, match="decoder.type of tokenizer.json must be 'ByteLevel'"):
        from_json({**tokenizer_json, "decoder": None})
    with pytest.raises(ValueError, match="truncation.direction of tokenizer.json must be 'Right'"):
        from_json({**tokenizer_json, "truncation": {"direction": "Left"}})
    with pytest.raises(ValueError, match="tokenizer.json must be JSON"):
        LEDTokenizer.from_files({"tokenizer.json": b"{"})
    with pytest.raises(ValueError, match=r"files must hold vocab.json and merges.txt, or tokenizer.json"):
        LEDTokenizer.from_files({"vocab.json": b"{}"})


@pytest.mark.parametrize("add_prefix_space", [True, False])
def test_saved_files_give_the_same_ids_in_transformers(led_tokenizer, add_prefix_space, fuzz_texts, tmp_path):
    tokenizer = LEDTokenizer(led_tokenizer._vocab, led_tokenizer._merges, add_prefix_space=add_prefix_space)
    reference = saved(tokenizer, tmp_path)
    assert reference.add_prefix_space == add_prefix_space
    texts = TEXTS + fuzz_texts[:1000]
    assert_equal_everywhere(tokenizer, reference, texts)
    loaded = LEDTokenizer.from_pretrained(tmp_path)
    assert loaded.add_prefix_space == add_prefix_space
    assert loaded.to_files() == tokenizer.to_files()
    offsets = tokenizer(texts, return_offsets=True)["offsets"]
    expected = reference(texts, return_offsets_mapping=True, padding=True)["offset_mapping"]
    assert offsets.tolist() == [[list(span) for span in row] for row in expected]


def test_a_prefix_space_is_read_from_the_settings_alone_as_in_transformers(tokenizer_json, tmp_path):
    content = changed(tokenizer_json, "pre_tokenizer", add_prefix_space=True)
    assert not from_json(content).add_prefix_space
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert_equal_everywhere(from_json(content), transformers.LEDTokenizerFast.from_pretrained(tmp_path), TEXTS)
    other = {"tokenizer_config.json": b'{"add_prefix_space": true, "model_max_length": 16384}'}
    actual = from_json(content, **other)
    assert (actual.add_prefix_space, actual.model_max_length) == (True, 16384)
    with pytest.raises(ValueError, match="add_prefix_space in tokenizer_config.json must be true or false"):
        from_json(content, **{"tokenizer_config.json": b'{"add_prefix_space": 1}'})


@pytest.mark.parametrize("symbols", ["e", "\u00c3\u00a9", "\u0120", "et\u010a \u0120"])
@pytest.mark.parametrize("marks_unknown_bytes", [False, True])
def test_bytes_without_a_symbol_are_as_in_transformers(
    led_tokenizer, symbols, marks_unknown_bytes, fuzz_texts, source_texts, tmp_path
):
    vocab, merges = without_symbols(led_tokenizer, symbols)
    tokenizer = LEDTokenizer(vocab, merges, marks_unknown_bytes=marks_unknown_bytes)
    reference = saved(tokenizer, tmp_path)
    texts = [*TEXTS, "eee", "x e y", source_texts[0], *fuzz_texts[:500]]
    assert_equal_everywhere(tokenizer, reference, texts)
    assert LEDTokenizer.from_pretrained(tmp_path).to_files() == tokenizer.to_files()
    has_unknown = any(tokenizer.unk_token_id in row for row in tokenizer._tokenize(["eee", "\u00e9\u00e9 a b\nt"]))
    assert has_unknown == marks_unknown_bytes


def test_a_vocabulary_of_special_tokens_alone_encodes_nothing(led_tokenizer):
    tokenizer = LEDTokenizer(led_tokenizer.special_tokens, [])
    assert tokenizer.encode("text") == [0, 2]
    assert tokenizer.in_graph().encode(tf.constant(["text", "", "a<mask>"])).to_list() == [[0, 2], [0, 2], [0, 4, 2]]

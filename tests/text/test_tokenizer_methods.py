"""What people call on a tokenizer: lengths, tokens one by one, added tokens, padding, transformers' arguments."""

import logging
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from folders import TOKENS, texts_with

import tfmodels
from tfmodels import LEDTokenizer, LongT5Tokenizer

transformers = pytest.importorskip("transformers")
TEXTS = texts_with(list(TOKENS), 150, seed=3)
SOME = ["a word", "the longest of all these rows, and then some", "two words"]
PEERS = {LEDTokenizer: transformers.LEDTokenizerFast, LongT5Tokenizer: transformers.T5Tokenizer}


@pytest.fixture(autouse=True)
def quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This sequence already has")
        warnings.filterwarnings("ignore", message="other characters that the model takes for")
        yield


@pytest.fixture
def own(tokenizer):
    """A tokenizer that may be changed."""
    return type(tokenizer).from_files(tokenizer.to_files())


def test_length_and_description(own):
    assert len(own) == own.vocab_size == len(own.get_vocab())
    own.add_tokens("<doc-sep>")
    name = type(own).__name__
    assert repr(own).startswith(
        f"{name}(tokens={len(own)}, vocab_size={len(own)}, model_max_length=None, pad_token='<p"
    )
    assert repr(own).endswith("added_tokens=['<doc-sep>'])")


def test_tokens_and_ids_are_those_of_transformers(with_reference):
    tokenizer, reference = with_reference
    for text in TEXTS:
        tokens = tokenizer.tokenize(text)
        assert tokens == reference.tokenize(text)
        assert tokenizer.convert_tokens_to_ids(tokens) == reference.convert_tokens_to_ids(tokens)
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.convert_ids_to_tokens(ids) == reference.convert_ids_to_tokens(ids)
        skipped = reference.convert_ids_to_tokens(ids, skip_special_tokens=True)
        assert tokenizer.convert_ids_to_tokens(np.array(ids, int), skip_special_tokens=True) == skipped
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert tokenizer.convert_tokens_to_ids("</s>") == tokenizer.eos_token_id
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id
    assert tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id) == "<pad>"
    with pytest.raises(ValueError, match=r"ids must be ids of the vocabulary. Received: \[-100\]"):
        tokenizer.convert_ids_to_tokens([5, -100])


STEPS = (
    (["<doc-sep>", "<doc", "word", "</s>"], False),
    ("[EVENT]", True),
    ([tokenizers.AddedToken("wordy", rstrip=True), tokenizers.AddedToken("\u00e9", lstrip=True, special=True)], False),
    (["<doc-sep>", "\n"], True),
)


def test_added_tokens_are_those_of_transformers_and_are_saved(own, tmp_path):
    own.save_pretrained(tmp_path / "before")
    reference = PEERS[type(own)].from_pretrained(tmp_path / "before")
    before = own.in_graph()
    for tokens, special in STEPS:
        assert own.add_tokens(tokens, special) == reference.add_tokens(tokens, special_tokens=special)
    assert own.in_graph() is not before
    own.save_pretrained(tmp_path / "after")
    again = type(own).from_pretrained(tmp_path / "after")
    for actual, peer in ((own, reference), (again, PEERS[type(own)].from_pretrained(tmp_path / "after"))):
        assert actual.get_vocab() == peer.get_vocab()
        assert len(actual) == len(peer) == actual.vocab_size
        assert [actual.encode(text) for text in TEXTS] == [peer.encode(text) for text in TEXTS]
    assert own.in_graph().encode(tf.constant(TEXTS)).to_list() == [own.encode(text) for text in TEXTS]
    layer = own.as_layer(16)
    loaded = type(layer).from_config(layer.get_config())
    assert (loaded(tf.constant(TEXTS))["input_ids"].numpy() == own(TEXTS, max_length=16)["input_ids"]).all()


def test_special_tokens_are_added_beside_those_that_are_there(own):
    count = len(own.all_special_ids)
    assert own.add_special_tokens({"additional_special_tokens": ["[EVENT]", "<doc-sep>"]}) == 2
    assert own.decode(own.encode("a [EVENT]<extra_id_0></s>")).strip() in ("a", "a <extra_id_0>")
    assert len(own.skipped_ids) == count + 2
    with pytest.raises(ValueError, match="special_tokens_dict must hold additional_special_tokens alone"):
        own.add_special_tokens({"eos_token": "x"})


@pytest.mark.parametrize("tokens", [3, b"x", [""], [3], [None]])
def test_tokens_of_other_types_are_refused_and_nothing_is_added(own, tokens):
    files = own.to_files()
    with pytest.raises(ValueError, match="new_tokens"):
        own.add_tokens(tokens)
    assert own.to_files() == files


def test_further_sentinels_are_refused(longt5_tokenizer):
    own = LongT5Tokenizer.from_files(longt5_tokenizer.to_files())
    with pytest.raises(ValueError, match="new_tokens must not be further sentinels"):
        own.add_tokens("<extra_id_100>", special_tokens=True)


def test_a_model_has_rows_for_added_tokens(own):
    sizes = {"d_model": 16, "decoder_ffn_dim": 16, "encoder_ffn_dim": 16, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "attention_window": 4}
    if isinstance(own, LEDTokenizer):
        config = tfmodels.LEDConfig(vocab_size=len(own), **sizes, **heads)
        model = tfmodels.LEDForConditionalGeneration(config)
    else:
        config = tfmodels.LongT5Config(vocab_size=len(own), d_model=16, d_ff=16, d_kv=8, num_heads=2, num_layers=1)
        model = tfmodels.LongT5ForConditionalGeneration(config)
    own.add_tokens(["<doc-sep>"])
    model.resize_token_embeddings(len(own))
    batch = own(["a<doc-sep>b"], text_target=["<doc-sep>"], max_length=16)
    assert own.convert_tokens_to_ids("<doc-sep>") == len(own) - 1
    assert model(batch)["logits"].shape[-1] == len(own)


def expected(reference, texts, pair=None, **arguments):
    return reference(texts, pair, return_tensors="np", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": True},
        {"padding": "longest", "truncation": True, "max_length": 8},
        {"padding": "longest", "truncation": True, "max_length": 40},
        {"padding": "max_length", "truncation": True, "max_length": 8},
        {"padding": "max_length", "truncation": "longest_first", "max_length": 9},
        {"padding": "max_length", "truncation": False, "max_length": 64},
    ],
)
def test_padding_and_truncation_are_those_of_transformers(with_reference, arguments):
    tokenizer, reference = with_reference
    for pair in (None, SOME[::-1]):
        actual = tokenizer(SOME, text_pair=pair, **arguments)
        wanted = expected(reference, SOME, pair, **arguments)
        for name in ("input_ids", "attention_mask"):
            assert actual[name].tolist() == wanted[name].tolist()


def test_pairs_are_cut_as_transformers_cuts_them(with_reference):
    tokenizer, reference = with_reference
    texts = ["a word " * count for count in (1, 3, 5, 9, 20)]
    for truncation in ("longest_first", "only_first", "only_second"):
        for length in range(40, 56):
            for first in texts:
                for second in texts:
                    whole = {"only_first": second, "only_second": first}.get(truncation, "")
                    if len(tokenizer.encode(whole)) > length - 8:
                        continue
                    given = {"truncation": truncation, "max_length": length, "padding": "max_length"}
                    expected = reference(first, second, **given)["input_ids"]
                    assert tokenizer(first, text_pair=second, **given)["input_ids"][0].tolist() == expected
    with pytest.raises(ValueError, match="truncation='only_second' must leave room for a token of the text"):
        tokenizer(texts[-1], text_pair=texts[0], truncation="only_second", max_length=8)


def test_a_length_is_that_of_the_checkpoint_where_none_is_given(tokenizer):
    files = {**tokenizer.to_files(), "tokenizer_config.json": b'{"model_max_length": 8}'}
    short = type(tokenizer).from_files(files)
    assert short(SOME, truncation=True)["input_ids"].shape == (3, 8)
    assert short(SOME[:1], truncation=True)["input_ids"].shape[1] < 8
    assert short(SOME[:1], padding="max_length", truncation=True)["input_ids"].shape == (1, 8)
    assert short(SOME)["input_ids"].shape[1] > 8
    for arguments in ({"truncation": True}, {"padding": "max_length"}):
        with pytest.raises(ValueError, match="needs max_length, as the tokenizer's files have no model_max_length"):
            tokenizer(SOME, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": False}, "padding must be True, 'longest' or 'max_length': a call returns arrays"),
        ({"padding": "do_not_pad"}, "padding must be True"),
        ({"padding": True, "lengths": (8, 16)}, "padding must be None with lengths, which say how long rows may be"),
        ({"truncation": "no"}, "truncation must be True, False or one of"),
        (
            {"truncation": False, "max_length": 8},
            r"truncation=False needs rows of at most 8 tokens. Received: \d+",
        ),
        ({"return_tensors": "pt"}, "return_tensors must be None or 'np' .* torch.from_numpy"),
        ({"return_offsets_mapping": True}, "return_offsets_mapping is no argument here: return_offsets=True"),
        ({"pad_to_multiple_of": 8}, r"pad_to_multiple_of is no argument here: lengths="),
        ({"stride": 2}, "stride is no argument here: cut a long text into texts before the call"),
    ],
)
def test_what_cannot_be_is_said_with_what_does_it_here(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(SOME, **arguments)
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_lenght'"):
        tokenizer(SOME, max_lenght=3)


def test_tensors_are_tensorflows_when_asked_for(tokenizer):
    arrays, tensors = tokenizer(SOME, return_tensors="np"), tokenizer(SOME, return_tensors="tf")
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray)
        assert tf.is_tensor(tensors[name])
        assert tensors[name].dtype == tf.int32
        assert (tensors[name].numpy() == array).all()


def test_rows_are_padded_as_in_transformers(with_reference):
    tokenizer, reference = with_reference
    rows = [{"input_ids": tokenizer.encode(text)} for text in SOME]
    for given in (
        {"padding": True},
        {"padding": "max_length", "max_length": 40},
        {"padding": "longest", "pad_to_multiple_of": 8},
    ):
        expected = reference.pad(rows, return_tensors="np", **given)
        for actual in (
            tokenizer.pad(rows, **given),
            tokenizer.pad({"input_ids": [r["input_ids"] for r in rows]}, **given),
        ):
            for name in ("input_ids", "attention_mask"):
                assert actual[name].dtype == np.int32
                assert actual[name].tolist() == expected[name].tolist()
    batch = tokenizer.pad([{**row, "labels": [7] * number} for number, row in enumerate(rows)], return_tensors="tf")
    assert batch["labels"].numpy().tolist() == [[-100, -100], [7, -100], [7, 7]]


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([], {}, "rows must be a mapping of rows"),
        ([{"ids": [1]}], {}, "rows must hold input_ids"),
        ([{"input_ids": [1]}, {"labels": [1]}], {}, "rows must all have the same names"),
        ([{"input_ids": [1], "attention_mask": [1, 1]}], {}, "attention_mask must have as many values"),
        ([{"input_ids": [1, 2, 3]}], {"padding": "max_length", "max_length": 2}, "max_length must be at least the"),
        ([{"input_ids": [1]}], {"padding": "max_length"}, "padding must be True, 'longest', or 'max_length'"),
        ([{"input_ids": [1]}], {"padding": False}, "padding must be True"),
    ],
)
def test_rows_that_cannot_be_padded_are_refused(tokenizer, rows, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.pad(rows, **arguments)


def test_spaces_are_cleaned_up_as_the_folder_says(tokenizer):
    files = {**tokenizer.to_files(), "tokenizer_config.json": b'{"clean_up_tokenization_spaces": true}'}
    cleaning = type(tokenizer).from_files(files)
    text = "do n't say , that 's it ' now . no ' "
    for ids in (tokenizer.encode(text), tokenizer.encode(text + "word")):
        expected_text = tokenizer.decode(ids, clean_up_tokenization_spaces=True)
        assert cleaning.decode(ids) == cleaning.batch_decode([ids])[0] == expected_text
        assert cleaning.in_graph().decode(tf.constant([ids])).numpy()[0].decode() == expected_text
        assert "".join(cleaning.stream(ids)) == expected_text
        assert cleaning.decode(ids, clean_up_tokenization_spaces=False) == tokenizer.decode(ids)
    assert len(list(cleaning.stream(tokenizer.encode("some words that come one by one")))) > 2

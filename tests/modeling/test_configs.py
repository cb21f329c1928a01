"""Configs: every field of the reference with its check, hostile files refused, nothing lost on the way."""

import json

import numpy as np
import pytest
import transformers
from tiny import KINDS, make_config, make_model, settings

import tfmodels
from tfmodels.checkpoints import write_safetensors
from tfmodels.utils.files import read_json_object

every_kind = pytest.mark.parametrize("kind", KINDS)
REFERENCE = {"led": transformers.LEDConfig, "longt5": transformers.LongT5Config}
# Of the reference's base class: about its own machinery, or generation's business.
NOT_OURS = {"use_cache", "is_encoder_decoder", "bos_token_id"}


@every_kind
def test_defaults_and_fields_are_the_references(kind):
    reference = REFERENCE[kind[:6].rstrip("-")]()
    ours = tfmodels.LEDConfig() if kind == "led" else tfmodels.LongT5Config()
    own = {name for name in vars(reference) if name in type(reference).__init__.__code__.co_varnames} - NOT_OURS
    assert own
    for name in own | {"decoder_start_token_id", "tie_word_embeddings", "id2label", "label2id", "problem_type"}:
        value = getattr(reference, name)
        if name in ("num_decoder_layers", "decoder_start_token_id") and kind != "led":
            continue  # None there: as many as in the encoder; T5 starts with the padding token
        assert getattr(ours, name) == value, name
    for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
        assert getattr(ours, name) == getattr(reference, name)


@pytest.mark.quick_in_jax("led")
@every_kind
def test_a_reference_config_file_is_read_and_ours_by_the_reference(kind, tmp_path):
    family = "LED" if kind == "led" else "LongT5"
    reference = getattr(transformers, f"{family}Config")(**settings(kind), num_labels=3, output_attentions=True)
    reference.save_pretrained(tmp_path)
    ours = getattr(tfmodels, f"{family}Config").from_json(tmp_path / "config.json")
    assert ours.num_labels == 3
    assert ours.output_attentions
    ours.to_json(tmp_path / "config.json", architecture=f"{family}Model")
    again = getattr(transformers, f"{family}Config").from_pretrained(tmp_path)
    assert again.num_labels == 3
    assert again.architectures == [f"{family}Model"]
    assert {key: again.to_dict()[key] for key in settings(kind)} == {
        key: reference.to_dict()[key] for key in settings(kind)
    }


@pytest.mark.quick_in_jax("longt5-tglobal")
@every_kind
def test_configs_survive_their_dict(kind):
    config = make_config(kind, num_labels=4, pruned_heads={1: [2, 0]}, problem_type="regression")
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.pruned_heads == {1: [0, 2]}


def test_labels_follow_their_number_and_their_names():
    config = make_config("led", id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert config.num_labels == 3
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert config.replace(num_labels=3) == config
    assert config.replace(num_labels=2).id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert config.replace(id2label={0: "one"}).num_labels == 1


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("led", {"d_model": 32.0}, "d_model must be of type int and finite. Received: d_model=32.0"),
        ("led", {"d_model": True}, "d_model must be of type int"),
        ("led", {"d_model": None}, "d_model must be of type int"),
        ("led", {"init_std": "0.02"}, "init_std must be of type float and finite. Received: init_std='0.02'"),
        ("led", {"init_std": float("nan")}, "init_std must be of type float and finite. Received: init_std=nan"),
        ("led", {"init_std": -1.0}, "init_std must be a number of at least 0"),
        ("led", {"activation_function": ["gelu"]}, "activation_function must be of type str"),
        ("led", {"activation_function": "__import__"}, "activation must be one of"),
        ("led", {"attention_window": "512"}, "attention_window must be even and positive. Received: .*'512'|=512"),
        ("led", {"attention_window": {"a": 1}}, "attention_window must be even and positive"),
        ("led", {"encoder_layerdrop": 1.5}, r"encoder_layerdrop must be in \[0, 1\)"),
        ("led", {"classifier_dropout": -0.1}, r"classifier_dropout must be in \[0, 1\)"),
        ("led", {"pad_token_id": -1}, "pad_token_id must be 0 or more. Received: pad_token_id=-1"),
        ("led", {"eos_token_id": [2]}, "eos_token_id must be of type int"),
        ("led", {"tie_word_embeddings": "yes"}, "tie_word_embeddings must be of type bool"),
        ("led", {"num_labels": 10**12}, "num_labels must be at most 100000"),
        ("led", {"num_labels": 0}, "num_labels must be a positive integer"),
        ("led", {"num_labels": 3, "id2label": {0: "a"}}, "id2label must name the classes from 0 to num_labels - 1"),
        ("led", {"id2label": ["a"]}, "id2label must map class ids to names"),
        ("led", {"id2label": {1: "a"}}, "id2label must name the classes from 0"),
        ("led", {"label2id": 5}, "label2id must map names to class ids"),
        ("led", {"init_std": 10**400}, "init_std must be of type float and finite"),
        ("led", {"attention_window": 2 * 10**10}, "attention_window must be at most 2"),
        ("longt5-local", {"layer_norm_epsilon": 10**400}, "layer_norm_epsilon must be of type float and finite"),
        ("longt5-local", {"local_radius": 50_000}, "local_radius must be at most 8192"),
        ("longt5-tglobal", {"global_block_size": 10**9}, "global_block_size must be at most 8192"),
        ("led", {"problem_type": "classification"}, "problem_type must be one of"),
        ("led", {"pruned_heads": {0: "all"}}, "pruned_heads must be heads from 0 to 3"),
        ("led", {"pruned_heads": [1]}, "pruned_heads must map layers to lists"),
        ("longt5-local", {"feed_forward_proj": 3}, "feed_forward_proj must be of type str"),
        ("longt5-local", {"layer_norm_epsilon": -1.0}, "layer_norm_epsilon must be a number of at least 0"),
        ("longt5-local", {"relative_attention_num_buckets": 2}, "relative_attention_num_buckets must be at least 4"),
    ],
)
def test_wrong_types_and_values_are_errors_that_name_the_field(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(kind, **changes)


@pytest.fixture
def folder(tmp_path):
    make_model("led").save_pretrained(tmp_path)
    return tmp_path


def load_with(folder, **changes):
    values = read_json_object(folder / "config.json") | changes
    (folder / "config.json").write_text(json.dumps(values))
    return tfmodels.LEDForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": "big"}, "d_model must be of type int"),
        ({"activation_function": "swosh"}, "activation must be one of"),
        ({"model_type": "longt5"}, "model_type must be 'led' for LEDConfig. Received: model_type='longt5'"),
        ({"model_type": 7}, "model_type must be 'led'"),
        ({"max_global_tokens": 10**12}, "max_global_tokens must be"),
        # Sizes that would take terabytes are compared with the file before anything is made of them.
        ({"d_model": 2**40}, "must hold led.shared.weight with shape"),
        ({"encoder_ffn_dim": 10**12}, "must hold led.encoder.layers.1.fc1.weight with shape"),
        ({"decoder_ffn_dim": 10**12}, "must hold led.decoder.layers.1.fc1.weight with shape"),
        ({"encoder_layers": 10**12, "attention_window": 8}, "must hold led.encoder.layers.999999999999.fc1.weight"),
        ({"decoder_layers": 10**12}, "must hold led.decoder.layers.999999999999.fc1.weight"),
        ({"max_encoder_position_embeddings": 10**12}, "must hold led.encoder.embed_positions.weight with shape"),
        ({"max_decoder_position_embeddings": 10**12}, "must hold led.decoder.embed_positions.weight with shape"),
    ],
)
def test_a_hostile_config_file_is_refused_before_a_model_is_made(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        load_with(folder, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"d_model": 2**40},
        {"d_kv": 2**40},
        {"d_ff": 10**12},
        {"num_heads": 10**12},
        {"num_layers": 10**12},
        {"num_decoder_layers": 10**12},
        {"relative_attention_num_buckets": 2**40, "relative_attention_max_distance": 2**41},
    ],
)
def test_a_hostile_longt5_config_is_refused_before_a_model_is_made(tmp_path, changes):
    make_model("longt5-tglobal").save_pretrained(tmp_path)
    values = read_json_object(tmp_path / "config.json") | changes
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="must hold .* as the config says"):
        tfmodels.LongT5ForConditionalGeneration.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["[" * 200_000, "", "[]", "{", "\x00", '{"model_type": "led", "d_model": 1e999}'])
def test_a_config_file_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config.json|d_model must be"):
        tfmodels.LEDForConditionalGeneration.from_pretrained(folder)


@pytest.mark.parametrize("claimed", [10**12, 10])
def test_the_file_and_not_the_config_says_how_many_tokens_there_are(folder, claimed):
    with pytest.warns(UserWarning, match=f"holds embeddings of 90 tokens and its config says vocab_size={claimed}"):
        assert load_with(folder, vocab_size=claimed).config.vocab_size == 90
    with pytest.raises(ValueError, match="must hold led.shared.weight with shape .*as the config says"):
        tfmodels.LEDForConditionalGeneration.from_pretrained(folder, vocab_size=100)


def test_a_field_named_extra_is_no_back_door(folder):
    assert load_with(folder, extra={"d_model": 7}).config.d_model == 32
    assert load_with(folder, extra=5).config.extra["extra"] == 5


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("led", {"d_model": 6000, "encoder_attention_heads": 1, "decoder_attention_heads": 1}),
        ("led", {"encoder_layers": 3000, "attention_window": 8}),
        ("led", {"decoder_layers": 3000}),
        ("longt5-local", {"d_kv": 10**9, "pruned_heads": {"0": [0]}}),
        ("longt5-tglobal", {"num_layers": 3000}),
    ],
)
def test_a_small_file_with_the_right_landmarks_does_not_make_a_large_model(kind, changes, tmp_path):
    """Only the tensors that fix the sizes are there: the config claims a model that the file cannot hold."""
    small = {"max_encoder_position_embeddings": 8, "encoder_ffn_dim": 1} if kind == "led" else {"d_ff": 1, "d_model": 1}
    config = make_config(kind, vocab_size=1, **{**small, **changes})
    config.to_json(tmp_path / "config.json")
    model_type = tfmodels.LEDForConditionalGeneration if kind == "led" else tfmodels.LongT5ForConditionalGeneration
    shapes = {
        names[0]: shape
        for names, shape in model_type.weight_map(config).required_shapes.items()
        if np.prod(shape) < 1e7
    }
    tensors = {name: np.zeros(shape, "bool") for name, shape in shapes.items()}
    write_safetensors(tmp_path / "model.safetensors", tensors)
    with pytest.raises(ValueError, match="as the config says"):
        model_type.from_pretrained(tmp_path)


def test_labels_stand_in_the_order_of_their_ids_after_a_file(tmp_path):
    names = {index: f"class {index}" for index in range(12)}
    tfmodels.LEDConfig(id2label=names).to_json(tmp_path / "config.json")
    assert list(tfmodels.LEDConfig.from_json(tmp_path / "config.json").id2label.items()) == list(names.items())

"""Every key of a `config.json` that transformers takes is followed, harmless, or named in a warning."""

import inspect
import json
import re

import keras
import numpy as np
import pytest
import transformers
from tiny import make_config
from transformers.configuration_utils import PretrainedConfig

import tfmodels
from tfmodels.auto import FAMILIES
from tfmodels.generation.reference_settings import HARMLESS as HARMLESS_SETTINGS
from tfmodels.modeling.config import config_of
from tfmodels.modeling.config_keys import HARMLESS, NOT_FOLLOWED, REFUSED

OURS = {"led": tfmodels.LEDConfig, "longt5": tfmodels.LongT5Config}
THEIRS = {"led": transformers.LEDConfig, "longt5": transformers.LongT5Config}
SMALL = {name: family.minimal for name, family in FAMILIES.items()}
every_family = pytest.mark.parametrize("family", OURS)
# Written by the families' classes beside the fields; and read outside of the configs' constructors.
DERIVED = {"led": {"num_hidden_layers"}, "longt5": {"dense_act_fn", "is_gated_act"}}


def reference_keys(family):
    """What the class and its parent take by name, pop out of the rest, or map to another name."""
    kind = THEIRS[family]
    named = {*inspect.signature(kind).parameters, *inspect.signature(PretrainedConfig).parameters} - {"kwargs"}
    source = inspect.getsource(PretrainedConfig.__init__)
    popped = set(re.findall(r'kwargs\.(?:pop|get)\("(\w+)"', source))
    settings_of_generation = set(PretrainedConfig._get_global_generation_defaults())
    return named | popped | settings_of_generation | set(kind.attribute_map) | set(kind().to_dict())


@every_family
def test_every_key_of_the_reference_has_its_place(family):
    config = OURS[family]
    fields = set(config.__dataclass_fields__) - {"extra", "eos_token_ids"}
    generation = tfmodels.GenerationConfig.reference_names() | HARMLESS_SETTINGS
    known = fields | set(config.aliases) | HARMLESS | set(NOT_FOLLOWED) | set(REFUSED) | generation | DERIVED[family]
    assert "gradient_checkpointing" in fields
    assert len(reference_keys(family)) > 60
    assert reference_keys(family) <= known


@every_family
def test_a_config_as_the_reference_writes_it_draws_no_warning_and_goes_back(family, tmp_path):
    reference = THEIRS[family](**SMALL[family], id2label={0: "no", 1: "yes", 2: "maybe"}, dtype="bfloat16")
    for values in (reference.to_dict(), reference.to_diff_dict()):
        ours = OURS[family].from_dict(values)
        ours.to_json(tmp_path / "config.json")
        again = THEIRS[family].from_pretrained(tmp_path)
        different = {name for name, value in reference.to_dict().items() if again.to_dict().get(name) != value}
        # LongT5 has no start token of its own in the reference, and the padding token here; names give ids here.
        assert different <= {"decoder_start_token_id", "label2id"}
        assert OURS[family].from_json(tmp_path / "config.json") == ours


@every_family
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("cross_attention_hidden_size", 16),
        ("tie_encoder_decoder", True),
        ("tf_legacy_loss", True),
        ("prefix", "summarize: "),
        ("is_encoder_decoder", False),
        ("eos_token_id", None),
        ("pad_token_id", None),
    ],
)
def test_a_key_that_is_not_followed_is_named(family, key, value, tmp_path):
    with pytest.warns(UserWarning, match=rf"not followed as they stand: {key}={value!r}: \w"):
        config = OURS[family].from_dict({**SMALL[family], key: value})
    # Parts of a model are made from its config again and again: what was told once is not told for each.
    assert config_of(OURS[family], config.to_dict()) == config


@every_family
def test_a_config_of_transformers_is_taken_for_what_it_says(family):
    reference = THEIRS[family](**SMALL[family], num_labels=3)
    assert config_of(OURS[family], reference) == OURS[family].from_dict(reference.to_dict())
    other = next(name for name in OURS if name != family)
    with pytest.raises(ValueError, match="model_type must be"):
        config_of(OURS[family], THEIRS[other]())
    for wrong in (OURS[other](), OURS[family], "config.json", None):
        with pytest.raises(ValueError, match=f"config must be a {OURS[family].__name__}. Received: config="):
            config_of(OURS[family], wrong)


@every_family
def test_weights_that_cannot_be_read_are_refused_by_the_config(family):
    with pytest.raises(ValueError, match="quantization_config must not be there: .*Received: .*'gptq'"):
        OURS[family].from_dict({**SMALL[family], "quantization_config": {"quant_method": "gptq"}})
    assert OURS[family].from_dict({**SMALL[family], "quantization_config": None}).vocab_size == 90


@every_family
def test_recomputed_blocks_are_a_field(family, tmp_path):
    config = OURS[family].from_dict({**SMALL[family], "gradient_checkpointing": True})
    assert config.gradient_checkpointing
    assert config.to_dict()["gradient_checkpointing"] is True
    for value in (False, None):
        plain = OURS[family].from_dict({**SMALL[family], "gradient_checkpointing": value})
        assert not plain.gradient_checkpointing
        assert "gradient_checkpointing" not in plain.to_dict()
    assert config.replace(gradient_checkpointing=False) == plain


@every_family
def test_other_names_of_fields_mean_what_they_mean_in_the_reference(family):
    for alias, name in OURS[family].aliases.items():
        assert THEIRS[family].attribute_map[alias] == name
        value = {"d_model": 64, "init_std": 0.5, "attention_dropout": 0.25, "d_kv": 16}.get(name, 2)
        config = OURS[family].from_dict({alias: value})
        assert getattr(config, name) == getattr(THEIRS[family](**{alias: value}), name) == value
        assert alias not in config.to_dict()
        with pytest.warns(UserWarning, match=rf"{name}=.*: {alias}={value} wins, as in transformers"):
            assert getattr(OURS[family].from_dict({name: 3 * value, alias: value}), name) == value
    assert set(THEIRS[family].attribute_map) == set(OURS[family].aliases)


def test_a_number_of_layers_that_was_read_is_not_written_beside_another():
    config = tfmodels.LEDConfig.from_dict({"encoder_layers": 2, "num_hidden_layers": 2})
    assert THEIRS["led"](**config.replace(encoder_layers=3).to_dict()).num_hidden_layers == 3
    with pytest.warns(UserWarning, match="num_hidden_layers=5: encoder_layers=2 is followed"):
        tfmodels.LEDConfig.from_dict({"encoder_layers": 2, "num_hidden_layers": 5})
    for values in ({"num_hidden_layers": 4}, {"num_hidden_layers": 4, "num_layers": 3}, {"num_layers": 3}):
        reference = THEIRS["longt5"](**values)
        ours = config_of(tfmodels.LongT5Config, values)
        assert (ours.num_layers, ours.decoder_layers) == (reference.num_layers, reference.num_decoder_layers)


@pytest.mark.parametrize("form", ["relu", "gated-gelu", "gelu", "gated-relu", "gated-gelu_new", "silu"])
@pytest.mark.parametrize("name", [None, "gelu", "gelu_new", "relu", "swish"])
@pytest.mark.parametrize("gated", [None, True, False])
def test_the_feed_forward_parts_are_those_of_the_reference(form, name, gated):
    apart = {"dense_act_fn": name, "is_gated_act": gated}
    values = {"feed_forward_proj": form, **{key: value for key, value in apart.items() if value is not None}}
    reference, ours = THEIRS["longt5"](**values), tfmodels.LongT5Config.from_dict(values)
    again = THEIRS["longt5"](**ours.to_dict())
    same = {"swish": "silu", "gelu_python": "gelu"}
    for found in (reference, again):
        activation = same.get(found.dense_act_fn, found.dense_act_fn)
        assert (ours.is_gated, ours.activation) == (found.is_gated_act, activation)


def test_other_names_of_activations_are_read():
    assert tfmodels.LEDConfig.from_dict({"activation_function": "swish"}).activation_function == "silu"
    assert tfmodels.LEDConfig.from_dict({"activation_function": "gelu_pytorch_tanh"}).activation_function == "gelu_new"


@every_family
def test_several_end_tokens_are_kept(family):
    config = OURS[family].from_dict({**SMALL[family], "eos_token_id": [2, 7]})
    assert (config.eos_token_id, config.eos_token_ids) == (2, (2, 7))
    assert config.to_dict()["eos_token_id"] == [2, 7]
    assert OURS[family].from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.replace(eos_token_id=5).to_dict()["eos_token_id"] == 5
    assert tfmodels.GenerationConfig().with_ids_of(config).end_tokens == (2, 7)
    for value in ([2, "7"], [2, -1], [True]):
        with pytest.raises(ValueError, match="eos_token_id must be"):
            OURS[family].from_dict({**SMALL[family], "eos_token_id": value})


def test_without_a_start_token_generation_begins_with_the_first_token_as_in_the_reference():
    with pytest.warns(UserWarning, match="decoder_start_token_id=None: 3 is taken for it"):
        config = tfmodels.LEDConfig.from_dict({**SMALL["led"], "decoder_start_token_id": None, "bos_token_id": 3})
    assert config.decoder_start_token_id == 3
    # LongT5 has none in the reference; the padding token, as T5 has it.
    assert (
        tfmodels.LongT5Config.from_dict({**SMALL["longt5"], "decoder_start_token_id": None}).decoder_start_token_id == 0
    )


@every_family
def test_an_error_names_the_file_and_what_the_caller_did_not_write(family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SMALL[family], "d_model": "big"}))
    with pytest.raises(ValueError, match=r"d_model must be of type int .*Received: d_model='big' \(in .*config.json\)"):
        OURS[family].from_json(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"pruned_heads must name .* Received: layers \[7\]$"):
        OURS[family](**SMALL[family]).replace(pruned_heads={7: [0]})


def test_an_error_of_an_override_names_the_field_of_the_file():
    config = tfmodels.LEDConfig(**SMALL["led"])
    with pytest.raises(ValueError, match=r"layers=3. .* \(the config to be changed has attention_window=\[8, 16\]"):
        config.replace(encoder_layers=3)


def test_a_key_that_stands_twice_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"d_model": 32, "more": [{"x": 1, "x": 2}], "d_model": 64}')
    with pytest.warns(UserWarning, match="config.json has keys that stand twice, and the last counts: 'x', 'd_model'"):
        assert tfmodels.LongT5Config.from_json(tmp_path / "config.json").d_model == 64


@every_family
def test_null_means_what_it_means_in_the_reference(family):
    nulls = ("output_attentions", "output_hidden_states", "tie_word_embeddings", "pruned_heads", "problem_type")
    config = OURS[family].from_dict({**SMALL[family], **dict.fromkeys((*nulls, "id2label", "label2id", "num_labels"))})
    assert not any(getattr(config, name) for name in nulls)
    assert config.id2label == THEIRS[family]().id2label
    assert config.label2id == THEIRS[family]().label2id
    for name in ("d_model", "vocab_size"):
        with pytest.raises(ValueError, match=f"{name} must be of type int"):
            OURS[family].from_dict({**SMALL[family], name: None})


@every_family
def test_labels_are_counted_once(family):
    names = {"0": "no", "1": "yes", "2": "maybe"}
    with pytest.warns(UserWarning, match="num_labels=5: id2label names 3 labels, and wins"):
        assert OURS[family].from_dict({**SMALL[family], "id2label": names, "num_labels": 5}).num_labels == 3
    config = OURS[family].from_dict({**SMALL[family], "label2id": {"yes": 1, "no": 0, "maybe": 2}})
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    for bad in ({"0": "no", "1.0": "yes"}, {0: "no", 1.5: "yes"}, {"0": "no", "one": "yes"}, {False: "no"}):
        with pytest.raises(ValueError, match="id2label must map class ids to names"):
            OURS[family].from_dict({**SMALL[family], "id2label": bad})


@every_family
def test_further_keys_that_json_cannot_hold_are_left_out_by_name(family, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**SMALL[family], "loss_weight": float("nan"), "more": [1]}))
    with pytest.warns(UserWarning, match="loss_weight=nan: JSON has no such value, and the key is left out"):
        config = OURS[family].from_json(tmp_path / "config.json")
    assert config.extra == {"more": [1]}
    json.dumps(config.to_dict(), allow_nan=False)
    deep = "[" * 500 + "]" * 500
    (tmp_path / "config.json").write_text(json.dumps(SMALL[family])[:-1] + f', "deep": {deep}}}')
    with pytest.raises(ValueError, match="deep must be nested at most 50 deep"):
        OURS[family].from_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("led", {"attention_window": np.array([8, 16])}, {"attention_window": [8, 16]}),
        ("led", {"attention_window": (np.int64(8), np.int32(16))}, {"attention_window": (8, 16)}),
        ("led", {"attention_window": np.array(8)}, {"attention_window": 8}),
        ("led", {"d_model": np.int64(32), "dropout": np.float32(0.5)}, {"d_model": 32, "dropout": 0.5}),
        ("led", {"attention_dropout": np.int64(0)}, {"attention_dropout": 0}),
        ("led", {"tie_word_embeddings": np.bool_(False)}, {"tie_word_embeddings": False}),
        ("led", {"id2label": {np.int64(0): np.str_("no"), "1": "yes"}}, {"id2label": {0: "no", 1: "yes"}}),
        ("led", {"num_labels": np.uint8(3)}, {"num_labels": 3}),
        ("led", {"pruned_heads": {np.int64(1): np.array([2, 0])}}, {"pruned_heads": {1: [0, 2]}}),
        ("led", {"activation_function": np.str_("gelu")}, {"activation_function": "gelu"}),
        ("longt5-local", {"num_decoder_layers": np.int16(1)}, {"num_decoder_layers": 1}),
        ("longt5-local", {"layer_norm_epsilon": np.float64(1e-6)}, {"layer_norm_epsilon": 1e-6}),
        ("longt5-local", {"num_heads": keras.ops.convert_to_tensor(4)}, {"num_heads": 4}),
        ("longt5-local", {"extra": {"task": {"x": np.int64(3)}}}, {"extra": {"task": {"x": 3}}}),
    ],
)
def test_numbers_and_arrays_of_other_libraries_mean_what_they_hold(kind, given, meant, tmp_path):
    found, wanted = make_config(kind, **given), make_config(kind, **meant)
    assert found == wanted
    assert repr(found) == repr(wanted)
    found.to_json(tmp_path / "config.json")
    # Numbers that a field of None stands for are in the file.
    assert type(found).from_json(tmp_path / "config.json").to_dict() == wanted.to_dict() | wanted.written_out
    assert make_config(kind).replace(**given).to_dict() == wanted.to_dict()


@pytest.mark.parametrize(
    "given",
    [
        {"d_model": np.float32(32)},
        {"d_model": np.bool_(True)},
        {"d_model": np.array([32])},
        {"dropout": np.float32("nan")},
        {"dropout": np.str_("0.1")},
        {"tie_word_embeddings": np.int64(1)},
        {"attention_window": np.array([8.0, 16.0])},
        {"attention_window": np.array([[8, 16]])},
        {"attention_window": np.array([8, 16, 8])},
        {"pruned_heads": {0: np.array([1.0])}},
        {"pruned_heads": {0.5: [1]}},
        {"num_labels": np.float64(3)},
    ],
)
def test_numbers_of_a_wrong_kind_are_refused_whatever_library_they_come_from(given):
    (name,) = given
    with pytest.raises(ValueError, match=f"^{name} must "):
        make_config("led", **given)

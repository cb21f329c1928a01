"""What a run chooses by itself: the papers' settings for public checkpoints, a small model's for one from scratch."""

import json
from pathlib import Path

import pytest

from tfmodels.auto import FAMILIES
from training.checks import check_against_model, check_config
from training.config import Config, Data, Lengths, Optim, Steps, flat, replaced
from training.defaults import ModelSource, defaults_for, find_model, resolve, table
from training.presets import PRESETS

LED = {"model_type": "led", "max_encoder_position_embeddings": 16384, "max_decoder_position_embeddings": 1024}
LONGT5 = {"model_type": "longt5", "n_positions": 4096}

# Beltagy et al. 2020, section 7: up to 16,384 tokens in. Targets of arXiv: up to 512 (Guo et al. 2022, table 2).
# Learning rate: 3e-5 with Adam, a linear schedule with 500 steps of warm-up (Lewis et al. 2020 and its recipe).
LED_PAPER = {
    "lengths.source": (1024, 4096, 16384),
    "lengths.target": 512,
    "optim.name": "adamw",
    "optim.learning_rate": 3e-5,
    "optim.schedule": "linear",
    "optim.warmup": 500,
}
# Guo et al. 2022, section 4: 4,096 to 16,384 tokens in, 512 out, Adafactor with a constant 1e-3.
LONGT5_PAPER = {
    "lengths.source": (1024, 4096, 16384),
    "lengths.target": 512,
    "optim.name": "adafactor",
    "optim.learning_rate": 1e-3,
    "optim.schedule": "constant",
    "optim.warmup": 0,
    "optim.weight_decay": 0.0,
}
CHECKPOINTS = {
    "led-base-16384": ({**LED, "d_model": 768, "encoder_layers": 6, "attention_window": [1024] * 6}, LED_PAPER),
    "led-large-16384": ({**LED, "d_model": 1024, "encoder_layers": 12, "attention_window": [1024] * 12}, LED_PAPER),
    "led-large-16384-arxiv": ({**LED, "d_model": 1024, "encoder_layers": 12}, LED_PAPER),
    "long-t5-local-base": ({**LONGT5, "d_model": 768, "encoder_attention_type": "local"}, LONGT5_PAPER),
    "long-t5-local-large": ({**LONGT5, "d_model": 1024, "encoder_attention_type": "local"}, LONGT5_PAPER),
    "long-t5-tglobal-base": ({**LONGT5, "d_model": 768}, LONGT5_PAPER),
    "long-t5-tglobal-large": ({**LONGT5, "d_model": 1024}, LONGT5_PAPER),
    "long-t5-tglobal-xl": ({**LONGT5, "d_model": 2048}, LONGT5_PAPER),
}


def config_of(model, **changes):
    return replaced(Config(str(model), Path("out"), data=Data(train="a.csv")), changes)


def folder_of(tmp_path, name, values):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_public_checkpoint_gets_the_papers_settings(tmp_path, name):
    values, expected = CHECKPOINTS[name]
    source = find_model(str(folder_of(tmp_path, name, values)))
    resolved, chosen = resolve(config_of(source.name), source)
    assert {key: flat(resolved)[key] for key in expected} == {
        key: list(value) if isinstance(value, tuple) else value for key, value in expected.items()
    }
    assert set(expected) <= set(chosen)
    assert check_config(resolved) == check_against_model(resolved, source) == []
    assert resolved.lengths.batch_tokens >= 16384


def test_a_model_from_scratch_gets_a_small_models_settings():
    resolved, _ = resolve(config_of("led-tiny"), find_model("led-tiny"))
    assert resolved.lengths.sources == (256, 1024)
    assert (resolved.optim.name, resolved.optim.learning_rate, resolved.steps.epochs) == ("adamw", 1e-3, 3)


@pytest.mark.parametrize(
    ("model_type", "optimizer", "rate"),
    [("led", "adafactor", 1e-4), ("led", "adamw", 3e-5), ("longt5", "adamw", 1e-4), ("longt5", "adafactor", 1e-3)],
)
def test_each_optimizer_has_a_learning_rate_of_its_own(model_type, optimizer, rate):
    source = ModelSource("x", model_type, Path())
    assert resolve(config_of("x", **{"optim.name": optimizer}), source)[0].optim.learning_rate == rate


def test_lengths_fit_the_positions_of_the_checkpoint():
    short = {"max_encoder_position_embeddings": 4096, "max_decoder_position_embeddings": 256}
    values = defaults_for(ModelSource("x", "led", Path(), short))
    assert (values["lengths.source"], values["lengths.target"]) == ((1024, 4096), 256)
    tiny = defaults_for(ModelSource("x", "led", Path(), {"max_encoder_position_embeddings": 512}))
    assert tiny["lengths.source"] == (512,)


def test_given_settings_stay_and_are_not_among_the_chosen():
    config = Config(
        "led-tiny", Path("out"), lengths=Lengths(source=64), optim=Optim(warmup=0), steps=Steps(evaluate_every=3)
    )
    resolved, chosen = resolve(config, find_model("led-tiny"))
    assert (resolved.lengths.sources, resolved.optim.warmup, resolved.steps.evaluate_every) == ((64,), 0, 3)
    assert not {"lengths.source", "optim.warmup", "steps.evaluate_every"} & set(chosen)


@pytest.mark.parametrize("steps", [{}, {"steps.max_steps": 9}, {"steps.max_minutes": 1.0}])
def test_a_batch_holds_a_document_of_the_given_length(steps):
    resolved, _ = resolve(config_of("led-tiny", **{"lengths.source": (32768,), **steps}), find_model("led-tiny"))
    assert resolved.lengths.batch_tokens == resolved.evaluation.batch_tokens == 32768


@pytest.mark.parametrize(
    ("changes", "epochs"), [({}, 3), ({"steps.max_steps": 9}, None), ({"steps.max_steps": 9, "steps.epochs": 2}, 2)]
)
def test_epochs_are_chosen_where_no_other_end_is_given(changes, epochs):
    assert resolve(config_of("led-tiny", **changes), find_model("led-tiny"))[0].steps.epochs == epochs


def test_evaluation_has_the_batches_of_training():
    resolved, _ = resolve(config_of("led-tiny", **{"lengths.batch_tokens": 2048}), find_model("led-tiny"))
    assert resolved.evaluation.batch_tokens == 2048


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths.source": (32768,)}, "at most max_encoder_position_embeddings=16384 of .* Received: 32768"),
        ({"lengths.target": 2048}, "at most max_decoder_position_embeddings=1024"),
        ({"lengths.batch_tokens": 4096}, "lengths.batch_tokens must hold a document of the largest of lengths.source"),
    ],
)
def test_lengths_beyond_the_checkpoint_are_refused(changes, message):
    source = ModelSource("x", "led", Path(), LED)
    resolved, _ = resolve(config_of("x", **changes), source)
    with pytest.raises(ValueError, match=message):
        raise ValueError("\n".join(check_against_model(resolved, source)))


def test_the_presets_are_those_of_the_families():
    sizes, families = ("tiny", "small"), FAMILIES.items()
    named = {f"{name}-{size}": key for key, family in families for name in family.variants for size in sizes}
    assert table()["presets"] == named
    assert set(PRESETS) == set(named)


@pytest.mark.parametrize(("name", "nearest"), [("led-tinyy", "led-tiny"), ("longt5-tiny", "longt5-local-tiny")])
def test_a_missing_preset_names_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=rf"Received: model='{name}' \(did you mean {nearest}\?\)"):
        find_model(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "a folder with a config.json"), ("{", "must be a JSON file"), ("[]", "must hold a JSON object")],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        find_model(str(tmp_path))


@pytest.mark.parametrize("name", ["led", "longt5", "another"])
@pytest.mark.parametrize("folder", [None, Path()])
def test_every_default_of_the_table_reaches_a_run_that_says_nothing(name, folder):
    source = ModelSource("x", name, folder)
    resolved, chosen = resolve(Config("x", Path("out"), data=Data(train="x")), source)
    assert chosen == defaults_for(source)
    values = {**flat(resolved), "lengths.source": resolved.lengths.source}
    assert {name: values[name] for name in chosen} == chosen
    assert resolved.optim.accumulate == ({"led": 4, "longt5": 8, "another": 4}[name] if folder else 1)

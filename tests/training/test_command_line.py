"""Flags and files of settings: unknown names, types, and the file that `--print_config` writes."""

import pytest

from training.command_line import parse, take_flag
from training.config import flat

REQUIRED = ["--model", "led-tiny", "--output", "out", "--data.train", "a.csv"]


def parsed(*arguments):
    return parse("python -m training", "", [*REQUIRED, *arguments])


def refused(*arguments):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        parsed(*arguments)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--optim.learning_rat", "optim.learning_rate"),
        ("--optim.lr", None),
        ("--learning_rate", "optim.learning_rate"),
        ("--learning-rate", "optim.learning_rate"),
        ("--lenghts.source", "lengths.source"),
        ("--epochs", "steps.epochs"),
        ("--dat.train", "data.train"),
    ],
)
def test_an_unknown_flag_names_the_nearest_one(flag, meant):
    message = refused(flag, "1")
    assert message.startswith(f"{flag} must be a known setting. Received: {flag}")
    assert meant is None or f"(did you mean {meant}?)" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optim: {learning_rat: 1}", "optim.learning_rat must be a known setting"),
        ("optin: {learning_rate: 1}", "optin"),
        ("modle: led-tiny", "modle must be a known setting. Received: modle (did you mean model?)"),
        ("steps: {epochs: many}", "steps.epochs"),
        ("optim: 3", "--config"),
        ("optim: {name: sgd}", "optim.name"),
        ("model: [unclosed", "--config"),
    ],
)
def test_an_unknown_or_wrong_name_in_a_file_is_one_line(tmp_path, text, expected):
    (tmp_path / "run.yaml").write_text(text)
    assert expected in refused("--config", str(tmp_path / "run.yaml"))


def test_a_file_of_settings_that_is_missing_is_named():
    assert "nowhere.yaml" in refused("--config", "nowhere.yaml")


def test_abbreviations_are_refused():
    assert "--optim.learning must be a known setting" in refused("--optim.learning", "1e-3")
    assert "--mod must be a known setting" in refused("--mod", "x")


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0e-3", "1E-3"])
def test_exponents_are_numbers_in_flags_and_files(tmp_path, text):
    assert parsed("--optim.learning_rate", text).optim.learning_rate == 1e-3
    (tmp_path / "run.yaml").write_text(f"optim: {{learning_rate: {text}}}")
    assert parsed("--config", str(tmp_path / "run.yaml")).optim.learning_rate == 1e-3


def test_flags_after_a_file_change_it(tmp_path):
    (tmp_path / "run.yaml").write_text("optim: {learning_rate: 1e-3, warmup: 7}")
    config = parsed("--config", str(tmp_path / "run.yaml"), "--optim.learning_rate", "2e-3")
    assert (config.optim.learning_rate, config.optim.warmup) == (2e-3, 7)


def test_what_print_config_writes_is_read_again(tmp_path, capsys):
    flags = ["--optim.learning_rate", "1e-3", "--lengths.source", "[32,64]", "--data.fields", "{document: text}"]
    with pytest.raises(SystemExit) as ended:
        parsed(*flags, "--print_config")
    assert ended.value.code in (0, None)
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out)
    again = parse("python -m training", "", ["--config", str(tmp_path / "run.yaml")])
    assert flat(again) == flat(parsed(*flags))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps.epochs", "many"], "steps.epochs must be an integer. Received: steps.epochs=many"),
        (["--weights.precision", "fp16"], "must be one of float32, mixed_bfloat16, mixed_float16. Received: "),
        (["--lengths.source", "long"], "lengths.source must be an integer or a list. Received: lengths.source=long"),
        (["--weights.jit", "maybe"], "weights.jit must be true or false. Received: weights.jit=maybe"),
        (["--optim.learning_rate", "high"], "optim.learning_rate must be a number. Received: optim.learning_rate=high"),
        (["--generation", "4"], "generation must be a mapping. Received: generation=4"),
        (["--seed"], "--seed must have a value. Received: none"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_flag_rule_and_value(flags, message):
    assert message in refused(*flags)


def test_files_that_a_shell_has_put_in_a_patterns_place_are_explained():
    assert "several values are one list" in refused("--data.train", "a.csv", "b.csv")


def test_a_flag_without_a_value_is_taken_wherever_it_stands():
    assert take_flag(["--seed", "1", "--restart"], "--restart") == (True, ["--seed", "1"])
    assert take_flag(["--seed", "1"], "--restart") == (False, ["--seed", "1"])

"""Settings from YAML files and flags with the same dotted names."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

import jsonargparse

from training.config import Config, flat

_UNKNOWN = "unrecognized arguments: "
_WRONG_VALUE = re.compile(r'Parser key "(?P<name>[\w.]+)": (?P<problem>.*)')
_VALUE = re.compile(r"Given value: |Got value: ")
_KIND = re.compile(r"<class '(\w+)'>|(?<=, )(?=tuple\[)|tuple\b")
_KINDS = {"int": "an integer", "float": "a number", "bool": "true or false", "dict": "a mapping", "": "a list"}


def parse(program: str, description: str, arguments: Sequence[str]) -> Config:
    """Read flags and `--config FILE.yaml`; later ones count.

    Raises:
        ValueError: an unknown name, with the nearest known one, or a value of the wrong type.
        SystemExit: after `--help` and `--print_config`.

    >>> parse("x", "", ["--model", "led-tiny", "--output", "out", "--optim.learning_rate", "1e-3"]).optim.learning_rate
    0.001
    """
    parser = make_parser(program, description)
    try:
        values = parser.parse_args(list(arguments))
        return _to_config(parser, values)
    except jsonargparse.ArgumentError as error:
        raise ValueError(_explained(str(error))) from None
    except TypeError as error:  # a single value where a group of settings stands
        raise ValueError(f"--config must hold groups of settings by name. Received: {error}") from None


def make_parser(program: str, description: str) -> jsonargparse.ArgumentParser:
    """A parser whose flags are the fields of `Config`."""
    parser = jsonargparse.ArgumentParser(program, description=description, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a YAML file of settings; flags after it change them")
    parser.add_class_arguments(Config, None)
    return parser


def _to_config(parser: jsonargparse.ArgumentParser, values: Any) -> Config:
    fields = parser.instantiate(values).as_dict()
    fields.pop("config", None)
    return Config(**fields)


def _explained(message: str) -> str:
    """The parser's message in one line, with the nearest name of an unknown one."""
    text = " ".join(message.split())
    if _UNKNOWN in text:
        unknown = text.split(_UNKNOWN, 1)[1].split(" ")[0].split("=")[0]
        if not unknown.startswith("-"):  # as when a shell has put files in a pattern's place
            rule = "a value must follow its flag, and several values are one list, as '[a.csv, b.csv]' or a 'pattern*'"
            return f"{rule}. Received: {unknown}"
        return f"{unknown} must be a known setting. Received: {unknown}{_nearest(unknown.lstrip('-'))}"
    if text.startswith("Option ") and text.endswith(" is not accepted"):
        name = text.split("'")[1]
        return f"{name} must be a known setting. Received: {name}{_nearest(name)}"
    if "does not accept option" in text:
        group, option = (part.strip("'") for part in text.split("Group ", 1)[1].split(" does not accept option "))
        return f"{group}.{option} must be a known setting. Received: {group}.{option}{_nearest(f'{group}.{option}')}"
    if text.startswith("argument ") and "expected one argument" in text:
        return f"{text.split()[1].rstrip(':')} must have a value. Received: none"
    if text.startswith("Problems parsing config"):
        return f"--config must be YAML. Received: {text.partition(': ')[2]}"
    if match := _WRONG_VALUE.match(text):
        return _of_value(match["name"], match["problem"])
    return text


def _of_value(name: str, problem: str) -> str:
    """The error about a value of the wrong type, from the parser's account of all that it tried."""
    if name == "config":
        return f"--config must be a file that can be read. Received: {problem}"
    value = _VALUE.split(problem)[-1]
    if "typing.Literal[" in problem:
        rule = "one of " + problem.split("typing.Literal[")[1].split("]")[0].replace("'", "")
    else:
        kinds = dict.fromkeys(_KIND.findall(problem.partition("Errors:")[0]))
        rule = " or ".join(_KINDS.get(kind, kind) for kind in kinds if kind not in ("str", "NoneType")) or "valid"
    return f"{name} must be {rule}. Received: {name}={value}"


def _nearest(name: str) -> str:
    names = [*flat(Config())]
    candidates = difflib.get_close_matches(name.replace("-", "_"), names, 1) or [
        each for each in names if each.rpartition(".")[2] == name.replace("-", "_").rpartition(".")[2]
    ]
    return f" (did you mean {candidates[0]}?)" if candidates else ""


def take_flag(arguments: Sequence[str], flag: str) -> tuple[bool, list[str]]:
    """Whether a flag without a value is among the arguments, and the other arguments.

    >>> take_flag(["--restart", "--seed", "1"], "--restart")
    (True, ['--seed', '1'])
    """
    return flag in arguments, [each for each in arguments if each != flag]

"""The commands of `python -m training`."""

import argparse
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from training.config import Config, replaced

INTERRUPTED, TERMINATED, WRONG, DIVERGED, UNSAVED = 130, 143, 2, 3, 4
STOPPED = (INTERRUPTED, TERMINATED)
"""Exit statuses of a run that a signal has stopped."""

_PROGRAM = "python -m training"
_DESCRIPTION = """Fine-tune on files of documents and summaries; the same command goes on where it stopped.
Other commands: prepare, resume OUTPUT, evaluate FOLDER --data FILES, demo. Each has --help."""
# Reached by name: the product does not import its demonstration.
_DEMO = "training.demo.run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status.

    0: done. 2: wrong settings or data, no memory, no room. 3: the loss is no number any more. 4: checkpoints cannot be
    written. 130 and 143: stopped by a signal, and ready to go on.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "prepare": _prepare,
        "resume": _resume,
        "evaluate": _evaluate,
        "demo": _demo,
    }
    name = arguments.pop(0) if arguments and arguments[0] in commands else "run"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _status(commands[name], arguments)


def _status(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command, and turn its errors into one line each and a status."""
    from training.run.checkpoints import SavingFailed
    from training.run.guard import Diverged
    from training.run.stop import Stopped

    try:
        return command(arguments)
    except Stopped as stopped:
        return stopped.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Diverged as error:
        return _failed(error, DIVERGED)
    except SavingFailed as error:
        return _failed(error, UNSAVED)
    except ModuleNotFoundError as error:
        return _failed(f"{error}; `pip install 'tfmodels[train]'` installs what the program needs", WRONG)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        return _failed(error, WRONG)
    except MemoryError:
        return _failed(_out_of_memory(""), WRONG)
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        return _failed(_out_of_memory(str(error)), WRONG)


def _failed(error: BaseException | str, status: int) -> int:
    print(f"error: {error}", file=sys.stderr, flush=True)
    return status


def _is_out_of_memory(error: Exception) -> bool:
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def _out_of_memory(details: str) -> str:
    first = details.strip().splitlines()[0][:200] if details.strip() else ""
    return (
        "the memory is not enough: smaller lengths.batch_tokens with more optim.accumulate, --weights.remat true, or "
        f"--weights.precision mixed_bfloat16 take less. {first}".rstrip()
    )


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    print(f"warning: {message}", file=sys.stderr, flush=True)


def _run(arguments: list[str]) -> int:
    from training.command_line import parse, take_flag

    restart, arguments = take_flag(arguments, "--restart")
    dry_run, arguments = take_flag(arguments, "--dry_run")
    config = parse(_PROGRAM, _DESCRIPTION, arguments)
    if dry_run:
        return _print_prepared(config)
    return _fit(config, restart, shlex.join([*_PROGRAM.split(), *arguments]))


def _fit(config: Config, restart: bool, command: str) -> int:
    from training.fitting import fit
    from training.run.stop import Stopped

    try:
        fit(config, restart)
    except Stopped:
        print(f"stopped; this goes on:\n  {command}", file=sys.stderr, flush=True)
        raise
    return 0


def _resume(arguments: list[str]) -> int:
    from training.run.folder import RunFolder

    parser = argparse.ArgumentParser(f"{_PROGRAM} resume", description="Go on with a run that was stopped.")
    parser.add_argument("output", type=Path, help="the folder of the run")
    options = parser.parse_args(arguments)
    # A folder may have been moved since.
    config = replaced(RunFolder(options.output).read_config(), {"output": options.output})
    return _fit(config, False, f"{_PROGRAM} resume {shlex.quote(str(options.output))}")


def _prepare(arguments: list[str]) -> int:
    from training.command_line import parse

    return _print_prepared(parse(f"{_PROGRAM} prepare", "Tokenize, and tell what a run would do.", arguments))


def _print_prepared(config: Config) -> int:
    from rich.console import Console

    from training.preparing import prepare

    prepare(config, Console())
    return 0


def _evaluate(arguments: list[str]) -> int:
    from rich.console import Console

    from training.evaluating import evaluate

    parser = argparse.ArgumentParser(
        f"{_PROGRAM} evaluate", description="Score a model on documents with references.", allow_abbrev=False
    )
    parser.add_argument("folder", type=Path, help="the folder of a run or of a model")
    parser.add_argument("--data", nargs="+", required=True, help="files, folders or patterns")
    parser.add_argument("--predictions", type=Path, help="a file for the written texts (default: predictions.jsonl)")
    parser.add_argument("--document", metavar="FIELD", help="the document's field, if it is not that of the run")
    parser.add_argument("--summary", metavar="FIELD", help="the same for the summary")
    parser.add_argument("--rows", type=int, help="documents, at most (default: 400)")
    parser.add_argument("--num_beams", type=int, help="beams of the search")
    options = parser.parse_args(arguments)
    changes: dict[str, Any] = {} if options.rows is None else {"evaluation.test_rows": options.rows}
    if options.num_beams is not None:
        changes["generation"] = {"num_beams": options.num_beams}
    fields = {name: getattr(options, name) for name in ("document", "summary") if getattr(options, name) is not None}
    if fields:
        changes["data.fields"] = fields
    evaluate(options.folder, options.data, options.predictions or Path("predictions.jsonl"), changes, Console())
    return 0


def _demo(arguments: list[str]) -> int:
    return int(importlib.import_module(_DEMO).main(arguments))

"""The folder of a run: whose it is, whether it can go on, and what may have changed."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tfmodels.utils.files import PARTIAL, nearest_existing, read_json_object, write_json, written_whole
from training.config import Config, flat, from_dict, to_dict
from training.run.checkpoints import Checkpoints
from training.run.state import TrainerState

CONFIG, STATUS, MODEL, LOCK = "config.yaml", "run.json", "model", ".lock"
RUNNING, STOPPED, FINISHED, FAILED = "running", "stopped", "finished", "failed"

# Settings that leave the steps so far as they are. The data is compared by its content.
_MAY_CHANGE = re.compile(
    r"steps\..*|logging\..*|evaluation\..*|generation|output|data\.(train|validation|test|cache|workers|max_bad_rows)"
)

# Settings that say where a run ends.
LENGTH = ("steps.epochs", "steps.max_steps", "steps.max_minutes", "steps.patience")


class RunFolder:
    """The files of a run besides its checkpoints.

    Args:
        path: the setting `output`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_finished = self.status == FINISHED

    @property
    def is_started(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / STATUS).is_file()

    @property
    def status(self) -> str:
        """How the run in this folder stands."""
        return str(read_json_object(self.path / STATUS).get("status")) if self.is_started else ""

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer and the config of a model from scratch."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """The folder of the finished model."""
        return self.path / MODEL

    def check_usable(self) -> None:
        """Raise `FileExistsError` for a folder that holds something else, `PermissionError` for one without rights."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"output must be a folder. Received: output={self.path}, a file")
        names = [] if self.is_started or not self.path.is_dir() else sorted(child.name for child in self.path.iterdir())
        # A process that was killed before the run began leaves no more than these.
        names = [name for name in names if name not in (LOCK, CONFIG) and not name.startswith(PARTIAL)]
        if names:
            raise FileExistsError(
                "output must be a new folder, or one of a run. "
                f"Received: output={self.path}, which holds {', '.join(names[:3])}"
            )
        existing = nearest_existing(self.path)
        if not os.access(existing, os.W_OK):
            raise PermissionError(f"output must be a folder that can be written. Received: output={self.path}")

    def check_goes_on(self, config: Config) -> None:
        """Raise `ValueError` for settings under which the run in this folder could not go on exactly, or not at all."""
        before, now = flat(self.read_config()), flat(config)
        check_same_settings(before, now)
        if self.was_finished and all(before.get(name) == now[name] for name in LENGTH):
            raise ValueError(
                f"output must be a run with steps left. Received: output={self.path}, which has finished. "
                "More steps.epochs or steps.max_steps go on, --restart begins anew"
            )

    def read_config(self) -> Config:
        """The settings of the run in this folder.

        Raises:
            ValueError: no run here, or a file that is no longer as it was written.
        """
        path = self.path / CONFIG
        if not path.is_file():
            raise ValueError(f"output must be the folder of a run. Received: {self.path}, which holds no {CONFIG}")
        try:
            return from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} must be as the run wrote it. Received: {error}") from None

    def keep_model(self, checkpoints: Checkpoints, state: TrainerState) -> None:
        """Give the best model, or without an evaluation the newest, its final place."""
        step = state.best_step if state.best_step in checkpoints.steps() else checkpoints.newest_whole()
        if step is None:
            return
        if self.model.exists():
            shutil.rmtree(self.model)
        with written_whole(self.model) as partial:
            shutil.copytree(checkpoints.path(step) / MODEL, partial, copy_function=_linked)

    def start(self, config: Config) -> None:
        """Write the settings of a run."""
        self.path.mkdir(parents=True, exist_ok=True)
        with written_whole(self.path / CONFIG) as partial:
            partial.write_text(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
        self.write_status(RUNNING)

    def write_status(self, status: str, **facts: Any) -> None:
        """Write how the run stands."""
        write_json(self.path / STATUS, {"status": status, **facts})

    def move_away(self) -> Path:
        """Give the folder the first free name `NAME.old-N`, and return it."""
        number = 1
        while (target := self.path.with_name(f"{self.path.name}.old-{number}")).exists():
            number += 1
        os.rename(self.path, target)
        return target

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A scope that only one process has at a time.

        Raises:
            RuntimeError: another process trains in this folder.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "w")  # noqa: SIM115
        except OSError as error:
            rule = f"output must be a folder that can be made and written. Received: output={self.path}"
            raise type(error)(f"{rule} ({error.strerror})") from None
        with lock as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RuntimeError(
                    "output must be the folder of one process at a time. "
                    f"Received: output={self.path}, where another trains"
                ) from None
            yield


def _linked(source: str, target: str) -> str:
    """A second name for a file; a copy on a disk without such names."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise `ValueError` for changed settings under which the run could not go on exactly.

    Args:
        before, now: settings by their dotted names.

    >>> check_same_settings({"seed": 0, "steps.epochs": 3}, {"seed": 0, "steps.epochs": 5})
    >>> check_same_settings({"seed": 0}, {"seed": 1})
    Traceback (most recent call last):
    ValueError: a run that goes on must keep its settings. Received: seed=1 after seed=0. --restart begins anew
    """
    changed = [
        f"{name}={now.get(name)!r} after {name}={before.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and not _MAY_CHANGE.fullmatch(name)
    ]
    if changed:
        raise ValueError(
            f"a run that goes on must keep its settings. Received: {'; '.join(changed)}. --restart begins anew"
        )

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

from tfmodels.modeling.model_card import FILE_NAME as MODEL_CARD
from tfmodels.utils.files import PARTIAL, nearest_existing, read_json_object, write_json, written_whole
from training.config import Config, flat, from_dict, to_dict
from training.run.checkpoints import Checkpoints
from training.run.state import TrainerState

CONFIG, STATUS, MODEL, LOCK = "config.yaml", "run.json", "model", ".lock"
# The last card that the run gave its model.
CARD = "model_card.md"
RUNNING, STOPPED, FINISHED, FAILED = "running", "stopped", "finished", "failed"

# Settings that leave the steps so far as they are. The data is compared by its content.
_MAY_CHANGE = re.compile(
    r"steps\..*|logging\..*|evaluation\..*|generation|output|data\.(train|validation|test|cache|workers|max_bad_rows)"
)

# Files of a checkpoint from which size on are not copied.
_LINKED_BYTES = 1 << 20

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

    @property
    def card(self) -> Path:
        """The last card that the run wrote for its model."""
        return self.path / CARD

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

    def keep_model(self, checkpoints: Checkpoints, state: TrainerState) -> int | None:
        """Give the best model, or without an evaluation the newest, its final place.

        A model card that somebody has written there by hand stays.

        Returns:
            The step of the model; None without a checkpoint.
        """
        step = state.best_step if state.best_step in checkpoints.steps() else checkpoints.newest_whole()
        if step is None:
            return None
        source = checkpoints.path(step) / MODEL
        card = self.model / MODEL_CARD
        by_hand = card.read_bytes() if card.is_file() and not self._is_own_card(card, source) else None
        with written_whole(self.model) as partial:
            shutil.copytree(source, partial, copy_function=_linked)
            if by_hand is not None:
                (partial / MODEL_CARD).write_bytes(by_hand)
            before = partial.with_name(f"{partial.name}-before")
            if self.model.exists():
                os.replace(self.model, before)
        shutil.rmtree(before, ignore_errors=True)
        return step

    def saved_card(self, step: int) -> str:
        """The card in the checkpoint of a step; "" without one."""
        path = Checkpoints(self.checkpoints).path(step) / MODEL / MODEL_CARD
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def write_card(self, text: str, step: int) -> bool:
        """Give the model of a step its card, and return whether it took it: one written by hand stays."""
        card = self.model / MODEL_CARD
        is_own = not card.exists() or self._is_own_card(card, Checkpoints(self.checkpoints).path(step) / MODEL)
        # This one first: a process that is killed in between leaves the checkpoint's in the model, the run's own too.
        for path in (self.card, card) if is_own else (self.card,):
            with written_whole(path) as partial:
                partial.write_text(text, encoding="utf-8")
        return is_own

    def _is_own_card(self, card: Path, checkpoint: Path) -> bool:
        """Whether a model's card is one that this run wrote."""
        written = [path.read_bytes() for path in (checkpoint / MODEL_CARD, self.card) if path.is_file()]
        return card.read_bytes() in written

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
    """A second name for a file of weights; a copy of small files, and on a disk without such names."""
    try:
        # Small ones are edited by hand, which would change the checkpoint's.
        if os.path.getsize(source) < _LINKED_BYTES:
            raise OSError
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

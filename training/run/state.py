"""What a run knows besides its weights: to and from JSON."""

import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from tfmodels.utils.files import read_json_object, write_json

_PACKAGES = ("tfmodels", "keras", "tensorflow", "jax", "numpy", "safetensors", "tokenizers", "sentencepiece")


@dataclasses.dataclass
class TrainerState:
    """The position and the history of a run.

    Attributes:
        step: steps made. With the seed it is the whole position in the data.
        total: steps of the whole run; None before they are planned.
        is_planned: whether `total` follows `steps.max_minutes`.
        best: the best value of `steps.best` so far.
        best_step: the step of that value.
        batches: batches of a step that is begun, where batches are accumulated; its gradients are the optimizer's.
        batches_loss, batches_labels: the sum of their labels' losses, None if it is not finite, and their labels.
        evaluated_step: the step of the last evaluation.
        evaluations_since_best: evaluations without a better value, in a row.
        bad_steps: steps without a finite loss or gradient, in a row.
        skipped_steps: such steps in all.
        seconds: seconds of training, over all starts.
        tokens: tokens read and written, padding left out.
        plan_digest: checksum of the order of the data.
        store_key: the key of the tokenized data.
        settings: the settings by their dotted names.
        versions: versions of the libraries.
    """

    step: int = 0
    total: int | None = None
    is_planned: bool = False
    best: float | None = None
    best_step: int | None = None
    batches: int = 0
    batches_loss: float | None = 0.0
    batches_labels: int = 0
    evaluated_step: int | None = None
    evaluations_since_best: int = 0
    bad_steps: int = 0
    skipped_steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    plan_digest: int = 0
    store_key: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the state as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "TrainerState":
        """Read a state.

        Raises:
            ValueError: another kind of file.
        """
        values = read_json_object(path)
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            raise ValueError(f"{path} must hold {sorted(names)}. Received: {sorted(values)}")
        return cls(**values)


def versions() -> dict[str, str]:
    """The installed versions of what a run depends on.

    >>> "keras" in versions()
    True
    """
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

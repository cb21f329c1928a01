"""Checkpoints that are whole or absent: written beside, then renamed."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

from tfmodels.utils.files import written_whole


class Checkpoints:
    """The newest and the best checkpoint of a run; each is a folder that `from_pretrained` loads.

    Args:
        folder: the folder of the checkpoints `step-N`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.best: Path | None = None
        self.best_loss = math.inf

    def save(self, model: Any, tokenizer: Any, step: int, loss: float) -> bool:
        """Write a checkpoint, drop all but the newest and the best, and return whether it is the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:06d}"
        if target.exists():
            shutil.rmtree(target)
        with written_whole(target) as partial:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        # NaN is better than no checkpoint, and worse than any number.
        is_best = self.best is None or math.isnan(self.best_loss) or loss < self.best_loss
        if is_best:
            self.best, self.best_loss = target, loss
        for checkpoint in self.folder.glob("step-*"):
            if checkpoint not in (target, self.best):
                shutil.rmtree(checkpoint)
        return is_best

    def finish(self, target: str | os.PathLike[str]) -> Path:
        """Give the best checkpoint its final name and drop all other checkpoints.

        Raises:
            ValueError: no checkpoint was saved.
        """
        if self.best is None:
            raise ValueError("finish must follow a save. Received: no checkpoint")
        os.rename(self.best, target)
        shutil.rmtree(self.folder)
        return Path(target)

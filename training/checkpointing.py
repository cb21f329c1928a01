"""Checkpoints that are whole or not there: written beside, then renamed."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

from tfmodels.utils.files import written_whole


class Checkpoints:
    """The newest and the best checkpoint of a run; each is a folder that `from_pretrained` loads.

    Args:
        folder: where; each checkpoint becomes `folder/step-N`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.best: Path | None = None
        self.best_loss = math.inf

    def save(self, model: Any, tokenizer: Any, step: int, loss: float) -> bool:
        """Write a checkpoint, drop those that are neither newest nor best, and say whether it is the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:06d}"
        if target.exists():
            shutil.rmtree(target)
        with written_whole(target) as partial:
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        # A loss that is no number is better than nothing, and worse than any number.
        is_best = self.best is None or math.isnan(self.best_loss) or loss < self.best_loss
        if is_best:
            self.best, self.best_loss = target, loss
        for other in self.folder.glob("step-*"):
            if other not in (target, self.best):
                shutil.rmtree(other)
        return is_best

    def finish(self, target: str | os.PathLike[str]) -> Path:
        """Give the best checkpoint its final name and drop the others.

        Raises:
            ValueError: nothing was saved.
        """
        if self.best is None:
            raise ValueError("finish must follow a save. Received: no checkpoint")
        os.rename(self.best, target)
        shutil.rmtree(self.folder)
        return Path(target)

"""What is compiled, as plain values: a model, what it does, and how much of it. Needs no backend."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.models import FAMILIES, SIZES

JOBS = ("encode", "encode divided", "train", "train parallel", "greedy", "beams", "attention", "attention gradient")
BEAMS = 4


@dataclass(frozen=True)
class Job:
    """One program.

    family: a name in `benchmarks.models.FAMILIES`. what: one of `JOBS`; "train" is an update by AdamW with dropout and
    recomputation, "train parallel" the same with each weight divided, too, "beams" a search with 4 beams, "encode
    divided" the encoder over documents whose length is divided over the chips, "attention" the attention of one layer
    of the encoder. size: "base" or "tiny". length: tokens of each document. batch: documents of all chips together.
    target: tokens that are learned, or made. dtype: "bfloat16" or "float32"; "train" keeps float32 weights. chips:
    among which the documents are divided, or the length of each.
    """

    family: str
    what: str
    length: int
    batch: int = 1
    size: str = "base"
    target: int = 256
    dtype: str = "bfloat16"
    chips: int = 1

    def __post_init__(self) -> None:
        for name, values in (("family", tuple(FAMILIES)), ("what", JOBS), ("size", SIZES)):
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}. Received: {getattr(self, name)!r}")
        if self.batch % self.chips and not self.is_divided:
            raise ValueError(f"batch must be a multiple of chips={self.chips}. Received: batch={self.batch}")

    @property
    def is_divided(self) -> bool:
        """Whether each chip has a part of every document, and not some of the documents."""
        return self.what == "encode divided"

    @property
    def is_training(self) -> bool:
        """Whether it is an update."""
        return self.what.startswith("train")

    @property
    def name(self) -> str:
        """What tells the job from others.

        >>> Job("led", "encode", 4096).name
        'led base encode 4096 x 1 bfloat16'
        """
        return f"{self.family} {self.size} {self.what} {self.length} x {self.batch} {self.dtype}"


def is_chosen(job: Job, texts: Sequence[str]) -> bool:
    """Whether the job's name holds one of the texts; without any, all are chosen.

    >>> is_chosen(Job("led", "encode", 64), ["led base", "train"]), is_chosen(Job("led", "encode", 64), ["train"])
    (True, False)
    """
    return not texts or any(text in job.name for text in texts)

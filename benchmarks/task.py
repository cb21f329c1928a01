"""What one worker process runs, and its command line."""

import argparse
import dataclasses
from collections.abc import Sequence

from benchmarks.models import FAMILIES, SIZES

OURS, THEIRS, COMPILED = "ours", "theirs", "compiled"
SIDES = (OURS, THEIRS)
"""The sides of a task."""
PEERS = (THEIRS, COMPILED)
"""Their sides of a row: eager, and under torch.compile."""
JOBS = ("encode", "train", "decode")
BACKENDS = ("tensorflow", "jax")
DEVICES = ("cpu", "gpu")
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Task:
    """One side of one job.

    side: "ours" or "theirs". family: a name in `FAMILIES`. job: "encode", "train" or "decode", a search on documents
    that are encoded before. length: tokens of each document. batch: documents. size: "base" or "tiny". half_window: a
    token sees half as far. gradient_checkpointing: recompute blocks in the backward pass. beams: of "decode".
    without_xla, measures_memory: of "decode", ours alone; under the latter memory is given back as soon as it is not
    used, which changes the times of what XLA does not compile. backend: ours alone. dtype: what is computed in; under
    "bfloat16" training keeps float32 weights. torch_compile: theirs alone. repeats: timed runs. warmup_length: length
    of the first, untimed run of theirs (ours always compiles for the full length).
    """

    side: str
    family: str
    job: str
    length: int
    batch: int = 1
    size: str = "base"
    half_window: bool = False
    gradient_checkpointing: bool = False
    beams: int = 1
    without_xla: bool = False
    measures_memory: bool = False
    backend: str = "tensorflow"
    device: str = "cpu"
    dtype: str = "float32"
    torch_compile: bool = False
    repeats: int = 2
    warmup_length: int | None = None

    def arguments(self) -> list[str]:
        """The worker's command line for this task.

        >>> Task("ours", "led", "encode", 64, beams=4).arguments()
        ['ours', 'led', 'encode', '64', '--beams', '4']
        """
        arguments = [self.side, self.family, self.job, str(self.length)]
        for field in dataclasses.fields(self)[4:]:
            value = getattr(self, field.name)
            if value == field.default:
                continue
            arguments.append(f"--{field.name.replace('_', '-')}")
            if not isinstance(value, bool):
                arguments.append(str(value))
        return arguments


def parse_task(arguments: Sequence[str] | None = None) -> Task:
    """The task that a worker's command line names; exits with a message on unknown or missing options."""
    parser = argparse.ArgumentParser("python -m benchmarks.worker", allow_abbrev=False)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("length", type=positive)
    parser.add_argument("--batch", type=positive, default=1)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--half-window", action="store_true")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--beams", type=positive, default=1)
    parser.add_argument("--without-xla", action="store_true")
    parser.add_argument("--measures-memory", action="store_true")
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--torch-compile", action="store_true")
    parser.add_argument("--repeats", type=positive, default=2)
    parser.add_argument("--warmup-length", type=positive)
    return Task(**vars(parser.parse_args(arguments)))


def positive(text: str) -> int:
    """A positive integer from a command line.

    >>> positive("3")
    3
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text}")
    return number

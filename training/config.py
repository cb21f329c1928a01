"""The settings of a training run: one tree of frozen dataclasses, filled from YAML, flags or Python.

None stands for a value that `training.defaults.resolve` chooses by the model. Nothing here imports Keras or
TensorFlow, so that a wrong setting is told at once.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypeVar

_UNSET: Any = None
Value = TypeVar("Value")


def known(value: Value | None) -> Value:
    """A setting that `resolve` has filled in.

    Raises:
        ValueError: settings that are not resolved.

    >>> known(3)
    3
    """
    if value is None:
        raise ValueError("settings must be resolved before they are used. Received: None")
    return value


@dataclasses.dataclass(frozen=True)
class Data:
    """Files of documents and summaries.

    Attributes:
        train: files, folders or glob patterns: .jsonl, .csv (each also .gz) and .parquet.
        validation: the same, for validation; empty: a part of `train`.
        test: the same, for the test at the end; empty: a part of `train`.
        fields: names of the fields in the files, by their role: `{"document": "article", "summary": "abstract"}`.
        group: a field whose equal values stay in one part, such as the id of a customer; None: the document itself.
        hold_out: the share of `train` for validation, and again for testing, where they have no files.
        max_bad_rows: the number of unusable rows to leave out; one more is an error.
        cache: the folder of tokenized rows; None: `~/.cache/tfmodels`.
        workers: processes that tokenize; None: one a core.
    """

    train: str | tuple[str, ...] = ()
    validation: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    group: str | None = None
    hold_out: float = 0.05
    max_bad_rows: int = 0
    cache: Path | None = None
    workers: int | None = None


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Static lengths in tokens.

    Attributes:
        source: a document goes to the smallest that holds it, and is cut to the largest.
        target: summaries are padded and cut to it.
        batch_tokens: source tokens of a batch, padding included: a batch of length L has batch_tokens // L rows.
        rows_multiple: rows of a batch are a multiple of it, so that as many devices share them equally.
    """

    source: int | tuple[int, ...] | None = None
    target: int | None = None
    batch_tokens: int | None = None
    rows_multiple: int = 1

    @property
    def sources(self) -> tuple[int, ...]:
        """The source lengths, once they are chosen."""
        source = known(self.source)
        return source if isinstance(source, tuple) else (source,)


@dataclasses.dataclass(frozen=True)
class Optim:
    """Optimizer and loss.

    Attributes:
        name: the optimizer.
        learning_rate: peak of the learning rate.
        schedule: the learning rate after warm-up.
        warmup: steps up to the peak.
        weight_decay: decoupled weight decay.
        no_decay: regular expressions of weights' paths without decay, besides norms and biases.
        clip: largest global norm of the gradient; 0: no clipping.
        accumulate: batches for one step, weighted by their numbers of labels.
        smoothing: label smoothing (Szegedy et al. 2016, section 7).
    """

    name: Literal["adamw", "adafactor"] | None = None
    learning_rate: float | None = None
    schedule: Literal["linear", "cosine", "inverse_sqrt", "constant"] | None = None
    warmup: int | None = None
    weight_decay: float | None = None
    no_decay: tuple[str, ...] = ()
    clip: float = 1.0
    accumulate: int | None = None
    smoothing: float = 0.0


@dataclasses.dataclass(frozen=True)
class Weights:
    """The model's weights.

    Attributes:
        precision: the dtype policy.
        jit: train and generate under XLA.
        remat: compute each block again in the backward pass: less memory, a third more time.
        lora_rank: train factors of this rank beside the projections (Hu et al. 2021); None: train the weights.
        frozen: regular expressions of weights' paths that are not trained.
        vocab_size: pieces of the vocabulary that a model from scratch is given.
        dropout: dropout rate; None: the model's own.
    """

    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit: bool = True
    remat: bool = False
    lora_rank: int | None = None
    frozen: tuple[str, ...] = ()
    vocab_size: int = 4096
    dropout: float | None = None


@dataclasses.dataclass(frozen=True)
class Steps:
    """The length of a run, and when it evaluates and saves. A step is one update of the weights.

    Attributes:
        epochs: passes over the training data.
        max_steps: at most as many steps.
        max_minutes: as many steps as fit into this time, planned after the first ten; compiling is not counted.
        evaluate_every: steps between evaluations; None: 20 times in a run.
        checkpoint_every: steps between checkpoints; None: by minutes alone.
        checkpoint_minutes: minutes between checkpoints.
        keep: newest checkpoints that are kept, besides the best.
        patience: evaluations without a better value after which the run ends; None: never.
        best: the figure by which a checkpoint is the best: `loss`, `rouge1`, `rouge2`, `rougeL` or `rougeLsum`.
        grace_seconds: time for the current step after a signal; then the process ends without saving.
    """

    epochs: int | None = None
    max_steps: int | None = None
    max_minutes: float | None = None
    evaluate_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_minutes: float = 10.0
    keep: int = 2
    patience: int | None = None
    best: Literal["loss", "rouge1", "rouge2", "rougeL", "rougeLsum"] = "loss"
    grace_seconds: float = 15.0


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out documents.

    Attributes:
        loss_rows: documents for the loss during training, at most.
        rouge_rows: documents that are summarized during training, at most; 0: none.
        test_rows: documents that are summarized at the end, at most.
        batch_tokens: source tokens of a batch; None: those of training.
        samples: documents that are printed with their summaries at the end.
    """

    loss_rows: int = 400
    rouge_rows: int = 16
    test_rows: int = 400
    batch_tokens: int | None = None
    samples: int = 3


@dataclasses.dataclass(frozen=True)
class Logging:
    """Progress on the screen and in files.

    Attributes:
        seconds: seconds between lines where the output is no terminal.
        tensorboard: write `tensorboard/` beside `metrics.jsonl`.
    """

    seconds: float = 30.0
    tensorboard: bool = True


@dataclasses.dataclass(frozen=True)
class Config:
    """A training run.

    Attributes:
        model: a folder, a hub id, or the name of a small model to train from scratch.
        output: the folder of the run. The same settings go on where the run in it stopped.
        task: what the model learns.
        seed: seed of weights, order and dropout.
        generation: settings of generation for evaluation and for the saved model, such as `num_beams`.

    >>> Config(model="led-tiny", output=Path("out/mine"), data=Data(train="mine.csv")).data.train
    ('mine.csv',)
    """

    model: str = _UNSET
    output: Path = _UNSET
    task: Literal["summarize"] = "summarize"
    seed: int = 0
    data: Data = dataclasses.field(default_factory=Data)
    lengths: Lengths = dataclasses.field(default_factory=Lengths)
    optim: Optim = dataclasses.field(default_factory=Optim)
    weights: Weights = dataclasses.field(default_factory=Weights)
    steps: Steps = dataclasses.field(default_factory=Steps)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    generation: dict[str, Any] = dataclasses.field(default_factory=dict)
    logging: Logging = dataclasses.field(default_factory=Logging)

    def __post_init__(self) -> None:
        files: dict[str, Any] = {name: _several(getattr(self.data, name)) for name in ("train", "validation", "test")}
        cache = None if self.data.cache is None else Path(self.data.cache)  # a file of settings has text
        object.__setattr__(self, "data", dataclasses.replace(self.data, **files, cache=cache))
        if self.lengths.source is not None:
            object.__setattr__(self, "lengths", dataclasses.replace(self.lengths, source=_several(self.lengths.source)))
        if self.output is not None:
            object.__setattr__(self, "output", Path(self.output))


def _several(value: Any) -> tuple[Any, ...]:
    """A tuple of one or of several values."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def to_dict(config: Any) -> dict[str, Any]:
    """Settings as plain values, as JSON and YAML have them.

    >>> to_dict(Config(model="led-tiny", output=Path("out")))["output"]
    'out'
    """
    return {name: _plain(value) for name, value in dataclasses.asdict(config).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def from_dict(values: dict[str, Any]) -> Config:
    """The settings of `to_dict`, for values that were checked when they were written."""
    groups = {"data": Data, "lengths": Lengths, "optim": Optim, "weights": Weights, "steps": Steps}
    groups |= {"evaluation": Evaluation, "logging": Logging}
    made = {name: groups[name](**_tupled(value)) if name in groups else value for name, value in values.items()}
    return Config(**made)


def _tupled(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def flat(config: Any) -> dict[str, Any]:
    """The settings by their dotted names; a dict of the user's counts as one value.

    >>> flat(Config(model="led-tiny", output=Path("out")))["optim.clip"]
    1.0
    """
    names: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            names |= {f"{field.name}.{name}": each for name, each in flat(value).items()}
        else:
            names[field.name] = _plain(value)
    return names


def replaced(config: Config, changes: dict[str, Any]) -> Config:
    """A config with other values, given by their dotted names.

    >>> replaced(Config(model="led-tiny", output=Path("out")), {"steps.epochs": 3}).steps.epochs
    3
    """
    top: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        group, _, key = name.rpartition(".")
        (nested.setdefault(group, {}) if group else top)[key] = value
    groups = {group: dataclasses.replace(getattr(config, group), **values) for group, values in nested.items()}
    return dataclasses.replace(config, **groups, **top)

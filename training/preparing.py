"""From settings to data that is ready to train on, with the facts that a user wants to know before."""

import contextlib
import dataclasses
import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from training.checks import check_against_model, check_config, raise_all
from training.config import Config, known
from training.data.plan import Plan
from training.data.request import StoreRequest, field_names, file_digests, held_out_shares, shared_files
from training.data.rows import BadRows, part_of, read_rows
from training.data.sources import find_files
from training.data.statistics import Statistics, statistics_of
from training.data.store import Parts, build_store
from training.defaults import ModelSource, find_model, resolve
from training.reporting.progress import UNPLANNED
from training.run.folder import RunFolder
from training.run.reporter import Reporter
from training.run.stop import Stop, is_main_thread
from training.tasks.summarize import Summarize

# Weights, gradients and AdamW's two moments, in bytes a weight; Adafactor has next to no moments.
_BYTES_PER_WEIGHT = {"adamw": 16, "adafactor": 8}
# Values that one block keeps of each token for the backward pass, in units of the hidden size (Korthikanti et al. 2022,
# section 4.1, without attention scores, which are computed again), and what is kept when blocks are computed again.
_VALUES_PER_TOKEN, _VALUES_WITH_REMAT = 34, 2
_FILES_LOOKED_INTO = 20


@dataclasses.dataclass(frozen=True)
class Checked:
    """Settings that passed every check that costs nothing.

    Attributes:
        config: the settings, with everything filled in.
        chosen: the settings that were filled in, by their dotted names.
        source: where the model comes from.
        files: the data files by part.
    """

    config: Config
    chosen: dict[str, Any]
    source: ModelSource
    files: dict[str, tuple[Path, ...]]


@dataclasses.dataclass(frozen=True)
class ModelSize:
    """The sizes of a model on which its memory depends.

    Attributes:
        weights: number of weights.
        hidden: hidden size.
        blocks: blocks of encoder and decoder together.
    """

    weights: int
    hidden: int
    blocks: int

    @classmethod
    def of(cls, checked: Checked, tokenizer: Any) -> "ModelSize":
        """The size of the model that a run would train."""
        source = checked.source
        if source.folder is None:
            from training.presets import PRESETS

            model = PRESETS[source.name].create_model(tokenizer)
            return cls.of_model(model)
        from tfmodels.auto import classes_of
        from tfmodels.checkpoints import open_checkpoint

        model_class, _ = classes_of(source.folder)
        config = model_class.config_class.from_json(source.folder / "config.json")
        with open_checkpoint(source.folder) as reader:
            weights = sum(math.prod(reader.shape(name)) for name in reader.names())
        return cls(weights, config.hidden_size, 2 * config.num_hidden_layers)

    @classmethod
    def of_model(cls, model: Any) -> "ModelSize":
        """The size of a model."""
        return cls(model.count_params(), model.config.hidden_size, 2 * model.config.num_hidden_layers)

    def training_bytes(self, config: Config, plan: Plan) -> int:
        """About as many bytes as a training step takes: weights, gradients, moments, and values for the backward pass.

        The attention's scores are left out: they are computed again.
        """
        tokens = max(rows * (length + known(config.lengths.target)) for rows, length in plan.shapes)
        values = _VALUES_WITH_REMAT if config.weights.remat else _VALUES_PER_TOKEN
        bytes_each = 4 if config.weights.precision == "float32" else 2
        states = _BYTES_PER_WEIGHT[known(config.optim.name)] * self.weights
        return states + tokens * self.hidden * self.blocks // 2 * values * bytes_each


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Tokenized data.

    Attributes:
        parts: the stores of train, validation and test.
        task: what is learned.
        plan: the order of the training batches.
        statistics: counts of tokens.
        total: steps of the whole run, as far as they are known before it.
        memory: about as many bytes as training takes.
        files: name, bytes and sha256 of the files of each part.
    """

    parts: Parts
    task: Summarize
    plan: Plan
    statistics: Statistics
    total: int
    memory: int
    files: dict[str, list[dict[str, Any]]]


def check(config: Config) -> Checked:
    """Check settings without Keras and TensorFlow, and fill in what they leave open.

    Raises:
        ValueError: settings that are wrong, all in one error.
        OSError: data files that are missing, or an output folder that cannot be written.
    """
    raise_all(check_config(config))
    source = find_model(config.model)
    resolved, chosen = resolve(config, source)
    raise_all(check_against_model(resolved, source))
    files = {part: find_files(getattr(config.data, part), f"data.{part}") for part in ("train", "validation", "test")}
    raise_all(shared_files(files))
    check_fields(config, files)
    RunFolder(config.output).check_usable()
    return Checked(resolved, chosen, source, files)


def check_fields(config: Config, files: dict[str, tuple[Path, ...]]) -> None:
    """Read the first row of each file, so that a wrong name of a field is told before anything takes long.

    Raises:
        ValueError: a file without one of the fields, or files of a part without a row.
    """
    fields = field_names(Summarize.fields, config.data.fields)
    for part, paths in files.items():
        has_rows = len(paths) > _FILES_LOOKED_INTO
        for path in paths[:_FILES_LOOKED_INTO]:
            bad = BadRows([str(path)], config.data.max_bad_rows)
            rows = read_rows([path], fields, config.data.group, bad)
            with contextlib.closing(rows):  # type: ignore[type-var]
                has_rows |= next(rows, None) is not None
            bad.check()
        if paths and not has_rows:
            raise ValueError(f"data.{part} must hold at least one usable row. Received: {paths[0]}, which holds none")


def default_cache() -> Path:
    """The folder of tokenized rows where none is named."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfmodels" / "tokens"


def make_tokenizer(checked: Checked, folder: Path, poll: Callable[[], None]) -> Any:
    """The tokenizer of the model; for a model from scratch it is trained, or read again from `folder`."""
    from tfmodels.utils.files import written_whole
    from training.run.build import load_tokenizer, vocabulary_texts

    source = checked.source
    if source.folder is not None:
        return load_tokenizer(source.folder)
    if not folder.is_dir():
        from training.presets import PRESETS

        config = checked.config
        texts = vocabulary_texts(_train_texts(checked, poll))
        tokenizer = PRESETS[source.name].train_tokenizer(texts, config.weights.vocab_size)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(folder) as partial:
            tokenizer.save_pretrained(partial)
    from tfmodels.auto import FAMILIES

    # Read in any case, so that a run that goes on has the very same object.
    return FAMILIES[source.model_type].tokenizer.from_pretrained(folder)  # type: ignore[attr-defined]


def _train_texts(checked: Checked, poll: Callable[[], None]) -> Any:
    data, files = checked.config.data, checked.files["train"]
    bad = BadRows([path.name for path in files], data.max_bad_rows)
    fields = field_names(Summarize.fields, data.fields)
    shares = held_out_shares(checked.files, (data.hold_out, data.hold_out))
    for row in read_rows(files, fields, data.group, bad):
        poll()
        if part_of(row, shares) == "train":
            yield row.texts
    bad.check()


@dataclasses.dataclass(frozen=True)
class OpenData:
    """The stores of tokens, the task that reads them, and name, bytes and sha256 of the files of each part."""

    stores: Parts
    task: Summarize
    files: dict[str, list[dict[str, Any]]]


def open_data(
    checked: Checked,
    tokenizer: Any,
    on_progress: Callable[[int, int, int], None] | None = None,
    poll: Callable[[], None] | None = None,
    rejected: Path | None = None,
) -> OpenData:
    """Tokenize what is not tokenized yet; `on_progress`, `poll` and `rejected` are those of `build_store`.

    Raises:
        ValueError: bad rows, or no row.
    """
    config = checked.config
    data = config.data
    task = Summarize(max(config.lengths.sources), known(config.lengths.target))
    request = StoreRequest(
        task,
        tokenizer,
        **checked.files,
        fields=tuple(sorted(data.fields.items())),
        group=data.group,
        hold_out=(data.hold_out, data.hold_out),
        max_bad_rows=data.max_bad_rows,
    )
    cache = data.cache or default_cache()
    parts = build_store(request, cache, data.workers, on_progress, poll, rejected)
    return OpenData(parts, task, file_digests(request, cache, poll))


def prepare_data(checked: Checked, data: OpenData, size: ModelSize) -> Prepared:
    """Count the tokens, and plan the batches.

    Warns:
        UserWarning: more than 10 % of the rows are cut.
    """
    config = checked.config
    lengths = config.lengths
    sizes = data.stores.train.sizes(data.task.length_column)
    plan = Plan(sizes, config.lengths.sources, known(lengths.batch_tokens), lengths.rows_multiple, config.seed)
    statistics = statistics_of(data.stores.stores, config.lengths.sources, data.task.target_length)
    for warning in statistics.warnings:
        warnings.warn(warning, stacklevel=2)
    total = planned_steps(config, plan)
    memory = size.training_bytes(config, plan)
    return Prepared(data.stores, data.task, plan, statistics, total, memory, data.files)


def prepare(config: Config, console: Console | None = None) -> Prepared:
    """Tokenize, and tell what a run with these settings would do; nothing is trained.

    Args:
        config: the settings; what is None is chosen by the model.
        console: shows the tables.

    Raises:
        ValueError: wrong settings or data.
        OSError: files that cannot be read or written.
    """
    from training.run.backend import import_backend

    checked = check(config)
    stop = Stop()
    with stop.watching() if is_main_thread() else contextlib.nullcontext(), tempfile.TemporaryDirectory() as folder:
        import_backend()
        tokenizer = make_tokenizer(checked, Path(folder) / "tokenizer", stop.poll)
        size = ModelSize.of(checked, tokenizer)
        reporter = Reporter(console or Console(), None, checked.config.logging)
        try:
            reporter.settings(checked)
            prepared = prepare_data(checked, open_data(checked, tokenizer, reporter.tokenizing, stop.poll), size)
            reporter.data(prepared)
        finally:
            reporter.close()
    return prepared


def planned_steps(config: Config, plan: Plan) -> int:
    """Steps of a run, before `max_minutes` is taken into account; `UNPLANNED` if that alone limits them."""
    steps = config.steps
    total = steps.max_steps or UNPLANNED
    if steps.epochs is not None:
        total = min(total, math.ceil(steps.epochs * len(plan) / known(config.optim.accumulate)))
    return total

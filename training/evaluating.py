"""Scores of a model on documents with references: `evaluate`, and the end of every run."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tfmodels.utils.files import written_whole
from tfmodels.utils.hub import packaged_models
from training.config import Config, known, replaced
from training.data.sources import find_files
from training.defaults import find_model, resolve
from training.metrics import rouge_report
from training.metrics.baselines import first_sentences
from training.preparing import Checked, check_fields, open_data
from training.run.backend import import_backend
from training.run.folder import RunFolder
from training.run.reporter import print_scores

MODEL, LEAD = "model", "lead"


@dataclasses.dataclass(frozen=True)
class Scored:
    """Texts of a model with their references and scores.

    Attributes:
        places: file and line of each document.
        documents, references, texts: what was read, what should be written, what was written.
        figures: for each system and metric, mean, lower and upper end of the interval.
    """

    places: list[str]
    documents: list[str]
    references: list[str]
    texts: list[str]
    figures: dict[str, dict[str, tuple[float, float, float]]]

    def write(self, path: Path) -> None:
        """Write one JSON object a row: place, reference and prediction."""
        with written_whole(path) as partial, open(partial, "w", encoding="utf-8") as stream:
            for place, reference, text in zip(self.places, self.references, self.texts, strict=True):
                row = {"place": place, "reference": reference, "prediction": text}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def evaluate_rows(
    model: Any, tokenizer: Any, task: Any, store: Any, config: Config, poll: Callable[[], None] = lambda: None
) -> Scored:
    """Write and score the texts of a store's rows, at most `evaluation.test_rows` of them.

    Args:
        model, tokenizer: the model and its tokenizer.
        task, store: where the rows come from.
        config: resolved settings.
        poll: called before each batch.
    """
    from training.run.evaluation import HeldOut, sample_rows

    rows = sample_rows(len(store), config.evaluation.test_rows)
    batch_tokens = known(config.evaluation.batch_tokens)
    held_out = HeldOut(model, task, store, rows, config.lengths.sources, batch_tokens, config.weights.jit, poll)
    settings = {"max_new_tokens": config.lengths.target, **config.generation}
    texts = held_out.texts(tokenizer, **settings)
    pairs = [store.texts(int(row)) for row in rows]
    documents, references = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    systems = {MODEL: texts, LEAD: [first_sentences(document) for document in documents]}
    figures = {name: rouge_report(system, references) for name, system in systems.items()}
    return Scored([store.place(int(row)) for row in rows], documents, references, texts, figures)


def evaluate(
    folder: Path,
    data: Sequence[str],
    predictions: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> Scored:
    """Score a run's model, or any folder's, on files of documents and references.

    Args:
        folder: the folder of a run, or of a model with its tokenizer, or the name of a model of `tfmodels/pretrained`.
        data: files, folders or patterns.
        predictions: a file to write the texts to, beside their references.
        changes: settings by their dotted names, as `{"evaluation.test_rows": 50, "generation": {"num_beams": 4}}`.
        console: shows the scores.

    Raises:
        ValueError: no model, wrong settings, or unusable rows.
    """
    config, model_folder = _settings_of(packaged_models().get(str(folder), folder), changes or {})
    files: dict[str, tuple[Path, ...]] = {"train": (), "validation": (), "test": find_files(data, "--data")}
    source = find_model(str(model_folder))
    config, chosen = resolve(dataclasses.replace(config, model=str(model_folder)), source)
    check_fields(config, files)
    import_backend()
    from training.run.build import load_model, load_tokenizer

    tokenizer = load_tokenizer(model_folder)
    checked = Checked(config, chosen, source, files)
    parts = open_data(checked, tokenizer)
    scored = evaluate_rows(load_model(model_folder, config), tokenizer, parts.task, parts.stores.test, config)
    if predictions is not None:
        scored.write(predictions)
    if console is not None:
        print_scores(console, scored)
    return scored


def _settings_of(folder: Path, changes: Mapping[str, Any]) -> tuple[Config, Path]:
    """The settings of a run with changes, and the folder of its model; of a model's folder, no settings."""
    if not folder.is_dir() and len(folder.parts) != 2:  # two: a hub id
        raise ValueError(f"FOLDER must be the folder of a run or of a model. Received: {folder}, which is none")
    run = RunFolder(folder)
    if not run.is_started:
        return replaced(Config(model=str(folder), output=folder), dict(changes)), folder
    if not run.model.is_dir():
        raise ValueError(f"FOLDER must hold a model. Received: {folder}, whose run has none yet")
    config = run.read_config()
    # Single settings of generation, and single names of fields, leave those of the run as they are.
    kept = {"generation": config.generation, "data.fields": config.data.fields}
    merged = {name: {**kept[name], **value} if name in kept else value for name, value in changes.items()}
    return replaced(config, merged), run.model

"""Scores of a model on the held-out objects: `python -m training.demo.score longt5-python --data corpus/test.jsonl`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from training.demo.baselines import constant_baseline, name_baseline
from training.demo.examples import Example, spread
from training.metrics import rouge

ROWS, SHOWN, LENGTHS = 400, 5, (128, 256, 1024)


def read_examples(path: Path) -> list[Example]:
    """The rows of a file that `training.demo.splits.write_jsonl` wrote."""
    with open(path, encoding="utf-8") as stream:
        return [Example(**json.loads(line)) for line in stream]


def score(
    model: Any, tokenizer: Any, examples: Sequence[Example], lengths: Sequence[int] = LENGTHS, **settings: Any
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """ROUGE of a model and of what needs no model, and the model's summaries.

    Args:
        model, tokenizer: the model and its tokenizer.
        examples: objects with the references.
        lengths: static source lengths in tokens.
        **settings: settings of generation in place of the model's.
    """
    from training.evaluation import summarize

    documents, references = [each.document for each in examples], [each.summary for each in examples]
    summaries = summarize(model, tokenizer, documents, lengths, jit_compile=True, **settings)
    systems = {
        'constant "Return the"': [constant_baseline(each) for each in examples],
        "name split into words": [name_baseline(each) for each in examples],
        "model": summaries,
    }
    return {name: rouge(texts, references) for name, texts in systems.items()}, summaries


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores, and the first documents with their summaries."""
    parser = argparse.ArgumentParser("python -m training.demo.score", description=__doc__)
    parser.add_argument("model", help="a model's name or folder")
    parser.add_argument("--data", type=Path, required=True, help="rows of the corpus, such as corpus/test.jsonl")
    parser.add_argument("--rows", type=int, default=ROWS, help="documents at most, at even distances")
    parser.add_argument("--generation", type=json.loads, default={}, help='settings such as {"num_beams": 4}')
    options = parser.parse_args(arguments)
    from tfmodels.auto import classes_of
    from training.defaults import find_model

    folder = find_model(options.model).folder
    if folder is None:
        raise ValueError(f"model must be a trained one. Received: model={options.model!r}")
    model_class, tokenizer_class = classes_of(folder)
    examples = spread(read_examples(options.data), options.rows)
    tokenizer = tokenizer_class.from_pretrained(folder)  # type: ignore[attr-defined]
    scores, summaries = score(model_class.from_pretrained(folder), tokenizer, examples, **options.generation)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"{len(examples)} documents")
    for name, figures in scores.items():
        console.print(f"{name:24}", *(f"{metric} {value:5.1f}" for metric, value in figures.items()))
    for example, summary in list(zip(examples, summaries, strict=True))[:SHOWN]:
        console.print(f"{example.module}: {example.name}\n  reference  {example.summary}\n  model      {summary}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Scores of a model on the held-out objects: `python -m training.demo.score longt5-python --data corpus/test.jsonl`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.config import Lengths
from training.demo.baselines import constant_baseline, name_baseline
from training.demo.examples import Example, spread
from training.metrics import rouge

ROWS, SHOWN = 400, 5
TARGET, BATCH_TOKENS = 32, 8192


def read_examples(path: Path) -> list[Example]:
    """The rows of a file that `training.demo.splits.write_jsonl` wrote."""
    with open(path, encoding="utf-8") as stream:
        return [Example(**json.loads(line)) for line in stream]


def baselines(examples: Sequence[Example]) -> dict[str, dict[str, float]]:
    """ROUGE of what needs no model.

    >>> scores = baselines([Example("...", "Read a file.", "read_file")])
    >>> round(scores["name split into words"]["rougeL"])
    80
    """
    references = [each.summary for each in examples]
    systems = {'constant "Return the"': constant_baseline, "name split into words": name_baseline}
    return {name: rouge([write(each) for each in examples], references) for name, write in systems.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores, and the first documents with their summaries."""
    parser = argparse.ArgumentParser("python -m training.demo.score", description=__doc__)
    parser.add_argument("model", type=Path, help="a model's name or folder")
    parser.add_argument("--data", type=Path, required=True, help="rows of the corpus, such as corpus/test.jsonl")
    parser.add_argument("--rows", type=int, default=ROWS, help="documents at most, at even distances")
    parser.add_argument("--longest", type=int, default=1024, help="tokens of a document that are read")
    parser.add_argument("--generation", type=json.loads, default={}, help='settings such as {"num_beams": 4}')
    options = parser.parse_args(arguments)
    from training.evaluating import evaluate

    lengths = (*tuple(length for length in (128, 256, 1024, 2048) if length < options.longest), options.longest)
    changes = {
        "lengths": Lengths(lengths, TARGET, max(BATCH_TOKENS, options.longest)),
        "evaluation.test_rows": options.rows,
        "generation": options.generation,
    }
    scored = evaluate(options.model, [str(options.data)], changes=changes)
    examples = spread(read_examples(options.data), options.rows)
    scores = baselines(examples) | {"model": {name: mean for name, (mean, *_) in scored.figures["model"].items()}}
    console = Console(soft_wrap=True, markup=False, highlight=False)
    console.print(f"{len(examples)} documents")
    for name, figures in scores.items():
        console.print(f"{name:24}", *(f"{metric} {value:5.1f}" for metric, value in figures.items()))
    for example, summary in list(zip(examples, scored.texts, strict=True))[:SHOWN]:
        console.print(f"{example.module}: {example.name}\n  reference  {example.summary}\n  model      {summary}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

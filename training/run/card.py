"""The scores of a run in the card of its model, as Hugging Face's `model-index` and as a table.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md names the fields.
"""

import os
from collections.abc import Sequence
from typing import Any

from tfmodels.utils.front_matter import front_matter, parted
from training.run.scores import PartScores, Score

# By our names: the hub's name of the metric, and the one that people read.
_METRICS = {
    "rouge1": ("rouge", "ROUGE-1"),
    "rouge2": ("rouge", "ROUGE-2"),
    "rougeL": ("rouge", "ROUGE-L"),
    "rougeLsum": ("rouge", "ROUGE-Lsum"),
}
# The names by which the library `datasets` reads files.
_BUILDERS = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}
_DIGITS = 4


def scored_card(card: str, name: str, parts: Sequence[PartScores]) -> str:
    """A model's card with scores; as it is where there are none.

    Args:
        card: the card that `save_pretrained` wrote.
        name: the model's name.
        parts: the scores of each part that was measured.
    """
    fields, text = parted(card)
    if not parts or not fields:
        return card
    results = [_result(part, str(fields["pipeline_tag"])) for part in parts]
    types = dict.fromkeys(metric["type"] for result in results for metric in result["metrics"])
    fields |= {"metrics": list(types), "model-index": [{"name": name, "results": results}]}
    return f"{front_matter(fields)}\n{text.rstrip()}\n\n{_section(parts)}"


def _result(part: PartScores, task: str) -> dict[str, Any]:
    """The scores of a part in the form of `model-index`."""
    builder = next(name for suffix, name in _BUILDERS.items() if suffix in part.files[0].lower())
    metrics = []
    for score in part.scores:
        metric, name = _name(score)
        metrics.append({"type": metric, "name": name, "value": round(score.value, _DIGITS)})
    return {
        "task": {"type": task},
        "dataset": {"name": _dataset(part), "type": builder, "split": part.part},
        "metrics": metrics,
    }


def _section(parts: Sequence[PartScores]) -> str:
    """The scores in Markdown."""
    rows = "".join(
        f"| {part.part} | {score.rows:,} | {_name(score)[1]} | {_value(score)} | {_number(score.baseline)} |\n"
        for part in parts
        for score in part.scores
    )
    return (
        f"## Scores\n{''.join(map(_described, parts))}\n| part | rows | metric | model | first sentences |\n"
        f"| --- | --- | --- | --- | --- |\n{rows}\nBrackets are 95 % intervals of the mean. ROUGE is times 100. "
        "First sentences: what the document's own beginning would score.\n"
    )


def _described(part: PartScores) -> str:
    name = " ".join(_dataset(part).replace("`", "'").split())
    return f"- {part.part}: {f'{part.share:.3g} of ' if part.share else ''}`{name}`\n"


def _dataset(part: PartScores) -> str:
    """The name of the data, without that of the folder it lies in."""
    first = os.fsencode(part.files[0]).decode("utf-8", errors="replace")
    return first if len(part.files) == 1 else f"{first} and {len(part.files) - 1} more"


def _name(score: Score) -> tuple[str, str]:
    return _METRICS.get(score.metric, (score.metric, score.metric))


def _value(score: Score) -> str:
    if score.interval is None:
        return _number(score.value)
    return f"{_number(score.value)} ({' to '.join(map(_number, score.interval))})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

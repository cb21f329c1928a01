"""Rows, files and comparisons for tests of token stores."""

import hashlib
import json
from pathlib import Path

from training.tasks.summarize import Summarize

WORDS = ["a", "long", "document", "about", "nothing", "größe"]
TASK = Summarize(source_length=16, target_length=6)


def row(index):
    words = [WORDS[(index * 7 + place) % len(WORDS)] for place in range(1 + index % 23)]
    return {"document": f"{index} " + " ".join(words), "summary": " ".join(words[:4]), "book": f"b{index % 60}"}


def write(path, count=600, first=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row(index), ensure_ascii=False) + "\n" for index in range(first, first + count))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def content(folder):
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def stored(parts):
    return content(parts.train.folder.parent)


class Stop(Exception):
    pass


def stopping_after(count):
    calls = iter(range(count))

    def poll():
        if next(calls, None) is None:
            raise Stop

    return poll

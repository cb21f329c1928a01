"""Exports of every head of every family, tiny, each with requests to all its signatures and their answers."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from exported import ANSWERER, CLASSIFIER, LANGUAGE_MODEL, LENGTHS, QUESTIONS, TEXTS, exported
from tiny import KINDS

from export import export_saved_model
from export.client.graphs import input_specs
from export.client.saved_model_client import load_saved_model

HEADS = (LANGUAGE_MODEL, CLASSIFIER, ANSWERER)
REQUESTS = "requests.json"


def record(folder: Path) -> list[str]:
    """Write the exports and what they answer into a folder; returns their names."""
    names = []
    for kind in KINDS:
        for head in HEADS:
            served = exported(kind, head)
            home = folder / f"{kind}-{head}"
            export_saved_model(served.model, served.tokenizer, home / "1", lengths=LENGTHS, warm_up=False)
            loaded = load_saved_model(home / "1")
            found = [_recorded(name, function, served) for name, function in sorted(loaded.signatures.items())]
            (home / REQUESTS).write_text(json.dumps(found), encoding="utf-8")
            names.append(home.name)
    return names


def _recorded(name, function, served):
    ids = served.tokenizer(list(TEXTS), max_length=LENGTHS[-1])
    samples = {
        "text": list(TEXTS),
        "question": list(QUESTIONS),
        "max_new_tokens": [4] * len(TEXTS),
        "num_return_sequences": [2] * len(TEXTS),
        **ids,
    }
    inputs = {key: tf.constant(samples[key], spec.dtype) for key, spec in input_specs(function).items()}
    return {"signature": name, "inputs": _described(inputs), "answer": _described(function(**inputs))}


def _described(tensors):
    return {name: _of(np.asarray(value.numpy())) for name, value in tensors.items()}


def _of(array):
    if array.dtype.kind in "OS":
        values = np.vectorize(lambda text: text.decode("latin-1"), otypes=[object])(array)
        return {"dtype": "string", "shape": array.shape, "values": values.tolist()}
    return {"dtype": str(array.dtype), "shape": array.shape, "values": array.tolist()}

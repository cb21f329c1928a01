"""A tokenizer, requests and small shards for tests of token stores."""

import os
import sys

import pytest
from stores import TASK, WORDS, write

from tfmodels import LEDTokenizer
from training.data import shards, store
from training.data.store import StoreRequest


@pytest.fixture(scope="module")
def tokenizer():
    return LEDTokenizer.train_from_iterator([" ".join(WORDS)], 300)


@pytest.fixture
def request_of(tmp_path, tokenizer):
    path = write(tmp_path / "data" / "train.jsonl")

    def make(**changes):
        return StoreRequest(**{"task": TASK, "tokenizer": tokenizer, "train": (path,), **changes})

    return make


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 100)
    monkeypatch.setattr(store, "_CHUNK_ROWS", 32)


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """Paths that are forced to the disk, which takes seconds where others write."""
    paths = []

    def note(descriptor):
        if sys.platform == "linux":
            paths.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", note)
    return paths

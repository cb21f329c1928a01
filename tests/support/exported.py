"""SavedModels to ask: tiny summarisers, exported once for all tests, and a toy with the signatures of every head."""

import contextlib
import functools
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from routines import randomise
from tiny import FAMILY_OF, make_model, one_layer
from tiny import settings as settings_of

import tfmodels
from export import export_saved_model
from export.client.graphs import describe_signatures, op_names
from export.client.saved_model_client import load_saved_model
from export.manifest import Manifest
from export.restoring_only import remove_saving
from tfmodels.modeling.heads import best_spans

LENGTHS = (16, 64)
TEXTS = (
    "def area(width, height): return width * height",
    "",
    "class Stack:\n    def push(self, item):\n        self.items.append(item)\n" * 20,
    "naïve café ✓ \t def f(x): pass </s> <pad>",
)


QUESTIONS = ("what is the area", "which </s> stack", "", "who wrote it and when and why " * 9)
LANGUAGE_MODEL, CLASSIFIER, ANSWERER = (
    "ForConditionalGeneration",
    "ForSequenceClassification",
    "ForQuestionAnswering",
)


@dataclass(frozen=True)
class Exported:
    """A model in Python, and the folder of the versions of its SavedModel."""

    model: Any
    tokenizer: Any
    folder: Path

    def summaries(self, texts):
        """What the Python pipeline makes of texts."""
        return self.tokenizer.batch_decode(self.model.generate(**self.tokenizer(list(texts), max_length=LENGTHS[-1])))

    def logits(self, texts):
        """Of a classifier."""
        return np.asarray(self.model(self.tokenizer(list(texts), max_length=LENGTHS[-1]))["logits"])

    def labels(self, texts):
        """What a classifier's Python pipeline makes of texts."""
        return [self.model.config.id2label[index] for index in self.logits(texts).argmax(1)]

    def spans(self, questions, texts):
        """What a question answerer's Python pipeline makes of questions and texts: spans, and what stands there."""
        marks = {"global_attention": "question"} if isinstance(self.tokenizer, tfmodels.LEDTokenizer) else {}
        batch = self.tokenizer(
            list(questions), text_pair=list(texts), max_length=LENGTHS[-1], return_segment_mask=True, **marks
        )
        text_mask = batch.pop("segment_mask")
        outputs = self.model(batch)
        spans = best_spans(outputs["start_logits"], outputs["end_logits"], text_mask)
        spans = {name: value.numpy() for name, value in spans.items()}
        rows = zip(batch["input_ids"], spans["start"], spans["end"], strict=True)
        found = [self.tokenizer.decode(ids[start : end + 1]).strip() if start >= 0 else "" for ids, start, end in rows]
        return spans, found


@functools.cache
def _home():
    return tempfile.TemporaryDirectory()


def exported(kind, head=LANGUAGE_MODEL, problem_type=None):
    """A model of one kind in "tiny.KINDS"; a summariser has all signatures and warm-up requests, others the first."""
    return _exported(kind, head, problem_type)


@functools.cache
def _exported(kind, head, problem_type):
    tokenizer = FAMILY_OF[kind].tokenizer.train_from_iterator([Path(tfmodels.__file__).read_text(), *TEXTS] * 3, 400)
    changes, settings = {}, {}
    if head != LANGUAGE_MODEL:
        settings = {"signatures": ("serving_default",), "warm_up": False}
        # The decoder reads the source too.
        changes = {name: LENGTHS[-1] for name in settings_of(kind) if name == "max_decoder_position_embeddings"}
    if head == CLASSIFIER:
        changes |= {"num_labels": 3, "problem_type": problem_type}
    model = make_model(kind, vocab_size=tokenizer.vocab_size, head=head, **one_layer(kind), **changes)
    # Weights far from uniform, so that the answers differ from text to text.
    randomise(model, scale=0.4)
    if head == LANGUAGE_MODEL:
        model.generation_config = model.generation_config.replace(num_beams=2, max_new_tokens=8)
    folder = Path(_home().name, f"{kind}-{head}-{problem_type}", "served")
    export_saved_model(model, tokenizer, folder / "1", lengths=LENGTHS, **settings)
    return Exported(model, tokenizer, folder)


def loaded(kind, head=LANGUAGE_MODEL):
    """The SavedModel of a model, loaded once."""
    return _loaded(kind, head)


@functools.cache
def _loaded(kind, head):
    return load_saved_model(exported(kind, head).folder / "1")


class _Toy(tf.Module):
    def answer(self, question, text):
        start = tf.strings.length(question)
        text = tf.strings.join([question, text], separator=": ")
        score = tf.cast(start, tf.float32) / 2
        return {"text": text, "score": score, "start": start, "end": start + 1, "truncated": start > 20}

    def classify(self, text):
        label = tf.where(tf.strings.length(text) > 3, "long", "short")
        probabilities = tf.tile(tf.constant([[0.25, 0.75]]), [tf.size(text), 1])
        return {"label": label, "probabilities": probabilities, "truncated": tf.zeros_like(label, tf.bool)}

    def summarize(self, text, max_new_tokens, num_return_sequences):
        wanted = tf.strings.substr(text[:, None], 0, max_new_tokens[0])
        several = tf.tile(wanted, [1, num_return_sequences[0]])
        return {"text": several, "score": tf.zeros_like(several, tf.float32), "truncated": max_new_tokens < 3}

    def encode(self, input_ids):
        return {"last_hidden_state": tf.cast(input_ids, tf.float32)[..., None] / 2}


@functools.cache
def toy():
    """The folder of a SavedModel that has every head's signatures and no model."""
    module, texts, numbers = _Toy(), tf.TensorSpec([None], tf.string), tf.TensorSpec([None], tf.int32)
    specs = {
        "answer": {"question": texts, "text": texts},
        "classify": {"text": texts},
        "summarize": {"text": texts, "max_new_tokens": numbers, "num_return_sequences": numbers},
        "encode": {"input_ids": tf.TensorSpec([None, None], tf.int32)},
    }
    functions = {
        name: tf.function(getattr(module, name), autograph=False).get_concrete_function(**inputs)
        for name, inputs in specs.items()
    }
    folder, signatures = Path(_home().name, "toy"), {"serving_default": functions["answer"], **functions}
    tf.saved_model.save(module, str(folder / "3"), signatures)
    remove_saving(folder / "3")
    _toy_manifest(signatures).with_files(folder / "3").write(folder / "3")
    return folder


def _toy_manifest(functions):
    return Manifest(
        version=3,
        model="Toy",
        architecture="toy",
        task="question-answering",
        lengths=(1,),
        batch_sizes=None,
        settings={},
        signatures=describe_signatures(functions),
        weights={"dtype": None, "bytes": 0},
        jit_compile=False,
        server_flags=(),
        batching=None,
        versions={},
        minimum_server_version="",
        ops=op_names(functions),
        text_ops=(),
    )


@dataclass(frozen=True)
class Running:
    """A server's addresses: "grpc", "rest", and with certificates further ones, see prediction_server.py."""

    ports: dict
    process: subprocess.Popen

    @property
    def grpc(self):
        """The address of the gRPC port."""
        return self.at("grpc")

    @property
    def rest(self):
        """The address of the REST port."""
        return self.at("rest")

    def at(self, name):
        """The address of a port."""
        return f"localhost:{self.ports[name]}"

    def held_bytes(self):
        """The memory that it holds."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


@contextlib.contextmanager
def serving(folder, certificates=None):
    """A `prediction_server.py` in a process of its own, over `folder`; `certificates`: the folder of those for TLS."""
    command = [sys.executable, str(Path(__file__).with_name("prediction_server.py")), str(folder)]
    command += [] if certificates is None else ["--certificates", str(certificates)]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        try:
            line = process.stdout.readline()
            if not line:
                messages.seek(0)
                raise RuntimeError(messages.read().decode())
            yield Running(json.loads(line), process)
        finally:
            process.stdin.close()
            process.wait(30)

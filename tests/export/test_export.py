"""The SavedModel answers as the Python pipeline does, alone, for every length; and nothing half-written is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from routines import randomise
from tiny import KINDS, make_model

import tfmodels
from export import export_saved_model
from export.client import Summarizer, ask_in_fresh_process
from training.evaluation import summarize

LENGTHS = (16, 64)
TEXTS = [
    "def area(width, height): return width * height",
    "",
    "class Stack:\n    def push(self, item):\n        self.items.append(item)\n" * 20,
    "naïve café ✓ \t def f(x): pass </s> <pad>",
]


@pytest.fixture(scope="module", params=KINDS)
def exported(request, tmp_path_factory):
    kind = request.param
    corpus = [Path(tfmodels.__file__).read_text(), *TEXTS] * 3
    tokenizer_class = tfmodels.LEDTokenizer if kind == "led" else tfmodels.LongT5Tokenizer
    tokenizer = tokenizer_class.train_from_iterator(corpus, 400)
    model = make_model(kind, vocab_size=tokenizer.vocab_size)
    # Weights far from uniform, so that the answers differ from text to text.
    randomise(model, scale=0.4)
    model.generation_config = model.generation_config.replace(num_beams=2, max_new_tokens=8)
    folder = tmp_path_factory.mktemp(kind)
    export_saved_model(model, tokenizer, folder / "served" / "1", lengths=LENGTHS)
    return kind, model, tokenizer, folder


def pipeline(model, tokenizer, texts, length=LENGTHS[1]):
    return tokenizer.batch_decode(model.generate(**tokenizer(texts, max_length=length)))


def test_the_savedmodel_in_a_fresh_process_equals_the_python_pipeline(exported):
    _, model, tokenizer, folder = exported
    answers = ask_in_fresh_process(folder / "served", TEXTS)
    assert [answer.text for answer in answers] == pipeline(model, tokenizer, TEXTS)
    assert [answer.truncated for answer in answers] == [False, False, True, False]
    assert np.isfinite([answer.score for answer in answers]).all()
    assert len({answer.text for answer in answers}) > 1


def test_one_text_at_a_time_equals_a_batch(exported):
    _, _, _, folder = exported
    summarizer = Summarizer(folder / "served")
    assert [summarizer([text])[0].text for text in TEXTS] == [answer.text for answer in summarizer(TEXTS)]


def test_ids_padded_with_anything_equal_the_model(exported):
    _, model, tokenizer, folder = exported
    loaded = tf.saved_model.load(str(folder / "served" / "1"))
    inputs = tokenizer(TEXTS[:2], max_length=20)
    # TensorFlow Serving pads batches of ids with a row's first element.
    inputs["input_ids"] = np.where(inputs["attention_mask"] == 1, inputs["input_ids"], inputs["input_ids"][:, :1])
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    wanted = model.generate(**inputs, return_dict=True, output_scores=False)
    found = loaded.signatures["generate"](**tensors)
    np.testing.assert_array_equal(found["sequences"], wanted["sequences"])
    np.testing.assert_allclose(found["scores"], wanted["sequences_scores"], rtol=1e-4)
    hidden = loaded.signatures["encode"](**tensors)["last_hidden_state"].numpy()
    real = inputs["attention_mask"][..., None]
    np.testing.assert_allclose(hidden * real, model.encode(**inputs)["last_hidden_state"].numpy() * real, atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 64 tokens"):
        loaded.signatures["encode"](**{name: tf.ones((1, 65), tf.int32) for name in tensors})


def test_the_graph_holds_no_xla_op_and_the_manifest_says_what_it_is(exported):
    _, model, _, folder = exported
    manifest = json.loads((folder / "served" / "1" / "manifest.json").read_text())
    assert not [op for op in manifest["ops"] if op.startswith("Xla")]
    assert manifest["lengths"] == list(LENGTHS)
    assert manifest["settings"]["num_beams"] == 2
    assert manifest["signatures"]["serving_default"]["inputs"] == {"text": "string (None,)"}
    assert set(manifest["signatures"]["generate"]["inputs"]) == set(model.encoder_inputs)
    assert manifest["versions"]["tensorflow"] == tf.__version__


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "export", *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


def test_the_program_exports_a_folder_and_answers_text_a_file_and_standard_input(exported):
    _, model, tokenizer, folder = exported
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    done = run("--model", folder / "model", "--output", folder / "again", "--lengths", "64", "--num-beams", 2)
    assert done.returncode == 0, done.stderr
    assert f"wrote {folder}/again/1" in done.stdout
    (wanted,) = pipeline(model, tokenizer, TEXTS[:1])
    (folder / "document.py").write_text(TEXTS[0])
    by_text = run("ask", folder / "again", TEXTS[0])
    assert by_text.stdout == wanted + "\n"
    assert by_text.stderr == ""
    assert run("ask", folder / "again", "--file", folder / "document.py").stdout == wanted + "\n"
    assert run("ask", folder / "again", input=TEXTS[0]).stdout == wanted + "\n"


def test_the_program_names_what_is_wrong(tmp_path):
    done = run("ask", tmp_path, "text")
    assert done.returncode == 2
    assert done.stderr == f"error: DIR must hold a SavedModel or numbered versions of one. Received: DIR={tmp_path}\n"
    done = run("--model", tmp_path, "--output", tmp_path / "served")
    assert done.returncode == 2
    assert "must hold a config.json" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": "served"}, ValueError, "path must end in a version number"),
        ({"lengths": ()}, ValueError, "lengths must hold at least one length"),
        ({"lengths": (0,)}, ValueError, "lengths must be a positive integer. Received: lengths=0"),
        ({"lengths": (1000000,)}, ValueError, "at most max_encoder_position_embeddings=160"),
        ({"path": "1"}, FileExistsError, "path must not exist"),
    ],
)
def test_bad_arguments_are_errors_that_name_them(tmp_path, arguments, error, message):
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(TEXTS, 300)
    (tmp_path / "1").mkdir()
    path = tmp_path / arguments.pop("path", "2")
    with pytest.raises(error, match=message):
        export_saved_model(make_model("led", vocab_size=400), tokenizer, path, **arguments)
    with pytest.raises(ValueError, match="tokenizer must have at most vocab_size=90 ids"):
        export_saved_model(make_model("led"), tokenizer, tmp_path / "3", lengths=(64,))
    assert [child.name for child in tmp_path.iterdir()] == ["1"]


def test_a_killed_export_leaves_no_version_and_the_next_one_works(exported):
    _, model, tokenizer, folder = exported
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    command = [sys.executable, "-m", "export", "--model", folder / "model", "--output", folder / "killed"]
    process = subprocess.Popen([*map(str, command), "--lengths", "16"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 90
    # Killed as soon as it writes: the folder of the version must not be there yet, or be whole.
    while not list(folder.glob("killed/.partial-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    versions = [child for child in folder.glob("killed/*") if child.name.isdigit()]
    assert all((version / "manifest.json").is_file() for version in versions)
    done = run(*map(str, command[3:]), "--lengths", "16")
    assert done.returncode == 0, done.stderr


def test_summaries_keep_their_order_over_buckets_and_batches(exported):
    _, model, tokenizer, _ = exported
    texts = [TEXTS[2], TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[2]]
    found = summarize(model, tokenizer, texts, LENGTHS, batch_size=2)
    assert found == pipeline(model, tokenizer, texts)

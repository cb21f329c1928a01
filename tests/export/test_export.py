"""The SavedModel of a summariser answers as the Python pipeline does, alone, for every length."""

import json
import shlex
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest
import tensorflow as tf
import yaml
from exported import LENGTHS, TEXTS, exported, loaded
from fresh_process import fresh_process
from tiny import KINDS, make_model

import tfmodels
from export import export_saved_model
from export.client.saved_model_client import SavedModel, ask_in_fresh_process
from export.client.warmup import read_warm_ups
from export.manifest import Manifest
from export.model_card import model_card

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_the_savedmodel_in_a_fresh_process_equals_the_python_pipeline(kind):
    served = exported(kind)
    actual = fresh_process().ask(served.folder, text=TEXTS)
    assert actual["text"] == served.summaries(TEXTS)
    assert actual["truncated"] == [False, False, True, False]
    assert np.isfinite(actual["score"]).all()
    assert len(set(actual["text"])) > 1


def test_a_process_of_its_own_answers_one_question():
    served = exported("led")
    assert ask_in_fresh_process(served.folder, text=TEXTS[:1])["text"] == served.summaries(TEXTS[:1])


def test_one_text_at_a_time_equals_a_batch():
    folder, ask = exported("led").folder, fresh_process().ask
    assert [ask(folder, text=[text])["text"][0] for text in TEXTS] == ask(folder, text=TEXTS)["text"]


@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_a_request_may_ask_for_its_own_length_and_number_of_summaries(kind):
    served = exported(kind)
    signatures = loaded(kind).signatures
    limits, counts = (8, 3, 5, 1), (1, 2, 2, 1)
    asked = {"max_new_tokens": tf.constant(limits), "num_return_sequences": tf.constant(counts)}
    actual = {k: v.numpy() for k, v in signatures["summarize"](text=tf.constant(TEXTS), **asked).items()}
    assert actual["text"].shape == actual["score"].shape == (4, 2)
    for row, (text, limit, count) in enumerate(zip(TEXTS, limits, counts, strict=True)):
        expected = served.model.generate(
            **served.tokenizer([text], max_length=64),
            max_new_tokens=limit,
            num_return_sequences=count,
            return_dict=True,
        )
        texts = served.tokenizer.batch_decode(expected["sequences"])
        assert [text.decode() for text in actual["text"][row]] == texts + [""] * (2 - count)
        np.testing.assert_allclose(actual["score"][row, :count], expected["sequences_scores"], rtol=1e-4)


@every_kind
def test_ids_padded_with_anything_equal_the_model(kind):
    served = exported(kind)
    signatures = loaded(kind).signatures
    inputs = served.tokenizer(list(TEXTS[:2]), max_length=20)
    # TensorFlow Serving pads batches of ids with a row's first element.
    inputs["input_ids"] = np.where(inputs["attention_mask"] == 1, inputs["input_ids"], inputs["input_ids"][:, :1])
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    expected = served.model.generate(**inputs, return_dict=True, output_scores=False)
    actual = signatures["generate"](**tensors)
    np.testing.assert_array_equal(actual["sequences"], expected["sequences"])
    np.testing.assert_allclose(actual["scores"], expected["sequences_scores"], rtol=1e-4)
    hidden = signatures["encode"](**tensors)["last_hidden_state"].numpy()
    real = inputs["attention_mask"][..., None]
    expected = served.model.encode(**inputs)["last_hidden_state"].numpy()
    np.testing.assert_allclose(hidden * real, expected * real, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {name: np.ones((1, 65), "int32") for name in ("input_ids", "attention_mask", "global_attention_mask")},
            "at most 64",
        ),
        ({"input_ids": np.full((1, 9), 100_000)}, "input_ids must be from 0 to"),
        ({"attention_mask": np.ones((1, 8), "int32")}, "attention_mask must have the shape of input_ids"),
        (
            {"input_ids": np.ones((9,), "int32")},
            r"input_ids_received \[9\] is not compatible with expected shape \[\?,\?\]",
        ),
        ({"input_ids": np.ones((1, 9), "float32")}, "int32"),
    ],
)
def test_bad_ids_are_errors_that_name_the_input(changes, message):
    signatures = loaded("led").signatures
    inputs = {name: np.ones((1, 9), "int32") for name in ("input_ids", "attention_mask", "global_attention_mask")}
    inputs |= changes
    inputs = {name: tf.constant(x, tf.float32 if x.dtype == np.float32 else tf.int32) for name, x in inputs.items()}
    with pytest.raises((tf.errors.InvalidArgumentError, TypeError), match=message):
        signatures["encode"](**inputs)


@pytest.mark.parametrize(
    ("limits", "counts", "message"),
    [
        ([0], [1], "max_new_tokens must be from 1 to 8"),
        ([9], [1], "max_new_tokens must be from 1 to 8"),
        ([1], [3], "num_return_sequences must be from 1 to 2"),
        ([1, 2], [1], "max_new_tokens must hold one number for each text"),
    ],
)
def test_bad_numbers_are_errors_that_name_the_input(limits, counts, message):
    signatures = loaded("led").signatures
    asked = {"max_new_tokens": tf.constant(limits), "num_return_sequences": tf.constant(counts)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        signatures["summarize"](text=tf.constant(["a text"]), **asked)


def test_the_graph_holds_no_xla_op_and_the_manifest_says_what_it_is():
    served = exported("led")
    manifest = json.loads((served.folder / "1" / "manifest.json").read_text())
    assert not [op for op in manifest["ops"] if op.startswith("Xla")]
    assert manifest["text_ops"] == []
    assert manifest["lengths"] == list(LENGTHS)
    assert manifest["settings"]["num_beams"] == 2
    assert manifest["settings"]["num_return_sequences"] == 1
    assert manifest["signatures"]["serving_default"]["inputs"] == {"text": "string (None,)"}
    assert set(manifest["signatures"]["generate"]["inputs"]) == set(served.model.encoder_inputs)
    assert manifest["versions"]["tensorflow"] == tf.__version__
    assert manifest["weights"]["bytes"] == sum(
        variable.value.dtype.size * np.prod(variable.shape) for variable in served.model.variables
    )


def test_the_model_card_tells_every_signature_and_an_answer():
    served = exported("led")
    card = (served.folder / "1" / "README.md").read_text()
    _, front_matter, _ = card.split("---\n", 2)
    assert yaml.safe_load(front_matter)["pipeline_tag"] == "summarization"
    for name in ("serving_default", "summarize", "generate", "encode"):
        assert f"### {name}\n" in card
    (answer,) = served.summaries(["The report was long, and nobody had the time to read it."])
    assert json.dumps(answer, ensure_ascii=False)[1:-1] in card


def test_commands_of_a_card_are_for_the_model_whatever_its_name():
    manifest = Manifest(**json.loads((exported("led").folder / "1" / "manifest.json").read_text()))
    name = "two 'words' $(touch x) \"/`y`"
    card = model_card(manifest, name, ({"text": ["it's"]}, {"text": ["so"]}))
    ask, curl = (shlex.split(line) for line in card.split("```sh\n")[1].split("```")[0].splitlines())
    assert ask[ask.index("--name") + 1] == name
    path = urllib.parse.urlsplit(curl[1]).path
    assert urllib.parse.unquote(path.removeprefix("/v1/models/").removesuffix(":predict")) == name
    assert "/" not in path.removeprefix("/v1/models/")
    assert json.loads(curl[3]) == {"inputs": {"text": ["it's"]}}


def test_every_signature_and_length_has_a_warm_up_request_with_its_answer():
    served = exported("led")
    warm_ups = list(read_warm_ups(served.folder / "1"))
    assert [warm_up.signature for warm_up in warm_ups] == ["serving_default", "summarize", "generate", "encode"] * 2
    counts = [len(served.tokenizer.encode(warm_up.request["text"][0].decode())) for warm_up in warm_ups[::4]]
    assert 2 < counts[0] <= LENGTHS[0] < counts[1] <= LENGTHS[1]
    (expected,) = served.summaries([warm_ups[0].request["text"][0].decode()])
    assert warm_ups[0].answer["text"][0].decode() == expected


def test_requests_are_filled_up_to_the_batch_sizes_and_compiled_once_for_each(tmp_path):
    served = exported("longt5-local")
    export_saved_model(
        served.model,
        served.tokenizer,
        tmp_path / "1",
        lengths=(64,),
        batch_sizes=(4, 1),
        signatures=("serving_default",),
        jit_compile=True,
    )
    requests = [len(warm_up.request["text"]) for warm_up in read_warm_ups(tmp_path / "1")]
    assert requests == [1, 4]
    ask = SavedModel(tmp_path)
    for texts in (TEXTS[:1], TEXTS[:3], TEXTS):
        assert ask(text=texts)["text"].tolist() == served.summaries(texts)
    with pytest.raises(ValueError, match="a request must have at most 4 documents"):
        ask(text=["text"] * 5)
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_text())
    assert manifest["server_flags"] == ["--xla_cpu_compilation_enabled=true"]
    assert fresh_process().run("check", tmp_path, "--xla").returncode == 0
    done = fresh_process().run("check", tmp_path)
    assert "WRONG: the server must compile under XLA: start it with --xla_cpu_compilation_enabled=true" in done.stdout
    (tmp_path / "1" / "manifest.json").write_text(json.dumps({**manifest, "jit_compile": False}))
    done = fresh_process().run("check", tmp_path)
    assert "WRONG: functions must not be marked for XLA alone" in done.stdout
    assert "1 wrong" in done.stdout


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "export", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_the_program_exports_a_folder_and_answers_text_a_file_and_standard_input(tmp_path):
    served = exported("longt5-local")
    served.model.save_pretrained(tmp_path / "model")
    served.tokenizer.save_pretrained(tmp_path / "model")
    options = ["--signatures", "serving_default", "--num-beams", 2, "--max-new-tokens", 8, "--no-warm-up"]
    done = run("--model", tmp_path / "model", "--output", tmp_path / "again", "--lengths", "64", *options)
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path}/again/1" in done.stdout
    (expected,) = served.summaries(TEXTS[:1])
    (tmp_path / "document.py").write_text(TEXTS[0])
    by_text = run("ask", tmp_path / "again", TEXTS[0])
    assert by_text.stdout == expected + "\n"
    assert by_text.stderr == ""
    fresh = fresh_process()
    assert fresh.run("ask", tmp_path / "again", "--file", tmp_path / "document.py").stdout == expected + "\n"
    assert fresh.run("ask", tmp_path / "again", stdin=TEXTS[0]).stdout == expected + "\n"


def test_the_program_names_what_is_wrong(tmp_path):
    done = fresh_process().run("ask", tmp_path, "text")
    assert done.returncode == 2
    assert done.stderr == f"error: DIR must hold a SavedModel or numbered versions of one. Received: DIR={tmp_path}\n"
    done = run("--model", tmp_path, "--output", tmp_path / "served")
    assert done.returncode == 2
    assert "must hold a config.json" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"path": "served"}, ValueError, "path must end in a version number"),
        ({"path": "²"}, ValueError, "path must end in a version number"),
        ({"lengths": range(2, 60), "batch_sizes": range(1, 9)}, ValueError, "at most 1,000 .*Received: 1,856"),
        ({"lengths": ()}, ValueError, "lengths must hold at least one size"),
        ({"lengths": (0,)}, ValueError, "lengths must be a positive integer. Received: lengths=0"),
        ({"lengths": (1,)}, ValueError, "lengths must be at least 2"),
        ({"lengths": (1000000,)}, ValueError, "at most max_encoder_position_embeddings=160"),
        ({"batch_sizes": ()}, ValueError, "batch_sizes must hold at least one size"),
        ({"signatures": ("generate",)}, ValueError, "serving_default among them"),
        ({"signatures": ("serving_default", "answer")}, ValueError, "signatures must be some of"),
        ({"batching": 4096}, ValueError, "batching must be None or a Batching"),
        ({"weights_dtype": "float8"}, ValueError, "weights_dtype must be one of"),
        ({"keep": -1}, ValueError, "keep must be a number of versions"),
        ({"max_answer_length": 5}, ValueError, "max_answer_length must be a setting of the model's head"),
        ({"path": "1"}, FileExistsError, "path must not exist"),
    ],
)
def test_bad_arguments_are_errors_that_name_them(tmp_path, arguments, error, message):
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(TEXTS, 300)
    (tmp_path / "1").mkdir()
    arguments = {"lengths": (64,), **arguments}
    path = tmp_path / arguments.pop("path", "2")
    with pytest.raises(error, match=message):
        export_saved_model(make_model("led", vocab_size=400), tokenizer, path, **arguments)
    assert [child.name for child in tmp_path.iterdir() if not child.name.startswith(".")] == ["1"]


def test_a_tokenizer_of_another_model_and_a_model_without_a_head_are_refused(tmp_path):
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(TEXTS, 300)
    with pytest.raises(ValueError, match="tokenizer must have at most vocab_size=90 ids"):
        export_saved_model(make_model("led"), tokenizer, tmp_path / "3", lengths=(64,))
    with pytest.raises(ValueError, match="model must have a head"):
        export_saved_model(make_model("led", head="Model"), tokenizer, tmp_path / "3", lengths=(64,))

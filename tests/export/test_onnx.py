"""ONNX graphs answer in ONNX Runtime as the model does, at every length; converting one takes two to three seconds."""

import json

import keras
import numpy as np
import pytest
from documents import ARTICLES
from routines import as_numpy, randomise
from tiny import FAMILY_OF, KINDS, make_config, make_model, one_layer

from export import export_onnx
from export.__main__ import main
from export.to_onnx import folder as writing
from export.to_onnx.conversion import onnx_model
from export.to_onnx.graphs import example_inputs, graphs_of
from export.to_onnx.merging import Branch, merged_model

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")

HEADS = {
    "encode": "Model",
    "classify": "ForSequenceClassification",
    "answer": "ForQuestionAnswering",
    "generate": "ForConditionalGeneration",
}
LONGEST = 70
TOLERANCE = 1e-4


def peaked_model(kind, graph, **changes):
    """With noise in every weight, and queries that see few tokens."""
    positions = {name: LONGEST for name in vars(make_config(kind)) if name.startswith("max_decoder_position")}
    model = make_model(kind, head=HEADS[graph], **{**one_layer(kind), **positions, **changes})
    randomise(model)
    for variable in model.variables:
        if "query" in variable.path or variable.path.endswith("q/kernel"):
            variable.assign(5 * variable.value)
    return model


def session(graph, model):
    converted = onnx_model(graph, model.variables).SerializeToString()
    return onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])


def documents(model, marks=3):
    """A row for each length, padded to the longest, with up to `marks` global tokens."""
    config, generator = model.config, np.random.default_rng(0)
    lengths = np.arange(1, LONGEST + 1)[:, None]
    mask = (np.arange(LONGEST)[None] < lengths).astype("int64")
    ids = np.where(mask == 1, generator.integers(5, config.vocab_size, mask.shape), config.pad_token_id)
    np.put_along_axis(ids, lengths - 1, config.eos_token_id, axis=1)
    is_global = np.zeros_like(mask)
    np.put_along_axis(is_global, generator.integers(0, lengths, (LONGEST, marks)), 1, axis=1)
    inputs = {"input_ids": ids, "attention_mask": mask, "global_attention_mask": is_global}
    return {name: inputs[name] for name in model.encoder_inputs}


def assert_answers_at_every_length(model, graph, inputs):
    """Each document alone, in a batch with a shorter one, as the model answers all of them in one padded batch."""
    running = session(graph, model)
    expected = as_numpy(graph.function({name: keras.ops.cast(x, "int32") for name, x in inputs.items()}))
    for length in range(1, LONGEST + 1):
        rows = [length - 1, (length - 1) // 2]
        answers = running.run(list(graph.outputs), {name: x[rows, :length] for name, x in inputs.items()})
        for name, answer in zip(graph.outputs, answers, strict=True):
            for row, found in zip(rows, answer, strict=True):
                wanted = expected[name][row]
                if "sequence" in graph.outputs[name]:  # behind its end a row is undefined
                    found, wanted = found[: row + 1], wanted[: row + 1]
                np.testing.assert_allclose(found, wanted, atol=TOLERANCE, rtol=TOLERANCE, err_msg=f"{length} tokens")


@pytest.mark.quick("longt5-tglobal-answer", "longt5-local-classify")
@pytest.mark.parametrize("graph", ["encode", "classify", "answer"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_is_the_model_at_every_length(kind, graph):
    model = peaked_model(kind, graph)
    assert_answers_at_every_length(model, graphs_of(model)[graph], documents(model))


def run(graph, running, inputs):
    """The outputs of a session by name."""
    return dict(zip(graph.outputs, running.run(list(graph.outputs), inputs), strict=True))


def generated(model, inputs, tokens):
    """The ids of a greedy search with the graphs of encoder and merged decoder alone, and the merged graph."""
    graphs = graphs_of(model)
    merged = graphs["decode_merged"]
    proto = merged_model(merged, model.variables)
    running = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    decode, further = merged.first, merged.later
    fixed = {"encoder_attention_mask": inputs["attention_mask"]}
    ids = np.full((len(inputs["input_ids"]), 1), model.config.decoder_start_token_id)
    states = run(graphs["encode"], session(graphs["encode"], model), inputs)["last_hidden_state"]
    first = {**fixed, "input_ids": ids, "encoder_hidden_states": states}
    outputs, past = run(decode, Branch(running, merged, has_past=False), first), {}
    for _ in range(tokens):
        ids = np.concatenate([ids, outputs.pop("logits")[:, -1:].argmax(-1)], axis=1)
        past |= {name.replace("present", "past_key_values"): x for name, x in outputs.items()}
        outputs = run(further, Branch(running, merged, has_past=True), {**fixed, **past, "input_ids": ids[:, -1:]})
    return ids, proto


@pytest.mark.quick("led")
@pytest.mark.parametrize("kind", KINDS)
def test_encoder_and_decoder_graphs_write_what_the_model_writes_and_hold_each_weight_once(kind):
    model = peaked_model(kind, "generate")
    inputs = {name: x[[20, 64, 3]] for name, x in documents(model).items()}
    search = {"do_sample": False, "num_beams": 1, "max_new_tokens": 8, "eos_token_id": None}
    search |= {"forced_bos_token_id": None, "forced_eos_token_id": None}
    expected = model.generate(**{name: x.astype("int32") for name, x in inputs.items()}, **search)
    ids, merged = generated(model, inputs, 8)
    np.testing.assert_array_equal(ids, np.asarray(expected))
    names = [weight.name for weight in merged.graph.initializer]
    assert len(names) == len(set(names))
    assert set(names) <= {variable.path for variable in model.variables}
    constants = [value for branch in merged.graph.node[0].attribute for value in branch.g.initializer]
    assert max(np.prod(value.dims, dtype=int) for value in constants) < 100


@pytest.mark.quick("12")
@pytest.mark.parametrize("marks", [2, 12])
def test_a_graph_with_many_slots_is_the_model_with_few_and_many_global_tokens(marks):
    # More than eight slots, and no more than a head's size: the branch of few global tokens is in the graph.
    model = peaked_model("led", "encode", max_global_tokens=12, encoder_attention_heads=2)
    assert_answers_at_every_length(model, graphs_of(model)["encode"], documents(model, marks))


def test_a_graph_may_make_the_first_token_global_by_itself():
    model = peaked_model("led", "encode")
    graph, inputs = graphs_of(model, first_is_global=True)["encode"], example_inputs(model, model.encoder_inputs, 21)
    inputs["global_attention_mask"] = np.zeros_like(inputs["input_ids"])
    inputs["global_attention_mask"][:, 0] = 1
    expected = as_numpy(model.encode(**{name: x.astype("int32") for name, x in inputs.items()})["last_hidden_state"])
    found = session(graph, model).run(None, {name: inputs[name] for name in graph.inputs})
    assert list(graph.inputs) == ["input_ids", "attention_mask"]
    np.testing.assert_allclose(found[0], expected, atol=TOLERANCE)
    with pytest.raises(ValueError, match="needs a model with global tokens"):
        graphs_of(make_model("longt5-local", head="Model"), first_is_global=True)


def test_a_folder_holds_graphs_config_and_tokenizer_and_its_graphs_were_compared(tmp_path):
    tokenizer = FAMILY_OF["longt5-local"].tokenizer.train_from_iterator(ARTICLES * 3, 130)
    model = peaked_model("longt5-local", "classify", vocab_size=tokenizer.vocab_size, num_labels=3)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")
    arguments = ["onnx", "--model", str(tmp_path / "model"), "--output", str(tmp_path / "onnx"), "--lengths", "1,9"]
    assert main(arguments) == 0
    names = {path.name for path in (tmp_path / "onnx").iterdir()}
    assert {"encoder_model.onnx", "model.onnx", "config.json", "spiece.model"} <= names
    assert json.loads((tmp_path / "onnx" / "config.json").read_text())["model_type"] == "longt5"
    running = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = running.run(None, example_inputs(model, model.encoder_inputs, 9))
    assert logits.shape == (2, model.config.num_labels)
    assert main(arguments) == 2  # the folder exists


def test_weights_above_a_size_stand_beside_the_graph(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MOST_BYTES", 1000)
    model = peaked_model("longt5-local", "encode")
    differences = export_onnx(model, tmp_path / "onnx", graphs=["encode"], lengths=[5])
    assert (tmp_path / "onnx" / "encoder_model.onnx_data").is_file()
    assert differences["encode"][5] < TOLERANCE


def test_a_failed_export_leaves_nothing(tmp_path):
    model = peaked_model("longt5-local", "encode")
    with pytest.raises(AttributeError, match="save_pretrained"):
        export_onnx(model, tmp_path / "onnx", tokenizer=object(), lengths=[3])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "dtype", "arguments", "message"),
    [
        ("led", None, {"graphs": ["classify"]}, "graphs must be some of"),
        ("led", None, {"lengths": [161]}, "at most 160, the model's positions"),
        ("led", None, {"lengths": []}, "at least one length"),
        ("longt5-local", "mixed_bfloat16", {}, "a float32 model"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(kind, dtype, arguments, message, tmp_path):
    model = make_model(kind, head="Model", dtype=dtype, **one_layer(kind))
    with pytest.raises(ValueError, match=message):
        export_onnx(model, tmp_path / "onnx", **arguments)
    assert not list(tmp_path.iterdir())

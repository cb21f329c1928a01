"""Every class, head and problem type equals transformers 4.57's."""

import numpy as np
import pytest
import torch
import transformers
from backends import direct
from routines import as_numpy
from tiny import make_inputs
from transformers_peer import compare, compare_gradients, make_pair, real_tokens, to_torch

import tfmodels

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning:transformers",
    "ignore:Converting a tensor with requires",
    "ignore:The `transformers.LEDForSequenceClassification` class is deprecated:FutureWarning",
)

KINDS = ("led", "longt5-local", "longt5-tglobal")
PROBLEMS = {
    "single label": ({"num_labels": 3}, np.array([2, 0, 1], "int32")),
    "regression": ({"num_labels": 1}, np.array([0.3, -1.2, 2.0], "float32")),
    "regression of two": (
        {"num_labels": 2, "problem_type": "regression"},
        np.array([[0.3, 1.0], [-1.2, 0.0], [2.0, -0.5]], "float32"),
    ),
    "multi label": ({"num_labels": 3}, np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0]], "float32")),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def ended_inputs(kind, length=29):
    """Rows that end in one end token, as classifiers want them; no longer than LED's decoder."""
    lengths = (length, length * 3 // 4, 3)
    inputs = make_inputs(kind, length, lengths=lengths, marked=(1, 3, 2))
    for row, end in enumerate(lengths):
        inputs["input_ids"][row, end - 1] = 2 if kind == "led" else 1
    return inputs


def run(reference, inputs, **asked):
    with torch.no_grad():
        return reference(**to_torch(inputs), **asked)


@pytest.mark.quick_in_jax("led-single label", "led-multi label", "longt5-local-regression")
@pytest.mark.parametrize("problem", PROBLEMS)
@every_kind
def test_sequence_classification_is_equal(kind, problem, tmp_path):
    changes, labels = PROBLEMS[problem]
    reference, ours = make_pair(kind, tmp_path, "ForSequenceClassification", **changes)
    inputs = {**ended_inputs(kind), "labels": labels}
    wanted, found = run(reference, inputs), direct(ours, inputs)
    compare(f"{kind} classification", f"{problem}: logits", found["logits"], wanted.logits.numpy())
    compare(f"{kind} classification", f"{problem}: loss", found["loss"], wanted.loss.numpy())
    compare_gradients(f"{kind} classification", f"{problem}: gradients", reference, ours, inputs)
    assert "loss" not in ours(ended_inputs(kind))


@pytest.mark.quick_in_jax("longt5-local")
@every_kind
def test_question_answering_is_equal(kind, tmp_path):
    reference, ours = make_pair(kind, tmp_path, "ForQuestionAnswering")
    # The second answer lies beyond the inputs: no loss.
    spans = {"start_positions": np.array([3, 40, 0], "int32"), "end_positions": np.array([7, 41, 2], "int32")}
    inputs = {**ended_inputs(kind), **spans}
    wanted, found = run(reference, inputs), direct(ours, inputs)
    for name in ("start_logits", "end_logits", "loss"):
        compare(f"{kind} question answering", f"29 tokens: {name}", found[name], wanted[name].numpy())
    compare_gradients(f"{kind} question answering", "29 tokens: gradients", reference, ours, inputs)


@pytest.mark.quick_in_jax("longt5-tglobal")
@every_kind
def test_the_model_without_a_head_is_equal(kind, tmp_path):
    reference, ours = make_pair(kind, tmp_path, "Model")
    ids = np.random.default_rng(2).integers(5, 90, (3, 6)).astype("int32")
    inputs = {**make_inputs(kind), "decoder_input_ids": ids}
    wanted, found = run(reference, inputs), as_numpy(direct(ours, inputs))
    assert set(found) == {"last_hidden_state", "encoder_last_hidden_state"}
    compare(f"{kind} model", "53 tokens: last hidden state", found["last_hidden_state"], wanted[0].numpy())
    theirs = real_tokens(wanted.encoder_last_hidden_state.numpy(), inputs["attention_mask"])
    states = real_tokens(found["encoder_last_hidden_state"], inputs["attention_mask"])
    compare(f"{kind} model", "53 tokens: encoder", states, theirs)


@pytest.mark.quick_in_jax("longt5-local")
@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_encoder_model_is_equal_and_goes_both_ways(kind, tmp_path):
    reference, ours = make_pair(kind, tmp_path, "EncoderModel")
    inputs = make_inputs(kind)
    wanted, mask = run(reference, inputs)[0].numpy(), inputs["attention_mask"]
    states = real_tokens(np.asarray(ours(inputs)["last_hidden_state"]), mask)
    compare(f"{kind} encoder", "53 tokens: last hidden state", states, real_tokens(wanted, mask))
    ours.save_pretrained(tmp_path / "ours")
    again = run(transformers.LongT5EncoderModel.from_pretrained(tmp_path / "ours").eval(), inputs)[0].numpy()
    compare(
        f"{kind} encoder", "saved by us, loaded by transformers", real_tokens(again, mask), real_tokens(wanted, mask)
    )


@pytest.mark.parametrize("head", ["ForSequenceClassification", "ForQuestionAnswering", "Model"])
def test_transformers_loads_the_leds_that_we_save(head, tmp_path):
    reference, ours = make_pair("led", tmp_path, head)
    ours.save_pretrained(tmp_path / "ours")
    loaded, report = type(reference).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]
    inputs = ended_inputs("led")
    again, before = run(loaded.eval(), inputs), run(reference, inputs)
    name = "start_logits" if head == "ForQuestionAnswering" else 0
    compare(f"LED{head}", "saved by us, loaded by transformers", again[name].numpy(), before[name].numpy(), 1e-6)


@pytest.mark.quick_in_jax("led")
@every_kind
def test_bodies_are_shared_between_the_classes_of_a_family(kind, tmp_path):
    """A language model's file gives the others their body, and heads start anew only when that is said."""
    _, model = make_pair(kind, tmp_path)
    family = "LED" if kind == "led" else "LongT5"
    inputs, mask = make_inputs(kind), make_inputs(kind)["attention_mask"]
    wanted = real_tokens(np.asarray(model.encode(**inputs)["last_hidden_state"]), mask)
    for name in ("Model", "Encoder"):
        other = getattr(tfmodels, f"{family}{name}").from_pretrained(tmp_path)
        found = other.encode(**inputs) if name == "Model" else other(**inputs)
        np.testing.assert_array_equal(real_tokens(np.asarray(found["last_hidden_state"]), mask), wanted)
    for name, head in (("ForSequenceClassification", "classification_head"), ("ForQuestionAnswering", "qa_outputs")):
        with pytest.raises(ValueError, match=f"must hold the head {head}. Received: none; new_head=True"):
            getattr(tfmodels, f"{family}{name}").from_pretrained(tmp_path)
        other = getattr(tfmodels, f"{family}{name}").from_pretrained(tmp_path, new_head=True, num_labels=5)
        found = np.asarray(other.encode(**inputs)["last_hidden_state"])
        np.testing.assert_array_equal(real_tokens(found, mask), wanted)
        assert other.config.num_labels == 5
        other.save_pretrained(tmp_path / name)
        with pytest.raises(ValueError, match=f"must be a language model's. Received: the head {head}"):
            type(model).from_pretrained(tmp_path / name)
        assert type(model).from_pretrained(tmp_path / name, new_head=True).config.num_labels == 5
        again = type(other).from_pretrained(tmp_path / name, new_head=True, num_labels=7)
        assert again.config.num_labels == 7


@pytest.mark.quick_in_jax("longt5-tglobal")
@every_kind
def test_initial_weights_follow_the_references_distributions(kind):
    family = "LED" if kind == "led" else "LongT5"
    from tiny import make_config, settings

    from tfmodels.checkpoints.mapping import reference_tensors

    changes = {"init_std": 0.07} if kind == "led" else {"initializer_factor": 0.6, "tie_word_embeddings": False}
    changes |= (
        {"d_model": 64, "vocab_size": 200, "feed_forward_proj": "gated-gelu"} if kind != "led" else {"d_model": 64}
    )
    for head in ("ForConditionalGeneration", "ForSequenceClassification"):
        if kind != "led" and head != "ForConditionalGeneration":
            continue
        config = getattr(transformers, f"{family}Config")(**settings(kind, **changes))
        torch.manual_seed(0)
        theirs = getattr(transformers, f"{family}{head}")(config).state_dict()
        model_class = getattr(tfmodels, f"{family}{head}")
        model = model_class(make_config(kind, **changes))
        for name, ours in reference_tensors(model, model_class.weight_map(model.config).rules):
            wanted = theirs[name].numpy()
            spread = 6 / np.sqrt(2 * wanted.size)
            assert abs(ours.std() - wanted.std()) <= spread * wanted.std() + 1e-7, name
            assert abs(ours.mean() - wanted.mean()) <= 6 * wanted.std() / np.sqrt(wanted.size) + 1e-7, name
            if name.endswith("shared.weight"):
                zero = np.flatnonzero(~wanted.any(axis=1))
                np.testing.assert_array_equal(np.flatnonzero(~ours.any(axis=1)), zero)

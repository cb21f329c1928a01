"""Loss, logits, hidden states, gradients and generated tokens equal transformers 4.57's."""

import numpy as np
import pytest
import tensorflow as tf
import torch
import transformers
from routines import as_numpy, assert_close
from tiny import make_inputs, make_labels
from transformers_peer import make_pair, to_torch

from tfmodels.checkpoints.mapping import slots

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers", "ignore:Converting a tensor with requires")

VARIANTS = [
    ("led", {}),
    ("led", {"attention_window": 12, "activation_function": "relu"}),
    ("longt5-local", {}),
    ("longt5-local", {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 1}),
    ("longt5-tglobal", {}),
    ("longt5-tglobal", {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "global_block_size": 8}),
]


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()


@pytest.fixture(scope="module", params=range(len(VARIANTS)), ids=lambda i: f"{VARIANTS[i][0]}-{i}")
def pair(request, tmp_path_factory):
    kind, changes = VARIANTS[request.param]
    return kind, *make_pair(kind, tmp_path_factory.mktemp(kind), **changes)


def check_outputs(kind, reference, ours, inputs, labels):
    with torch.no_grad():
        wanted = reference(**to_torch(inputs), labels=torch.from_numpy(labels).long())
    found = as_numpy(ours({**inputs, "labels": labels}))
    real = inputs["attention_mask"][..., None] != 0
    hidden = np.where(real, wanted.encoder_last_hidden_state.numpy(), 0)
    assert_close(np.where(real, found["encoder_last_hidden_state"], 0), hidden, 1e-4)
    assert_close(found["logits"], wanted.logits.numpy(), 1e-4)
    assert_close(found["loss"], wanted.loss.numpy(), 1e-5)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 31, 33, 53, 127, 128, 129])
def test_loss_logits_and_hidden_states_are_equal(pair, length):
    kind, reference, ours = pair
    inputs = make_inputs(kind, length, lengths=(length, max(1, length * 3 // 4), max(1, length // 6)))
    check_outputs(kind, reference, ours, inputs, make_labels())


@pytest.mark.parametrize("marked", [(0, 0, 0), (1, 0, 3), (40, 17, 1)])
def test_any_number_of_global_tokens_is_equal(tmp_path, marked):
    reference, ours = make_pair("led", tmp_path)
    check_outputs("led", reference, ours, make_inputs("led", marked=marked), make_labels())


def test_padding_on_the_left_is_equal(pair):
    kind, reference, ours = pair
    inputs = {name: np.ascontiguousarray(value[:, ::-1]) for name, value in make_inputs(kind).items()}
    check_outputs(kind, reference, ours, inputs, make_labels())


def test_gradients_of_every_weight_are_equal(pair):
    kind, reference, ours = pair
    inputs, labels = make_inputs(kind), make_labels()
    reference.zero_grad()
    reference(**to_torch(inputs), labels=torch.from_numpy(labels).long()).loss.backward()
    wanted = {name: parameter.grad for name, parameter in reference.named_parameters()}
    found = [slot for slot in slots(ours, type(ours).weight_rows(ours.config)) if slot.weight.trainable]
    with tf.GradientTape() as tape:
        loss = ours({**inputs, "labels": labels})["loss"]
    for slot, gradient in zip(found, tape.gradient(loss, [slot.weight.value for slot in found]), strict=True):
        ours_value = np.asarray(tf.convert_to_tensor(gradient))
        theirs = wanted[slot.name].numpy()
        difference = np.abs((ours_value.T if slot.transpose else ours_value) - theirs).max()
        assert difference <= 1e-3 * max(np.abs(theirs).max(), 1e-3), slot.name


SEARCHES = [
    {"num_beams": 1},
    {"num_beams": 1, "no_repeat_ngram_size": 3, "min_length": 6},
    {"num_beams": 2, "length_penalty": 2.0, "min_length": 8, "early_stopping": True, "no_repeat_ngram_size": 3},
    {"num_beams": 3, "length_penalty": 0.8, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "early_stopping": "never", "length_penalty": -0.5, "forced_eos_token_id": 2},
    {"num_beams": 5, "num_return_sequences": 3, "forced_bos_token_id": 7},
]


def until_end(sequences, eos):
    """Rows up to the end token: transformers pads T5's beams with the end token instead of the pad token."""
    rows = [list(map(int, row)) for row in sequences]
    return [row[: row.index(eos, 1) + 1] if eos in row[1:] else row for row in rows]


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: "-".join(map(str, search.values())))
def test_generated_tokens_and_scores_are_equal(pair, search):
    kind, reference, ours = pair
    inputs, eos = make_inputs(kind), ours.config.eos_token_id
    arguments = {"do_sample": False, "max_new_tokens": 14, "return_dict_in_generate": True, "output_scores": True}
    wanted = reference.generate(**to_torch(inputs), **arguments, **search)
    settings = ours.generation_config.replace(max_new_tokens=14, **search)
    found = ours.generate_with_scores(inputs, settings)
    assert until_end(found["sequences"], eos) == until_end(wanted.sequences, eos)
    if search["num_beams"] > 1:
        assert_close(as_numpy(found["sequences_scores"]), wanted.sequences_scores.numpy(), 1e-4)


def test_transformers_loads_what_we_save(pair, tmp_path):
    kind, reference, ours = pair
    ours.save_pretrained(tmp_path)
    loaded, report = type(reference).from_pretrained(tmp_path, output_loading_info=True)
    # Names of the shared table, which transformers leaves out of its own files too and recovers when loading.
    assert set(report["missing_keys"]) <= {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert not report["unexpected_keys"]
    inputs, labels = to_torch(make_inputs(kind)), torch.from_numpy(make_labels()).long()
    with torch.no_grad():
        again, before = loaded.eval()(**inputs, labels=labels), reference(**inputs, labels=labels)
    assert_close(again.logits.numpy(), before.logits.numpy(), 1e-6)


def test_a_pytorch_bin_file_loads_without_pytorch(pair, tmp_path):
    kind, reference, ours = pair
    reference.save_pretrained(tmp_path, safe_serialization=False)
    loaded = type(ours).from_pretrained(tmp_path)
    inputs = {**make_inputs(kind), "labels": make_labels()}
    assert_close(as_numpy(loaded(inputs)), as_numpy(ours(inputs)), 1e-6)

"""Loss, logits, hidden states and gradients equal transformers 4.57's, over lengths, padding and global tokens."""

import numpy as np
import pytest
import torch
from backends import direct
from routines import as_numpy, assert_close
from tiny import make_inputs, make_labels
from transformers_peer import compare, compare_gradients, make_pair, real_tokens, to_torch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers", "ignore:Converting a tensor with requires")

# Around the windows (8, 12, 16), the blocks (8 and 4) and the public models' blocks (16 and 128).
LENGTHS = [1, 7, 8, 9, 11, 13, 15, 16, 17, 31, 33, 53, 127, 128, 129]


def check_outputs(model, case, reference, ours, inputs, labels):
    with torch.no_grad():
        wanted = reference(**to_torch({**inputs, "labels": labels}))
    found = as_numpy(direct(ours, {**inputs, "labels": labels}))
    mask = inputs["attention_mask"]
    hidden = real_tokens(wanted.encoder_last_hidden_state.numpy(), mask)
    compare(model, f"{case}: hidden states", real_tokens(found["encoder_last_hidden_state"], mask), hidden)
    compare(model, f"{case}: logits", found["logits"], wanted.logits.numpy())
    compare(model, f"{case}: loss", found["loss"], wanted.loss.numpy())


# What is untied, gated or of one window needs fewer lengths.
@pytest.mark.quick("led, two windows-*", "longt5-local-*", "longt5-tglobal-*", "*-16", "*-33", "*-128")
@pytest.mark.quick_in_jax(
    "led, two windows-1",
    "led, two windows-16",
    "led, two windows-129",
    "led, one window, relu-7",
    "led, untied, silu-31",
    "longt5-local-9",
    "longt5-local-33",
    "longt5-local, untied, gated-53",
    "longt5-tglobal-13",
    "longt5-tglobal-127",
    "longt5-tglobal, untied, gated-128",
)
@pytest.mark.parametrize("length", LENGTHS)
def test_loss_logits_and_hidden_states_are_equal(pair, length):
    model, kind, reference, ours = pair
    inputs = make_inputs(kind, length, lengths=(length, max(1, length * 3 // 4), max(1, length // 6)))
    check_outputs(model, f"{length} tokens", reference, ours, inputs, make_labels())


@pytest.mark.parametrize("marked", [(0, 0, 0), (1, 0, 3), (40, 17, 1)])
def test_any_number_of_global_tokens_is_equal(tmp_path, marked):
    reference, ours = make_pair("led", tmp_path)
    case = f"{'-'.join(map(str, marked))} global tokens"
    check_outputs("led, two windows", case, reference, ours, make_inputs("led", marked=marked), make_labels())


def test_no_global_mask_is_equal(tmp_path):
    reference, ours = make_pair("led", tmp_path)
    inputs = make_inputs("led")
    del inputs["global_attention_mask"]
    check_outputs("led, two windows", "no global mask", reference, ours, inputs, make_labels())


def test_a_global_mark_on_padding_is_equal(tmp_path):
    reference, ours = make_pair("led", tmp_path)
    inputs = make_inputs("led")
    inputs["global_attention_mask"][:, -3:] = 1
    check_outputs("led, two windows", "global marks on padding", reference, ours, inputs, make_labels())


@pytest.mark.quick_in_jax("led, one window, relu", "longt5-tglobal")
def test_padding_on_the_left_is_equal(pair):
    model, kind, reference, ours = pair
    inputs = {name: np.ascontiguousarray(value[:, ::-1]) for name, value in make_inputs(kind).items()}
    check_outputs(model, "padding on the left", reference, ours, inputs, make_labels())


@pytest.mark.quick_in_jax("led, untied, silu", "longt5-tglobal")
def test_gradients_of_every_weight_are_equal(pair):
    model, kind, reference, ours = pair
    compare_gradients(model, "gradients", reference, ours, {**make_inputs(kind), "labels": make_labels()})


@pytest.mark.quick_in_jax("longt5-local")
def test_transformers_loads_what_we_save(pair, tmp_path):
    model, kind, reference, ours = pair
    ours.save_pretrained(tmp_path)
    loaded, report = type(reference).from_pretrained(tmp_path, output_loading_info=True)
    # Names of the shared table, which transformers leaves out of its own files too and recovers when loading.
    assert set(report["missing_keys"]) <= {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    assert not report["unexpected_keys"]
    inputs, labels = to_torch(make_inputs(kind)), torch.from_numpy(make_labels()).long()
    with torch.no_grad():
        again, before = loaded.eval()(**inputs, labels=labels), reference(**inputs, labels=labels)
    compare(model, "saved by us, loaded by transformers", again.logits.numpy(), before.logits.numpy(), 1e-6)


@pytest.mark.quick_in_jax("longt5-local, untied, gated")
def test_a_pytorch_bin_file_loads_without_pytorch(pair, tmp_path):
    _, kind, reference, ours = pair
    reference.save_pretrained(tmp_path, safe_serialization=False)
    loaded = type(ours).from_pretrained(tmp_path)
    inputs = {**make_inputs(kind), "labels": make_labels()}
    assert_close(as_numpy(direct(loaded, inputs)), as_numpy(direct(ours, inputs)), 1e-6)

"""Every other input and output equals transformers 4.57's: attentions, states, caches, head masks, embeddings."""

import numpy as np
import pytest
import torch
from backends import direct
from tiny import make_inputs, make_labels
from transformers_peer import compare, compare_gradients, make_pair, to_torch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers", "ignore:Converting a tensor with requires")

KINDS = ("led", "longt5-local", "longt5-tglobal")
SLOTS = 64  # the default of max_global_tokens
LENGTHS = [1, 7, 9, 33, 53]


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    return request.param, *make_pair(request.param, tmp_path_factory.mktemp("pair"), num_decoder_layers=2)


def sources(kind, length=53):
    return make_inputs(kind, length, lengths=(length, max(1, length * 3 // 4), max(1, length // 6)))


def run(reference, inputs, **asked):
    with torch.no_grad():
        return reference(**to_torch(inputs), **asked)


def led_attentions(layer, used):
    """The reference's columns of ours: it has as many slots for global tokens as the fullest row uses."""
    assert not np.asarray(layer)[..., used:SLOTS].any()
    return np.concatenate([layer[..., :used], layer[..., SLOTS:]], axis=-1)


def check_encoder_attentions(kind, found, wanted, inputs):
    model, mask = kind, inputs["attention_mask"]
    length = mask.shape[1]
    for index, layer in enumerate(found["encoder_attentions"]):
        theirs = wanted.encoder_attentions[index].numpy()
        if kind == "led":
            used = theirs.shape[-1] - (layer.shape[-1] - SLOTS)
            compare(model, f"{length} tokens: encoder attentions", led_attentions(layer, used), theirs)
        else:
            # (B, N, H, C, keys): the rows of padding mean nothing in either.
            blocks, size = theirs.shape[1], theirs.shape[3]
            real = np.pad(mask, ((0, 0), (0, blocks * size - length))).reshape(len(mask), blocks, 1, size, 1)
            compare(model, f"{length} tokens: encoder attentions", np.asarray(layer) * real, theirs * real)
    for index, layer in enumerate(found.get("encoder_global_attentions", ())):
        theirs = wanted.encoder_global_attentions[index].numpy()[:, :, :length]
        used = (inputs["global_attention_mask"] * mask).sum(axis=1)
        slots = (np.arange(theirs.shape[-1])[None] < used[:, None])[:, None, None]
        assert layer.shape == (*theirs.shape[:3], SLOTS)
        ours = np.asarray(layer)[..., : theirs.shape[-1]]
        compare(model, f"{length} tokens: encoder global attentions", ours, theirs * slots)


@pytest.mark.quick_in_jax("led-1", "led-33", "longt5-local-7", "longt5-local-53", "longt5-tglobal-9")
@pytest.mark.parametrize("length", LENGTHS)
def test_all_outputs_are_equal(pair, length):
    kind, reference, ours = pair
    inputs = {**sources(kind, length), "labels": make_labels()}
    asked = {"output_attentions": True, "output_hidden_states": True}
    wanted = run(reference, inputs, **asked)
    found = direct(ours, inputs, **asked)
    check_encoder_attentions(kind, found, wanted, inputs)
    real = inputs["attention_mask"][..., None]
    for ours_state, theirs in zip(found["encoder_hidden_states"], wanted.encoder_hidden_states, strict=True):
        compare(kind, f"{length} tokens: encoder hidden states", np.asarray(ours_state) * real, theirs.numpy() * real)
    for name in ("decoder_hidden_states", "decoder_attentions", "cross_attentions"):
        compare(kind, f"{length} tokens: {name.replace('_', ' ')}", found[name], [x.numpy() for x in wanted[name]])
    plain = set(direct(ours, inputs))
    assert plain == {"loss", "logits", "encoder_last_hidden_state"}
    names = {"decoder_hidden_states", "decoder_attentions", "cross_attentions"}
    names |= {"encoder_hidden_states", "encoder_attentions"}
    assert set(found) == plain | names | ({"encoder_global_attentions"} if kind == "led" else set())


def test_no_global_mask_means_no_global_attentions(tmp_path):
    reference, ours = make_pair("led", tmp_path)
    inputs = {**sources("led"), "labels": make_labels()}
    del inputs["global_attention_mask"]
    wanted = run(reference, inputs, output_attentions=True)
    found = direct(ours, inputs, output_attentions=True)
    assert "encoder_global_attentions" not in found
    theirs = [layer.numpy() for layer in wanted.encoder_attentions]
    compare("led", "no global mask: encoder attentions", found["encoder_attentions"], theirs)


def head_masks(seed=0):
    generator = np.random.default_rng(seed)
    names = ("head_mask", "decoder_head_mask", "cross_attn_head_mask")
    return {name: generator.integers(0, 2, (2, 4)).astype("float32") * 0.8 + 0.1 for name in names}


@pytest.mark.quick_in_jax("longt5-tglobal")
def test_head_masks_are_equal(pair):
    kind, reference, ours = pair
    inputs = {**sources(kind), "labels": make_labels(), **head_masks()}
    wanted = run(reference, inputs, output_attentions=True)
    found = direct(ours, inputs, output_attentions=True)
    compare(kind, "head masks: logits", found["logits"], wanted.logits.numpy())
    check_encoder_attentions(kind, found, wanted, inputs)
    for name in ("decoder_attentions", "cross_attentions"):
        compare(kind, f"head masks: {name.replace('_', ' ')}", found[name], [x.numpy() for x in wanted[name]])
    compare_gradients(kind, "head masks: gradients", reference, ours, inputs)


@pytest.mark.quick_in_jax("led")
def test_embeddings_in_place_of_ids_are_equal(pair):
    kind, reference, ours = pair
    inputs, labels = sources(kind), make_labels()
    generator = np.random.default_rng(3)
    inputs.pop("input_ids")
    inputs["inputs_embeds"] = generator.normal(0, 1, (3, 53, 32)).astype("float32")
    inputs["decoder_inputs_embeds"] = generator.normal(0, 1, (3, 7, 32)).astype("float32")
    inputs["labels"] = labels
    wanted = run(reference, inputs)
    found = direct(ours, inputs)
    compare(kind, "embeddings: logits", found["logits"], wanted.logits.numpy())
    compare(kind, "embeddings: loss", found["loss"], wanted.loss.numpy())


@pytest.mark.quick_in_jax("longt5-local")
def test_decoder_masks_are_equal(pair):
    kind, reference, ours = pair
    mask = np.ones((3, 7), "int32")
    mask[1, 5:], mask[2, 3:] = 0, 0
    ids = np.random.default_rng(4).integers(5, 90, (3, 7)).astype("int32")
    inputs = {**sources(kind), "decoder_input_ids": ids, "decoder_attention_mask": mask}
    compare(kind, "decoder mask: logits", ours(inputs)["logits"], run(reference, inputs).logits.numpy())


def compare_caches(kind, case, found, wanted, inputs):
    """Keys and values of the target, and of the document but for its padding."""
    real = inputs["attention_mask"][:, None, :, None]
    theirs = wanted.past_key_values.to_legacy_cache()
    for ours_layer, layer in zip(found["past_key_values"], theirs, strict=True):
        compare(kind, case, ours_layer[:2], tuple(x.numpy() for x in layer[:2]))
        ours_cross = tuple(np.asarray(x) * real for x in ours_layer[2:])
        compare(kind, case, ours_cross, tuple(x.numpy() * real for x in layer[2:]))


@pytest.mark.quick_in_jax("longt5-tglobal")
def test_caches_are_equal_and_continue_alike(pair):
    kind, reference, ours = pair
    inputs = sources(kind)
    ids = np.random.default_rng(5).integers(5, 90, (3, 9)).astype("int32")
    first = {**inputs, "decoder_input_ids": ids[:, :5]}
    wanted, found = run(reference, first, use_cache=True), direct(ours, first, use_cache=True)
    compare_caches(kind, "cache: keys and values", found, wanted, inputs)
    encoded = {"last_hidden_state": found["encoder_last_hidden_state"]}
    rest = {"attention_mask": inputs["attention_mask"], "decoder_input_ids": ids[:, 5:]}
    with torch.no_grad():
        wanted = reference(
            **to_torch(rest),
            encoder_outputs=(wanted.encoder_last_hidden_state,),
            past_key_values=wanted.past_key_values,
        )
    found = direct(ours, rest, encoder_outputs=encoded, past_key_values=found["past_key_values"], use_cache=True)
    compare(kind, "cache: logits of what follows", found["logits"], wanted.logits.numpy())
    compare_caches(kind, "cache: grown keys and values", found, wanted, inputs)


@pytest.mark.quick_in_jax("led")
def test_a_pruned_encoder_is_equal_to_a_masked_one_and_to_the_references_pruning(pair, tmp_path):
    kind, reference, _ = pair
    reference.save_pretrained(tmp_path)
    import tfmodels

    family = "LED" if kind == "led" else "LongT5"
    ours = getattr(tfmodels, f"{family}ForConditionalGeneration").from_pretrained(tmp_path)
    ours.prune_heads({0: [1], 1: [0, 3]})
    ours.prune_heads({1: [3], 0: [2]})
    mask = np.ones((2, 4), "float32")
    mask[0, [1, 2]] = mask[1, [0, 3]] = 0
    inputs = {**sources(kind), "labels": make_labels()}
    wanted = run(reference, {**inputs, "head_mask": mask, "decoder_head_mask": np.ones((2, 4), "float32")})
    compare(kind, "pruned heads: logits", ours(inputs)["logits"], wanted.logits.numpy())
    ours.save_pretrained(tmp_path / "pruned")
    again = type(ours).from_pretrained(tmp_path / "pruned")
    compare(kind, "pruned heads: saved and loaded", again(inputs)["logits"], wanted.logits.numpy())

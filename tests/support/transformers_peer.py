"""Tiny transformers 4.57 models with peaked attention, and the same models of ours."""

import keras
import numpy as np
import torch
import transformers
from backends import value_and_gradients
from routines import as_numpy
from safetensors.torch import save_file
from tiny import FAMILY_OF, settings

import tfmodels
from tfmodels.checkpoints.mapping import weight_entries

PEAKED = (".q.", ".k.", "query", "key", "q_proj", "k_proj")
TABLE = {}
"""(model, "case: output") -> the largest difference; printed after the tests."""


def make_pair(kind, folder, head="ForConditionalGeneration", seed=0, **changes):
    """A reference model with noisy weights and a peaked softmax, and ours loaded from the files that it wrote.

    Uniform attention, which small random weights give, hides errors in masks.
    """
    torch.manual_seed(seed)
    # The families bear the same names in both libraries.
    family = FAMILY_OF[kind].config.__name__.removesuffix("Config")
    config = getattr(transformers, f"{family}Config")(**settings(kind, **changes))
    reference = _reference(family, head, config).eval()
    # Where scores are not scaled, more would make float32 rounding alone pass 1e-4, in transformers too.
    peak = 1.6 if hasattr(config, "d_kv") else 3
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(0.15 * noise if parameter.ndim > 1 else parameter + 0.1 * noise)
            if any(part in name for part in PEAKED):
                parameter.mul_(peak)
        if hasattr(reference, "final_logits_bias"):
            reference.final_logits_bias.normal_(0, 0.1)
    _save(reference, config, folder)
    return reference, getattr(tfmodels, f"{family}{head}").from_pretrained(folder)


def _reference(family, head, config):
    if hasattr(transformers, f"{family}{head}"):
        return getattr(transformers, f"{family}{head}")(config)
    # The reference has no such heads for LongT5: its T5 classes, with LongT5's body in the place of T5's.
    model = getattr(transformers, f"T5{head}")(transformers.T5Config(**config.to_dict() | {"model_type": "t5"}))
    body = transformers.LongT5Model(config)
    if head == "ForSequenceClassification":
        model.transformer = body
    else:
        model.shared, model.encoder, model.decoder = body.shared, body.encoder, body.decoder
    return model


def _save(reference, config, folder):
    if type(reference).__name__.startswith("T5"):
        tensors = {k: v.clone() for k, v in reference.state_dict().items() if "embed_tokens" not in k}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        config.save_pretrained(folder)
    else:
        reference.save_pretrained(folder)


def to_torch(inputs):
    """The inputs as PyTorch wants them."""
    arrays = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
    return {name: value if value.is_floating_point() else value.long() for name, value in arrays.items()}


def real_tokens(hidden_states, attention_mask):
    """The encoder's states with zeros on padding, which has none to compare."""
    return np.where(attention_mask[..., None] != 0, hidden_states, 0)


def compare(model, case, found, wanted, tolerance=1e-4):
    """Assert that arrays (or tuples or dicts of arrays) are equal, and note the largest difference in the table."""
    found, wanted = as_numpy(found), as_numpy(wanted)
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True)
    largest = 0.0
    for ours, theirs in pairs:
        assert ours.shape == theirs.shape
        assert np.isfinite(ours).all()
        largest = max(largest, float(np.max(np.abs(ours - theirs), initial=0.0)))
    TABLE[model, case] = max(TABLE.get((model, case), 0.0), largest)
    assert largest <= tolerance


def compare_gradients(model, case, reference, ours, inputs):
    """Assert that the loss has equal gradients for every weight, within 1e-3 of the largest entry of each."""
    reference.zero_grad()
    reference(**to_torch(inputs)).loss.backward()
    wanted = {name: parameter.grad for name, parameter in reference.named_parameters()}
    found = [slot for slot in weight_entries(ours, ours.weight_map(ours.config).rules) if slot.weight.trainable]
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    weights = [slot.weight for slot in found]
    _, _, gradients = value_and_gradients(lambda given: (ours(given)["loss"], None), inputs, ours, variables=weights)
    largest = 0.0
    for slot, gradient in zip(found, gradients, strict=True):
        theirs, gradient = wanted[slot.name].numpy(), np.asarray(gradient)
        difference = np.abs((gradient.T if slot.transpose else gradient) - theirs).max()
        largest = max(largest, difference / max(np.abs(theirs).max(), 1e-3))
        assert largest <= 1e-3, slot.name
    TABLE[model, case] = largest

"""Tiny transformers 4.57 models with peaked attention, and the same models of ours."""

import numpy as np
import torch
import transformers
from tiny import settings

import tfmodels

PEAKED = (".q.", ".k.", "query", "key", "q_proj", "k_proj")
# LongT5 does not scale its scores: more than this, and float32 rounding alone passes 1e-4 (in transformers too).


def make_pair(kind, folder, seed=0, **changes):
    """A reference model with noisy weights and a peaked softmax, and ours loaded from the files that it wrote.

    Uniform attention, which small random weights give, hides errors in masks.
    """
    torch.manual_seed(seed)
    family = "LED" if kind == "led" else "LongT5"
    config = getattr(transformers, f"{family}Config")(**settings(kind, **changes))
    reference = getattr(transformers, f"{family}ForConditionalGeneration")(config).eval()
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(0.15 * noise if parameter.ndim > 1 else parameter + 0.1 * noise)
            if any(part in name for part in PEAKED):
                parameter.mul_(3 if kind == "led" else 2)
        if kind == "led":
            reference.final_logits_bias.normal_(0, 0.1)
    reference.save_pretrained(folder)
    return reference, getattr(tfmodels, f"{family}ForConditionalGeneration").from_pretrained(folder)


def to_torch(inputs):
    """The inputs as PyTorch wants them."""
    return {name: torch.from_numpy(np.asarray(value)).long() for name, value in inputs.items()}

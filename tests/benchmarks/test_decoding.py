"""What a decoding step must read, beside the reference's own weights and cache."""

import pytest
import torch
import transformers

from benchmarks.decoding import cross_cache_bytes, step_bytes
from benchmarks.models import class_name, config_fields

FLOAT32_BYTES = 4
LENGTH = 24
# What the document's keys and values are made with, and the tables of which a step reads one row.
READ_BEFORE = ("encoder_attn.k_proj", "encoder_attn.v_proj", "EncDecAttention.k", "EncDecAttention.v")
TABLES = ("embed_tokens", "embed_positions", "relative_attention_bias")


def reference(family):
    fields = config_fields(family, "tiny", LENGTH)
    config = getattr(transformers, class_name(family, "Config"))(**fields)
    return getattr(transformers, class_name(family, "ForConditionalGeneration"))(config).eval(), fields


@pytest.mark.parametrize("family", ["led", "longt5-tglobal", "longt5-local"])
def test_a_step_reads_every_matrix_of_the_decoder_but_what_made_the_encoder_cache(family):
    model, fields = reference(family)
    matrices = [
        weight
        for name, weight in model.get_decoder().named_parameters()
        if weight.dim() == 2 and not any(part in name for part in (*READ_BEFORE, *TABLES))
    ]
    read = sum(weight.numel() for weight in (*matrices, model.get_output_embeddings().weight))
    cache = cross_cache_bytes(family, fields, LENGTH)
    assert step_bytes(family, fields, LENGTH) == FLOAT32_BYTES * read + cache


@pytest.mark.parametrize("family", ["led", "longt5-tglobal"])
def test_the_encoder_cache_is_the_references(family):
    model, fields = reference(family)
    states, ids = torch.zeros(1, LENGTH, fields["d_model"]), torch.zeros(1, 1, dtype=torch.long)
    with torch.no_grad():
        outputs = model(encoder_outputs=(states,), decoder_input_ids=ids, use_cache=True)
    layers = outputs.past_key_values.cross_attention_cache.layers
    counted = sum(kept.numel() for layer in layers for kept in (layer.keys, layer.values))
    assert cross_cache_bytes(family, fields, LENGTH) == FLOAT32_BYTES * counted

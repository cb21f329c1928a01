"""Tiny models of every kind, and inputs that are odd, padded and mixed.

A kind is a variant of a family, such as "longt5-local"; all of them are read from the registry of families.
"""

import dataclasses

import numpy as np

from tfmodels.auto import FAMILIES

FAMILY_OF = {name: family for family in FAMILIES.values() for name in family.variants}
KINDS = tuple(FAMILY_OF)
VOCABULARY = 90
_NAMES_OF_HEADS = {
    "Model": "none",
    "ForConditionalGeneration": "language_model",
    "ForSequenceClassification": "sequence_classification",
    "ForQuestionAnswering": "question_answering",
}
HEADS = tuple(_NAMES_OF_HEADS)
"""The suffixes of the public classes; a family has its classes by other names."""


def settings(kind, **changes):
    """Config fields of one kind of model, which both libraries take."""
    family = FAMILY_OF[kind]
    return {**family.minimal, **family.variants[kind], **changes}


def one_layer(kind):
    """Config fields of an encoder and a decoder of one layer."""
    fields = settings(kind)
    layers = {name: 1 for name in fields if name.endswith("layers")}
    return layers | {name: value[0] for name, value in fields.items() if isinstance(value, list)}


def no_dropout(kind):
    """Config fields with which training draws nothing."""
    return {field.name: 0.0 for field in dataclasses.fields(FAMILY_OF[kind].config) if "dropout" in field.name}


def make_config(kind, **changes):
    return FAMILY_OF[kind].config(**settings(kind, **changes))


def model_class(kind, head="ForConditionalGeneration"):
    return FAMILY_OF[kind].models[_NAMES_OF_HEADS[head]]


def make_model(kind, dtype=None, head="ForConditionalGeneration", **changes):
    return model_class(kind, head)(make_config(kind, **changes), dtype=dtype)


def make_shallow_model(kind, **changes):
    """Of one layer, for what does not depend on how many there are: half of the time of every compiler."""
    return make_model(kind, **{**one_layer(kind), **changes})


def make_encoder(kind, dtype=None, **changes):
    return FAMILY_OF[kind].encoder(make_config(kind, **changes), dtype=dtype)


def make_inputs(kind, length=53, lengths=(53, 40, 9), marked=(1, 5, 2), seed=0):
    """Source inputs of one kind: mixed lengths, and several global tokens where the family has them."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(length)[None] < np.minimum(lengths, length)[:, None]).astype("int32")
    ids = generator.integers(5, VOCABULARY, mask.shape).astype("int32")
    ids = np.where(mask == 1, ids, make_config(kind).pad_token_id).astype("int32")
    inputs = {"input_ids": ids, "attention_mask": mask}
    if "global_attention_mask" in FAMILY_OF[kind].encoder.input_names:
        inputs["global_attention_mask"] = np.zeros_like(mask)
        for row, count in enumerate(marked):
            places = generator.permutation(min(lengths[row], length))[:count]
            inputs["global_attention_mask"][row, places] = 1
    return inputs


def make_labels(length=7, rows=3, seed=1):
    """Targets, the second and third of them shorter."""
    labels = np.random.default_rng(seed).integers(5, VOCABULARY, (rows, length)).astype("int32")
    for row in range(1, rows):
        labels[row, max(1, length - 2 * row) :] = -100
    return labels


def make_inputs_for(kind, head, length=29, rows=3, seed=0):
    """Inputs of every kind of head: rows that end in one end token, and targets where the head has such."""
    lengths = tuple(max(1, length * (4 - row) // 4) for row in range(rows))
    inputs = make_inputs(kind, length, lengths=lengths, marked=(1, 3, 0)[:rows], seed=seed)
    for row, end in enumerate(lengths):
        inputs["input_ids"][row, end - 1] = make_config(kind).eos_token_id
    generator = np.random.default_rng(seed + 1)
    if head == "Model":
        inputs["decoder_input_ids"] = generator.integers(5, VOCABULARY, (rows, 6)).astype("int32")
    elif head == "ForConditionalGeneration":
        inputs["labels"] = make_labels(rows=rows)
    elif head == "ForSequenceClassification":
        inputs["labels"] = generator.integers(0, 2, (rows,)).astype("int32")
    else:
        inputs["start_positions"] = generator.integers(0, 3, (rows,)).astype("int32")
        inputs["end_positions"] = inputs["start_positions"] + 1
    return inputs

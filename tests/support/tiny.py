"""Tiny models of every kind, and inputs that are odd, padded and mixed."""

import numpy as np

import tfmodels

VOCABULARY = 90
LONGT5 = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "local_radius": 7,
    "global_block_size": 4,
    "decoder_start_token_id": 0,
}
LED = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "attention_window": [8, 16],
    "max_encoder_position_embeddings": 160,
    "max_decoder_position_embeddings": 32,
}
KINDS = ("led", "longt5-local", "longt5-tglobal")


def settings(kind, **changes):
    """Config fields of one kind of model, which both libraries take."""
    if kind == "led":
        return {**LED, **changes}
    attention = "local" if kind == "longt5-local" else "transient-global"
    return {**LONGT5, "encoder_attention_type": attention, **changes}


def one_layer(kind):
    """Config fields of an encoder and a decoder of one layer."""
    return {"encoder_layers": 1, "decoder_layers": 1, "attention_window": 8} if kind == "led" else {"num_layers": 1}


def make_config(kind, **changes):
    config_class = tfmodels.LEDConfig if kind == "led" else tfmodels.LongT5Config
    return config_class(**settings(kind, **changes))


HEADS = ("Model", "ForConditionalGeneration", "ForSequenceClassification", "ForQuestionAnswering")


def model_class(kind, head="ForConditionalGeneration"):
    return getattr(tfmodels, f"{'LED' if kind == 'led' else 'LongT5'}{head}")


def make_model(kind, dtype=None, head="ForConditionalGeneration", **changes):
    return model_class(kind, head)(make_config(kind, **changes), dtype=dtype)


def make_encoder(kind, dtype=None, **changes):
    encoder_class = tfmodels.LEDEncoder if kind == "led" else tfmodels.LongT5Encoder
    return encoder_class(make_config(kind, **changes), dtype=dtype)


def make_inputs(kind, length=53, lengths=(53, 40, 9), marked=(1, 5, 2), seed=0):
    """Source inputs of one kind: mixed lengths, and for LED several global tokens."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(length)[None] < np.minimum(lengths, length)[:, None]).astype("int32")
    ids = generator.integers(5, VOCABULARY, mask.shape).astype("int32")
    inputs = {"input_ids": ids * mask, "attention_mask": mask}
    if kind == "led":
        inputs["input_ids"] = np.where(mask == 1, ids, 1).astype("int32")
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
        inputs["input_ids"][row, end - 1] = 2 if kind == "led" else 1
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

"""What both sides of the full-size comparison agree on: configs, inputs and files. Needs NumPy alone."""

import hashlib

import numpy as np

LED = {
    "vocab_size": 50265,
    "d_model": 768,
    "encoder_layers": 6,
    "decoder_layers": 6,
    "encoder_attention_heads": 12,
    "decoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "decoder_ffn_dim": 3072,
    "attention_window": [1024] * 6,
    "max_encoder_position_embeddings": 16384,
    "max_decoder_position_embeddings": 1024,
    "decoder_start_token_id": 2,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
LONGT5 = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "local_radius": 127,
    "global_block_size": 16,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
TINY = {
    "led": {
        "vocab_size": 90,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "attention_window": [8, 16],
    },
    "longt5": {
        "vocab_size": 90,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "local_radius": 7,
    },
}
MODELS = ("led", "longt5-tglobal", "longt5-local")
SIZES = ("base", "tiny")
# How much larger than at their initialisation the weights of queries and keys are: the softmax is then peaked.
PEAK = {"led": 3.0, "longt5": 1.5}

SAFETENSORS, HEADLESS = "safetensors", "headless .bin, flax beside"
TORCH_FORMATS = (SAFETENSORS, "sharded safetensors", ".bin", "sharded .bin")


def family(model):
    """ "led" or "longt5"."""
    return model.partition("-")[0]


def formats(model):
    """Names of the formats in which transformers can write a model; each is a folder too."""
    return (*TORCH_FORMATS, *((".h5",) if model == "led" else (".msgpack", "sharded .msgpack", HEADLESS)))


def class_name(model):
    """The class in transformers and in tfmodels."""
    return {"led": "LED", "longt5": "LongT5"}[family(model)] + "ForConditionalGeneration"


def settings(model, size):
    """Fields of the config, which both libraries take."""
    found = dict(LED if model == "led" else LONGT5)
    if size == "tiny":
        found |= TINY[family(model)]
    if model != "led":
        found["encoder_attention_type"] = "local" if model == "longt5-local" else "transient-global"
    return found


def make_inputs(model, size, length):
    """Documents with padding, for LED with several global tokens, and decoder inputs, as int64 arrays."""
    config, generator = settings(model, size), np.random.default_rng(length)
    # One row where two would take too much of the reference's memory.
    lengths = np.array([length * 11 // 12] if length > 8192 else [length, length * 5 // 7])
    mask = (np.arange(length)[None] < lengths[:, None]).astype("int64")
    ids = generator.integers(5, config["vocab_size"], mask.shape)
    inputs = {
        "input_ids": np.where(mask == 1, ids, config["pad_token_id"]),
        "attention_mask": mask,
        "decoder_input_ids": generator.integers(5, config["vocab_size"], (len(lengths), 32)),
    }
    if model == "led":
        inputs["global_attention_mask"] = np.zeros_like(mask)
        for row, real in enumerate(lengths):
            inputs["global_attention_mask"][row, [0, *generator.permutation(real)[:7]]] = 1
    return inputs


def digest(array):
    """A short text that two arrays share if their types, shapes and bits are equal."""
    head = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:32]


def compare(found, wanted, real=None):
    """The largest difference, and the scale that it is measured by: the wanted values' root mean square, at least 1.

    Args:
        found, wanted: Arrays (B, L, D).
        real: (B, L), 1 where rows count.
    """
    rows = np.ones(wanted.shape[:2], bool) if real is None else real.astype(bool)
    largest = float(np.abs(found[rows] - wanted[rows]).max())
    scale = max(1.0, float(np.sqrt(np.square(wanted[rows], dtype="float64").mean())))
    return {"difference": largest, "scale": scale, "finite": bool(np.isfinite(found[rows]).all())}

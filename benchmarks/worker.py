"""One side of one job in a process of its own: prints seconds and peak memory as one JSON line.

Base-size models with random weights, batch 1, float32, one global token for LED.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from typing import Any

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
    "attention_window": 1024,
    "max_encoder_position_embeddings": 65536,
    "max_decoder_position_embeddings": 1024,
}
LONGT5 = {
    "vocab_size": 32128,
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "led": ("LED", LED),
    "longt5-local": ("LongT5", {**LONGT5, "encoder_attention_type": "local"}),
    "longt5-tglobal": ("LongT5", {**LONGT5, "encoder_attention_type": "transient-global"}),
}
NEW_TOKENS = 64


def make_inputs(family: str, length: int) -> dict[str, np.ndarray]:
    """One document of random ids without padding."""
    ids = np.random.default_rng(0).integers(5, 32000, (1, length)).astype("int32")
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if family == "led":
        inputs["global_attention_mask"] = (np.arange(length) == 0).astype("int32")[None]
    return inputs


def our_job(family: str, job: str, length: int, beams: int) -> Callable[[], Any]:
    """The job with tfmodels on TensorFlow, under XLA."""
    import tensorflow as tf

    import tfmodels

    name, fields = FAMILIES[family]
    config = getattr(tfmodels, f"{name}Config")(**fields)
    model = getattr(tfmodels, f"{name}ForConditionalGeneration")(config)
    tensors = {key: tf.constant(value) for key, value in make_inputs(family, length).items()}
    if job == "encode":
        encode = tf.function(
            lambda given: model.encode(**given)["last_hidden_state"], jit_compile=True, autograph=False
        )
        return lambda: encode(tensors).numpy()
    search = {"num_beams": beams, "max_new_tokens": NEW_TOKENS, "min_length": NEW_TOKENS + 1}
    return lambda: model.generate(**tensors, **search, jit_compile=True).numpy()


def their_job(family: str, job: str, length: int, beams: int) -> Callable[[], Any]:
    """The job with transformers on PyTorch, eager, with its default attention and thread count."""
    import torch
    import transformers

    name, fields = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**fields)
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config).eval()
    inputs = {key: torch.from_numpy(value).long() for key, value in make_inputs(family, length).items()}
    if job == "encode":
        return torch.no_grad()(lambda: model.get_encoder()(**inputs))
    search = {"num_beams": beams, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    return torch.no_grad()(lambda: model.generate(**inputs, **search))


def main() -> None:
    """Run one side and print its figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.worker")
    parser.add_argument("side", choices=("ours", "theirs"))
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("job", choices=("encode", "generate"))
    parser.add_argument("length", type=int)
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    make = our_job if options.side == "ours" else their_job
    run = make(options.family, options.job, options.length, options.beams)
    run()  # traces and compiles
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": float(np.median(seconds)), "peak_gb": peak}))


if __name__ == "__main__":
    main()

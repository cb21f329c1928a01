"""A session whose deadline is over frees the cores: a server runs each request in one, with the request's deadline."""

import time

import pytest
import tensorflow as tf
from exported import exported
from tiny import make_model

from export import Batching, export_saved_model
from export.client.saved_model_client import _load_text_ops

NEW_TOKENS = 400


# A model of its own, whose search takes a second.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("batching", [None, Batching(tokens=64)])
def test_a_search_uses_no_cores_behind_its_deadline(batching, tmp_path):
    tokenizer = exported("led").tokenizer
    model = make_model("led", vocab_size=tokenizer.vocab_size, max_decoder_position_embeddings=2 * NEW_TOKENS)
    settings = {"num_beams": 4, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
    model.generation_config = model.generation_config.replace(**settings)
    names = ("serving_default",)
    export_saved_model(
        model, tokenizer, tmp_path / "1", lengths=(64,), signatures=names, warm_up=False, batching=batching
    )
    _load_text_ops()
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "1"))
        signature = loaded.signature_def["serving_default"]

        def ask(**options):
            started = time.perf_counter(), time.process_time()
            try:
                session.run(
                    signature.outputs["text"].name,
                    {signature.inputs["text"].name: ["a document"]},
                    options=tf.compat.v1.RunOptions(**options) if options else None,
                )
            finally:
                ask.seconds, ask.cpu_seconds = time.perf_counter() - started[0], time.process_time() - started[1]

        ask()
        ask()
        whole, cpu = ask.seconds, ask.cpu_seconds
        with pytest.raises(tf.errors.DeadlineExceededError):
            ask(timeout_in_ms=int(250 * whole))
        before = time.process_time()
        time.sleep(1.5 * whole)
        behind = time.process_time() - before
    print(f"{cpu:.2f} CPU seconds whole, {ask.cpu_seconds:.2f} up to the deadline, {behind:.2f} behind it")
    assert ask.cpu_seconds < 0.6 * cpu
    assert behind < 0.2 * cpu

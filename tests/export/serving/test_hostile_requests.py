"""A server under mixed and hostile requests from eight threads: every good one is answered right, every bad one is an
error that names the input, and the server keeps its memory."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exported import LENGTHS, TEXTS, serving

from export import Batching, export_saved_model
from export.client.server_client import GrpcClient, RestClient

THREADS = 8
LARGE = "def push(self, item): self.items.append(item)\n" * 110_000  # 5 MB
ENTRIES = ("input_ids", "attention_mask", "global_attention_mask")


def good_requests(led):
    """(weight, signature, inputs, wanted outputs) of requests that must be answered."""
    texts = [*TEXTS, *("the width of the area is " * count for count in (1, 3, 7, 20))]
    expected = led.summaries(texts)
    for text, answer in zip(texts, expected, strict=True):
        yield 4, "serving_default", {"text": [text]}, {"text": [answer]}
    yield 6, "serving_default", {"text": texts[:3]}, {"text": expected[:3]}
    broken = "naïve".encode()[:3] + b"\xff def f(x)"
    whole = broken.decode("utf-8", "replace")
    yield 4, "serving_default", {"text": [broken]}, {"text": led.summaries([whole])}
    yield 1, "serving_default", {"text": [LARGE]}, {"text": led.summaries([LARGE[:100_000]]), "truncated": [True]}
    numbers = {"max_new_tokens": [8, 8], "num_return_sequences": [1, 1]}
    several = [[answer] for answer in expected[:2]]
    yield 6, "summarize", {"text": texts[:2], **numbers}, {"text": np.array(several, dtype=object)}
    inputs = led.tokenizer(texts[:2], max_length=20)
    outputs = led.model.generate(**inputs, return_dict=True, output_scores=False)
    # As TensorFlow Serving pads a batch: with a row's first element. The mask says what is real.
    inputs["input_ids"] = np.where(inputs["attention_mask"] == 1, inputs["input_ids"], inputs["input_ids"][:, :1])
    yield 6, "generate", inputs, {"sequences": np.asarray(outputs["sequences"])}


def bad_requests():
    """(weight, signature, inputs, what the error must say) of requests that must be refused."""
    ids = np.ones((1, 5), "int32")
    inputs = dict.fromkeys(ENTRIES, ids)
    text, one = np.array([b"text"], dtype=object), np.int32([1])
    summarize = {"text": text, "max_new_tokens": one, "num_return_sequences": one}
    for signature, changed, expected in [
        # What the server or the graph says first names the op; what was sent is told beside it.
        ("serving_default", {"text": one}, "text int32 (1,)"),
        ("serving_default", {"text": text[None]}, "text string (1, 1)"),
        ("serving_default", {"text": text.reshape(())}, "text string ()"),
        ("serving_default", {}, "Missing but required: {text}"),
        ("serving_default", {"text": text, "texts": text}, "Sent extra: {texts}"),
        ("summarize", {**summarize, "max_new_tokens": one * 9}, "max_new_tokens must be from 1 to 8"),
        ("summarize", {**summarize, "num_return_sequences": one * 0}, "num_return_sequences must be from 1 to 2"),
        (
            "summarize",
            {**summarize, "max_new_tokens": np.int32([1, 1])},
            "max_new_tokens must hold one number for each",
        ),
        ("generate", {**inputs, "input_ids": ids.astype("float32")}, "input_ids float32 (1, 5)"),
        ("generate", {**inputs, "attention_mask": ids[0]}, "attention_mask int32 (5,)"),
        ("generate", {**inputs, "attention_mask": ids[:, :3]}, "attention_mask must have the shape of input_ids"),
        ("generate", {"input_ids": ids, "global_attention_mask": ids}, "Missing but required: {attention_mask}"),
        ("generate", {**inputs, "input_ids": ids * 100_000}, "input_ids must be from 0 to 399"),
        ("generate", dict.fromkeys(ENTRIES, np.ones((1, LENGTHS[-1] + 1), "int32")), "input_ids must have at most 64"),
    ]:
        yield 2, signature, changed, expected


def ask_all(server, good, bad, count, seed):
    """Send `count` requests from `THREADS` threads; what went wrong, as text."""
    choices = [*((True, *request) for request in good), *((False, *request) for request in bad)]
    chosen = random.Random(seed).choices(choices, [request[1] for request in choices], k=count)

    def ask(number, is_good, _, signature, inputs, wanted):
        # Both clients take part; what they themselves would refuse is sent all the same.
        client = clients[number % len(clients)]
        spec = client.signatures()[signature]
        try:
            actual = client.ask_unchecked(signature, spec.arrays(inputs) if is_good else inputs)
        except ValueError as error:
            return None if not is_good and wanted in str(error) else f"{signature}: {error}, wanted {wanted}"
        if not is_good:
            return f"{signature}: answered, wanted {wanted}"
        equal = all(np.array_equal(actual[name], value) for name, value in wanted.items())
        return None if equal else f"{signature}: {actual}, wanted {wanted}"

    clients = [GrpcClient(server.grpc, timeout=120), GrpcClient(server.grpc, timeout=120)]
    with ThreadPoolExecutor(THREADS) as pool:
        problems = list(pool.map(lambda pair: ask(pair[0], *pair[1]), enumerate(chosen)))
    return [problem for problem in problems if problem is not None]


def test_mixed_and_hostile_requests_are_answered_right_or_refused_by_name(led, led_server):
    assert ask_all(led_server, list(good_requests(led)), list(bad_requests()), 200, seed=0) == []


def test_rest_answers_and_refuses_alike(led, led_server):
    client = RestClient(led_server.rest, timeout=120)
    for _, signature, inputs, expected in good_requests(led):
        actual = client(signature, **inputs)
        assert all(np.array_equal(actual[name], value) for name, value in expected.items())
    with pytest.raises(ValueError, match="input_ids must be from 0 to 399"):
        client(
            "generate", **{**dict.fromkeys(ENTRIES, np.ones((1, 5), "int32")), "input_ids": np.full((1, 5), 100_000)}
        )


@pytest.mark.slow
@pytest.mark.parametrize("batching", [None, Batching(tokens=4 * LENGTHS[-1])], ids=["no batches", "in the graph"])
def test_the_server_keeps_its_memory_over_two_thousand_requests(led, batching, tmp_path):
    folder = led.folder if batching is None else tmp_path / "served"
    if batching is not None:
        export_saved_model(led.model, led.tokenizer, folder / "1", lengths=LENGTHS, batching=batching)
    good, bad = list(good_requests(led)), list(bad_requests())
    with serving(folder) as server:
        assert ask_all(server, good, bad, 1000, seed=1) == []
        before = server.held_bytes()
        assert ask_all(server, good, bad, 1000, seed=2) == []
        after = server.held_bytes()
    print(f"server: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")
    assert after <= 1.03 * before

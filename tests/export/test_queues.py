"""Documents that share batches in the graph answer as they do alone, whoever asks for what beside them.

The queue of short documents waits for a second one, for longer than a test may take: a pair is answered at once only if
it shares a batch.
"""

import itertools
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from exported import ANSWERER, CLASSIFIER, LENGTHS, QUESTIONS, TEXTS, exported, loaded

from export import Batching, export_saved_model
from export.__main__ import main
from export.client.saved_model_client import SavedModel, load_saved_model

THREADS = 8
# Two documents of the shorter length share a batch, and none of the longer.
TOKENS = 2 * LENGTHS[0]
PATIENCE = 6.0
# Of fewer bytes than the shorter length has tokens, whatever the vocabulary.
SHORT, LONG = TEXTS[0][:8], TEXTS[2]
HOSTILE = ("", b"\xff\xfe def f(x)", "def " * 20_000, "\x00", "</s> <pad>")


@pytest.fixture(scope="module")
def queued(tmp_path_factory):
    """A summariser with queues, beside the same one without."""
    served = exported("led")
    path = tmp_path_factory.mktemp("queued") / "1"
    batching = Batching(tokens=TOKENS, timeout_ms=int(PATIENCE * 1000))
    names = ("serving_default", "summarize", "generate")
    export_saved_model(
        served.model, served.tokenizer, path, lengths=LENGTHS, signatures=names, warm_up=False, batching=batching
    )
    return SavedModel(path)


def alone(text):
    """The answer of the export without queues to one text."""
    answer = loaded("led").signatures["serving_default"](text=tf.constant([text]))
    return answer["text"].numpy()[0].decode("utf-8", "replace"), bool(answer["truncated"].numpy()[0])


def ask(model, texts):
    answer = model(text=list(texts))
    return list(zip(answer["text"].tolist(), answer["truncated"].tolist(), strict=True))


def test_documents_of_one_length_share_a_batch_and_others_do_not_wait_for_them(queued):
    wanted = {text: alone(text) for text in (SHORT, LONG)}
    # What runs for the first time is prepared first.
    ask(queued, [SHORT, SHORT, LONG])
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda text: ask(queued, [text]), [SHORT, SHORT])) == [[wanted[SHORT]]] * 2
        waiting = pool.submit(ask, queued, [SHORT])
        # A batch of its own, while the short one waits.
        assert ask(queued, [LONG]) == [wanted[LONG]]
        assert not waiting.done()
        assert ask(queued, [LONG, SHORT]) == [wanted[LONG], wanted[SHORT]]
        assert waiting.result() == [wanted[SHORT]]
    assert time.monotonic() - start < PATIENCE


def test_a_lone_document_waits_as_long_as_it_is_told_to_and_a_refused_one_is_no_company(queued):
    wanted, numbers = alone(SHORT), {"max_new_tokens": [8], "num_return_sequences": [99]}
    with pytest.raises(ValueError, match="num_return_sequences must be from 1 to"):
        queued("summarize", text=[SHORT], **numbers)
    start = time.monotonic()
    assert ask(queued, [SHORT]) == [wanted]
    assert PATIENCE / 2 < time.monotonic() - start < 3 * PATIENCE


def test_rows_of_ids_share_the_batches_of_texts_by_their_own_tokens(queued):
    rows = {text: exported("led").tokenizer([text], max_length=LENGTHS[-1]) for text in (SHORT, LONG)}
    whole = loaded("led").signatures["generate"]
    wanted = {text: whole(**{key: tf.constant(value) for key, value in one.items()}) for text, one in rows.items()}
    # As a server pads them: with a row's own first token, and no mask.
    padded = {key: np.concatenate([rows[SHORT][key], rows[LONG][key]]) for key in rows[SHORT]}
    padded["input_ids"] = np.where(padded["attention_mask"] == 0, padded["input_ids"][:, :1], padded["input_ids"])
    # What runs for the first time is prepared first.
    queued("generate", **{key: value[[0, 0, 1]] for key, value in padded.items()})
    assert ask(queued, [SHORT, SHORT]) == [alone(SHORT)] * 2
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        text = pool.submit(ask, queued, [SHORT])
        answer = queued("generate", **padded)
        short = text.result()
    assert time.monotonic() - start < PATIENCE
    assert short == [alone(SHORT)]
    for row, expected in zip(answer["sequences"], wanted.values(), strict=True):
        np.testing.assert_array_equal(row, expected["sequences"].numpy()[0])
    np.testing.assert_allclose(answer["scores"], [one["scores"].numpy()[0] for one in wanted.values()], atol=1e-4)


def test_eight_threads_get_the_answers_of_documents_alone_in_order_whatever_is_asked_beside_them(queued):
    texts = [*TEXTS, *HOSTILE, *("the width of the area is " * count for count in (1, 3, 7, 20))]
    wanted = {text: alone(text) for text in texts}

    def right(seed):
        chosen = random.Random(seed).choices(texts, k=1 + seed % 5)
        return ask(queued, chosen) == [wanted[text] for text in chosen]

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(right, range(40)))
    # More than a batch holds, and none.
    assert ask(queued, texts * 3) == [wanted[text] for text in texts] * 3
    assert ask(queued, []) == []


def test_a_bad_request_is_refused_alone_and_requests_keep_numbers_of_their_own(queued):
    numbers = list(itertools.product((1, 8), (1, 2)))
    expected = {
        (limit, count): loaded("led").signatures["summarize"](
            text=tf.constant([LONG]), max_new_tokens=tf.constant([limit]), num_return_sequences=tf.constant([count])
        )["text"]
        for limit, count in numbers
    }

    def request(seed):
        limit, count = numbers[seed % 4]
        limits = [9 if seed % 5 == 0 else limit]
        try:
            answer = queued("summarize", text=[LONG], max_new_tokens=limits, num_return_sequences=[count])
        except ValueError as error:
            return limits == [9] and "max_new_tokens must be from 1 to 8" in str(error)
        return answer["text"].tolist() == [[text.decode() for text in expected[limit, count].numpy()[0]]]

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(request, range(20)))


@pytest.mark.quick("ForQuestionAnswering")
@pytest.mark.parametrize("head", [ANSWERER, CLASSIFIER])
def test_rows_of_every_length_in_one_request_come_together_again(head, tmp_path):
    served = exported("led", head)
    settings = {"signatures": ("serving_default",), "warm_up": False, "batching": Batching(tokens=TOKENS)}
    export_saved_model(served.model, served.tokenizer, tmp_path / "1", lengths=LENGTHS, **settings)
    texts = [text for text in (*TEXTS, *reversed(TEXTS)) for _ in range(2)]
    inputs = {"text": tf.constant(texts)}
    if head == ANSWERER:
        inputs["question"] = tf.constant([*QUESTIONS, *QUESTIONS] * 2)
    answer = load_saved_model(tmp_path / "1").signatures["serving_default"](**inputs)
    whole = loaded("led", head).signatures["serving_default"](**inputs)
    for name, values in answer.items():
        if values.dtype.is_floating:
            np.testing.assert_allclose(values, whole[name], atol=1e-4)
        else:
            np.testing.assert_array_equal(values, whole[name])
    assert json.loads((tmp_path / "1" / "manifest.json").read_text())["batching"]["tokens"] == TOKENS
    # The server's own batching is off for this version.
    assert not (tmp_path / "1" / "batching_params.pbtxt").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens": 0}, "batching.tokens must be a positive integer"),
        ({"tokens": 64, "threads": 0}, "batching.threads must be a positive integer"),
        ({"tokens": 64, "timeout_ms": -1}, "batching.timeout_ms must be 0 or more"),
    ],
)
def test_bad_settings_are_errors_that_name_them(settings, message):
    with pytest.raises(ValueError, match=message):
        Batching(**settings)


def test_the_programs_settings_of_batches_need_their_size(tmp_path, capsys):
    served = exported("led", ANSWERER)
    served.model.save_pretrained(tmp_path / "model")
    served.tokenizer.save_pretrained(tmp_path / "model")
    options = ["--model", tmp_path / "model", "--output", tmp_path / "served", "--batch-threads", "2"]
    assert main([*map(str, options)]) == 2
    assert "--batch-threads needs --batch-tokens" in capsys.readouterr().err

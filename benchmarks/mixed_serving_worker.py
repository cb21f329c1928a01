"""One way of batching in the mixed serving benchmark, in its own process: `python -m benchmarks.mixed_serving_worker`.

`write` exports one model with and without queues in its graph, and the two documents; `ask` asks for documents from
several threads, with TensorFlow alone, as on a server. Prints one line of JSON.
"""

import argparse
import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.memory import peak_bytes, reset_peak
from benchmarks.serving_worker import DOCUMENTS, document, random_model, worker_parser
from export.client.strict_json import dumped

# Those of export/serving/batching.txt.
_SERVER = {"num_batch_threads": 2, "max_batch_size": 4, "batch_timeout_micros": 20_000, "max_enqueued_batches": 16}


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Export a model, once with queues, and write the short and the long document."""
    from export import Batching, export_saved_model

    options.beams = 1
    model, tokenizer, settings = random_model(options)
    for name, batching in (("plain", None), ("queued", Batching(tokens=options.batch_tokens))):
        export_saved_model(
            model,
            tokenizer,
            options.folder / name / "1",
            lengths=options.lengths,
            generation_config=settings,
            signatures=("serving_default",),
            warm_up=False,
            batching=batching,
        )
    texts = [document(tokenizer, tokens) for tokens in (options.short, options.long)]
    (options.folder / DOCUMENTS).write_text(dumped(texts), encoding="utf-8")
    return {"parameters": model.count_params()}


def ask(options: argparse.Namespace) -> dict[str, Any]:
    """Ask for documents from several threads.

    Returns:
        "short" and "long": number, median and 95th percentile of their seconds; documents
        "per_minute" and "cpu_seconds" of each; "wrong", the
        number of answers that were not those of the document alone; "answers", those; "peak_gb" of the process.
    """
    from export.client.saved_model_client import import_server_libraries

    import_server_libraries()
    from export.client.saved_model_client import load_saved_model

    texts = json.loads((options.folder / DOCUMENTS).read_text(encoding="utf-8"))
    loaded = load_saved_model(options.folder / ("queued" if options.way == "graph" else "plain") / "1")
    answer = _batched(loaded) if options.way == "server" else _alone(loaded)
    # Alone, before the clock starts. The first request of each length waits for TensorFlow to prepare the graph.
    for text in texts:
        answer(text)
    wanted = [answer(text) for text in texts]
    reset_peak()
    figures = _closed_loop(answer, texts, wanted, options)
    return figures | {"answers": wanted, "peak_gb": peak_bytes() / 1e9}


def _alone(loaded: Any) -> Callable[[str], str]:
    """Each request runs when it comes."""
    import tensorflow as tf

    def answer(text: str) -> str:
        return loaded.signatures["serving_default"](text=tf.constant([text]))["text"].numpy()[0].decode()

    return answer


def _batched(loaded: Any) -> Callable[[str], str]:
    """Requests share batches in front of the model: the scheduler is that of TensorFlow Serving's batching session."""
    import tensorflow as tf

    queue = tf.nondifferentiable_batch_function(**_SERVER, autograph=False)
    batched = tf.function(
        queue(lambda text: loaded.signatures["serving_default"](text=text)["text"]),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    return lambda text: batched(tf.constant([text])).numpy()[0].decode()


def _closed_loop(
    answer: Callable[[str], str], texts: Sequence[str], wanted: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    kinds = random.Random(0).choices((0, 1), (100 - options.percent_long, options.percent_long), k=100_000)
    order, lock = iter(kinds), threading.Lock()
    taken: list[tuple[int, float, bool]] = []
    start, used = time.perf_counter(), time.process_time()

    def work() -> None:
        while time.perf_counter() - start < options.seconds:
            with lock:
                kind = next(order)
            begun = time.perf_counter()
            is_right = answer(texts[kind]) == wanted[kind]
            taken.append((kind, time.perf_counter() - begun, is_right))

    with ThreadPoolExecutor(options.threads) as pool:
        for future in [pool.submit(work) for _ in range(options.threads)]:
            future.result()
    elapsed = time.perf_counter() - start
    by_kind = [[seconds for kind, seconds, _ in taken if kind == wanted_kind] for wanted_kind in (0, 1)]
    return {
        "short": _summary(by_kind[0]),
        "long": _summary(by_kind[1]),
        "per_minute": 60 * len(taken) / elapsed,
        # Other programs on the machine hardly change it.
        "cpu_seconds": (time.process_time() - used) / len(taken),
        "wrong": sum(not is_right for *_, is_right in taken),
    }


def _summary(seconds: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    p95 = ordered[max(-(-len(ordered) * 95 // 100) - 1, 0)] if ordered else None
    return {"count": len(ordered), "median": statistics.median(ordered) if ordered else None, "p95": p95}


def _parser() -> argparse.ArgumentParser:
    parser = worker_parser("benchmarks.mixed_serving_worker")
    parser.add_argument("--way", choices=("none", "server", "graph"), default="none")
    for name in ("new-tokens", "short", "long", "batch-tokens", "percent-long", "threads", "seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one action and print its figures."""
    options = _parser().parse_args(arguments)
    print(dumped({"write": write, "ask": ask}[options.action](options)))


if __name__ == "__main__":
    main()

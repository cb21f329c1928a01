"""One run of the serving benchmark, in a process of its own: `python -m benchmarks.serving_worker`.

`write` exports models with random weights, and documents of known lengths; `ask` answers documents in turn and times
it, with TensorFlow alone, as on a server. Prints one line of JSON.
"""

import argparse
import functools
import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes, reset_peak
from benchmarks.models import FAMILIES, SIZES, class_name, config_fields
from benchmarks.timing import clocked
from export.client.arguments import lengths
from export.client.strict_json import dumped

DOCUMENTS = "documents.json"
VOCABULARY = {"base": 2000, "tiny": 300}
_WORDS = "the report of a long inquiry into how people read what nobody has time for was itself never read in full"


def folder_of(folder: Path, jit_compile: bool) -> Path:
    """Where the SavedModel with or without XLA is."""
    return folder / ("xla" if jit_compile else "plain") / "1"


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Export a model and write `documents.json`: a text by number of tokens."""
    from export import export_saved_model

    model, tokenizer, settings = random_model(options)
    for jit_compile in options.jit_compile:
        export_saved_model(
            model,
            tokenizer,
            folder_of(options.folder, jit_compile),
            lengths=options.lengths,
            generation_config=settings,
            signatures=("serving_default",),
            jit_compile=jit_compile,
            weights_dtype=options.weights_dtype,
            compute_dtype=options.compute_dtype,
            warm_up=False,
        )
    documents = {str(tokens): document(tokenizer, tokens) for tokens in {*options.lengths, *options.documents}}
    (options.folder / DOCUMENTS).write_text(dumped(documents), encoding="utf-8")
    files = folder_of(options.folder, options.jit_compile[0]).glob("variables/*")
    return {"parameters": model.count_params(), "disk_bytes": sum(file.stat().st_size for file in files)}


def random_model(options: argparse.Namespace) -> tuple[Any, Any, Any]:
    """A summariser with random weights, its tokenizer, and settings that give every answer as many tokens."""
    import keras

    import tfmodels

    tokenizer = _tokenizer(options.family, options.size)
    keras.utils.set_random_seed(0)
    fields = config_fields(options.family, options.size, options.lengths[-1])
    # The tiny models have fewer words than a tokenizer needs.
    fields["vocab_size"] = max(fields["vocab_size"], tokenizer.vocab_size)
    config = getattr(tfmodels, class_name(options.family, "Config"))(**fields)
    model = getattr(tfmodels, class_name(options.family, "ForConditionalGeneration"))(config)
    _silence_unknown_words(model, tokenizer.vocab_size)
    settings = model.generation_config.replace(
        num_beams=options.beams, max_new_tokens=options.new_tokens, min_new_tokens=options.new_tokens
    )
    return model, tokenizer, settings


def document(tokenizer: Any, tokens: int) -> str:
    """A text of at most so many tokens, and of at most a word less."""
    words = list(itertools.islice(itertools.cycle(_WORDS.split()), tokens))
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(tokenizer.encode(" ".join(words[:middle]))) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return " ".join(words[:low])


def ask(options: argparse.Namespace) -> dict[str, Any]:
    """Answer batches in turn; seconds of each, and what the process held at most."""
    from export.client.saved_model_client import import_server_libraries

    import_server_libraries()
    from export.client.saved_model_client import load_saved_model

    documents = json.loads((options.folder / DOCUMENTS).read_text(encoding="utf-8"))
    loaded = {jit: load_saved_model(folder_of(options.folder, jit)) for jit in options.jit_compile}
    texts = {name: [documents[part] for part in name.split("+")] for name in options.batches}
    held = reset_peak()
    figures: dict[str, Any] = {"held_gb": None if held is None else held / 1e9, "cases": {}}
    times: dict[tuple[str, bool], list[tuple[float, float]]] = {(name, jit): [] for name in texts for jit in loaded}
    # In turn: what the machine does besides falls on all alike. The first of each, which compiles, does not count.
    for _ in range(1 + options.repeats):
        for name, jit in times:
            times[name, jit].append(clocked(functools.partial(_answer, loaded[jit], texts[name])))
    for (name, jit), ((first, _), *others) in times.items():
        wall, cpu = zip(*others, strict=True)
        case = {"first_seconds": first, "seconds": statistics.median(wall), "all_seconds": list(wall)}
        case["cpu_seconds"] = statistics.median(cpu)
        figures["cases"].setdefault(name, {})["xla" if jit else "plain"] = case
    return figures | {"peak_gb": peak_bytes() / 1e9}


def _answer(loaded: Any, texts: list[str]) -> None:
    import tensorflow as tf

    answer = loaded.signatures["serving_default"](text=tf.constant(texts))
    if answer["truncated"].numpy().any():
        raise ValueError("documents must fit the longest exported length")


def _tokenizer(family: str, size: str) -> Any:
    import tfmodels

    kind = getattr(tfmodels, class_name(family, "Tokenizer"))
    corpus = [path.read_text(encoding="utf-8") for path in sorted(Path(tfmodels.__file__).parent.rglob("*.py"))]
    return kind.train_from_iterator([_WORDS, *corpus], VOCABULARY[size])


def _silence_unknown_words(model: Any, known: int) -> None:
    """Words that the tokenizer does not know, since it is smaller than the model, are never the likeliest."""
    for weight in model.trainable_variables:
        if weight.path.endswith(("shared/embeddings", "lm_head/kernel")):
            values = weight.numpy()
            axis = values.shape.index(model.config.vocab_size)
            values[(slice(None),) * axis + (slice(known, None),)] = 0
            weight.assign(values)


def worker_parser(module: str) -> argparse.ArgumentParser:
    """What every worker of a serving benchmark is told."""
    parser = argparse.ArgumentParser(f"python -m {module}", allow_abbrev=False)
    parser.add_argument("action", choices=("write", "ask"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=tuple(FAMILIES), default="led")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--lengths", type=lengths, default=())
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = worker_parser("benchmarks.serving_worker")
    parser.add_argument("--documents", type=lengths, default=())
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--batches", nargs="*", default=(), help="numbers of tokens, with + between them")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--weights-dtype")
    parser.add_argument("--compute-dtype")
    parser.add_argument("--jit-compile", type=lambda text: text == "yes", nargs="+", default=(False,))
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one action and print its figures."""
    options = _parser().parse_args(arguments)
    print(dumped({"write": write, "ask": ask}[options.action](options)))


if __name__ == "__main__":
    main()

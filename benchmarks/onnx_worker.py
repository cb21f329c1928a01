"""One step of `python -m benchmarks onnx` in a process of its own: prints its figures as one JSON line.

python -m benchmarks.onnx_worker write FOLDER led --lengths 1024,4096
python -m benchmarks.onnx_worker onnx FOLDER led --lengths 4096
python -m benchmarks.onnx_worker saved_model FOLDER led --lengths 4096
python -m benchmarks.onnx_worker transformers FOLDER led --lengths 4096
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_bytes
from benchmarks.models import FAMILIES, SIZES, class_name, config_fields, make_inputs
from benchmarks.task import Task, positive
from benchmarks.timing import clocked
from benchmarks.worker import set_environment
from export.client.arguments import sizes
from export.client.strict_json import dumped

HEADS = {
    "encode": "ForConditionalGeneration",
    "classify": "ForSequenceClassification",
    "answer": "ForQuestionAnswering",
}
# Their decoders read the document too, and LongT5's attends to all of it at once.
_LONGEST_OF_HEADS = 1024
GRAPH, SAVED_MODEL = "encoder_model.onnx", "saved_model"


def main(arguments: list[str] | None = None) -> None:
    """Run one step and print its figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.onnx_worker", allow_abbrev=False)
    actions = {"write": write, "onnx": time_onnx, SAVED_MODEL: time_saved_model, "transformers": time_transformers}
    parser.add_argument("action", choices=tuple(actions))
    parser.add_argument("folder", type=Path)
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("--lengths", type=sizes, required=True, help="the last one is timed")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--repeats", type=positive, default=3)
    options = parser.parse_args(arguments)
    print(dumped(actions[options.action](options)), flush=True)


def write(options: argparse.Namespace) -> dict[str, Any]:
    """Write the encoder in both formats; compare every graph with its model.

    Returns:
        "differences": by graph and number of tokens, as far as the model has positions.
    """
    import keras

    import tfmodels
    from export.to_onnx.folder import export_onnx, longest

    differences: dict[str, Any] = {}
    for graph, head in HEADS.items():
        keras.utils.set_random_seed(0)
        fields = config_fields(options.family, options.size, options.lengths[-1])
        config = getattr(tfmodels, class_name(options.family, "Config"))(**fields)
        model = getattr(tfmodels, class_name(options.family, head))(config)
        limit = longest(model) or options.lengths[-1]
        if graph != "encode":
            limit = min(limit, _LONGEST_OF_HEADS)
        lengths = [length for length in options.lengths if length <= limit]
        found = export_onnx(model, options.folder / graph, graphs=[graph], lengths=lengths)
        differences[graph] = {str(length): difference for length, difference in found[graph].items()}
        if graph == "encode":
            model.encoder.export(options.folder / SAVED_MODEL, verbose=False)
    return {"differences": differences}


def time_onnx(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory of the encoder in ONNX Runtime."""
    from export.to_onnx.proof import session

    running = session(options.folder / "encode" / GRAPH)
    inputs = {name: value.astype("int64") for name, value in _inputs(options).items()}
    return _figures(lambda: running.run(None, inputs), options.repeats)


def time_saved_model(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory of the encoder as a SavedModel, without XLA."""
    import tensorflow as tf

    loaded = tf.saved_model.load(options.folder / SAVED_MODEL)
    inputs = {name: tf.constant(value) for name, value in _inputs(options).items()}
    return _figures(lambda: loaded.serve(inputs)["last_hidden_state"].numpy(), options.repeats)


def time_transformers(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and peak memory of transformers' encoder on PyTorch, eager."""
    task = Task("theirs", options.family, "encode", options.lengths[-1], size=options.size)
    set_environment(task)
    from benchmarks import theirs

    routine = theirs.make_routine(task)
    inputs = routine.prepare(_inputs(options))
    return _figures(lambda: routine.run(inputs), options.repeats)


def _inputs(options: argparse.Namespace) -> Any:
    return make_inputs(options.family, options.size, options.lengths[-1])


def _figures(run: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Medians of runs after a first one, seconds by the clock and of all cores together."""
    run()
    wall, cpu = zip(*(clocked(run) for _ in range(repeats)), strict=True)
    return {"seconds": statistics.median(wall), "cpu_seconds": statistics.median(cpu), "peak_gb": peak_bytes() / 1e9}


if __name__ == "__main__":
    main()

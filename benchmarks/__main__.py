"""`python -m benchmarks`: ours and transformers in turn, each run in a separate process.

python -m benchmarks --quick
python -m benchmarks --only "led encode" --only train --rounds 3 --output out/bench
python -m benchmarks --only decode
python -m benchmarks profile led encode 4096
python -m benchmarks gpu
python -m benchmarks serving
python -m benchmarks serving --mixed
python -m benchmarks onnx
python -m benchmarks serving --weights
python -m benchmarks text
python -m benchmarks training
python -m benchmarks start --size tiny --only "led tiny"
python -m benchmarks sharded --family led --length 65536
python -m benchmarks settings --only "led encode tensorflow"
python -m benchmarks weights --model out/demo/model --documents out/demo/held-out.jsonl
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks.instructions import imitate_avx2
from benchmarks.jobs import all_rows, chosen_rows
from benchmarks.models import FAMILIES, SIZES
from benchmarks.processes import WorkerError
from benchmarks.task import BACKENDS, DEVICES, Task, positive
from export.client.quiet import quiet_stderr

_ERROR = 2
_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    programs = {
        "profile": (_profile_parser, _profile),
        "gpu": (_gpu_parser, _gpu),
        "serving": (_serving_parser, _serving),
        "serving --mixed": (_mixed_parser, _mixed),
        "onnx": (_onnx_parser, _onnx),
        "serving --weights": (_weight_serving_parser, _weight_serving),
        "weights": (_weights_parser, _weights),
        "text": (_text_parser, _text),
        "training": (_training_parser, _training),
        "sharded": (_sharded_parser, _sharded),
        "start": (_start_parser, _start),
        "settings": (_settings_parser, _settings),
    }
    name = arguments[0] if arguments else ""
    for way in ("--mixed", "--weights"):
        if name == "serving" and way in arguments:
            name = f"serving {way}"
    make_parser, program = programs.get(name, (_suite_parser, _suite))
    options = make_parser().parse_args(arguments if program is _suite else arguments[1:])
    try:
        return program(options)
    except (ValueError, OSError, ImportError, WorkerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED


def _suite_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Ours beside transformers on PyTorch, eager and compiled. Others (--help): profile, gpu, serving, "
        "onnx, text, training, weights, sharded, start, settings",
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="only the rows at 4,096 tokens")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows whose names hold this text")
    parser.add_argument("--avx2", action="store_true", help="hold all engines to AVX2, on a processor with AVX-512")
    parser.add_argument("--rounds", type=positive, help="turns of each side (default: 2, under --quick 1)")
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow", help="of ours (default: tensorflow)")
    _add_output_and_size(parser, "out/bench")
    return parser


def _profile_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks profile", description="Where our model's time goes.", allow_abbrev=False
    )
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("job", choices=("encode", "train"))
    parser.add_argument("length", type=positive, help="tokens of the document")
    parser.add_argument("--repeats", type=positive, default=3, help="timed runs of each part (default: 3)")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the model (default: base)")
    return parser


def _gpu_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks gpu",
        description="Ours on JAX beside transformers, eager and compiled, in bfloat16 on a GPU.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows whose names hold this text")
    parser.add_argument("--device", choices=DEVICES, default="gpu", help="cpu: to try the program out")
    _add_output_and_size(parser, "out/bench-gpu")
    return parser


def _text_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks text", description="The tokenizers in the graph beside Python.", allow_abbrev=False
    )
    parser.add_argument("--megabytes", type=positive, default=8, help="of the demo corpus (default: 8)")
    parser.add_argument("--avx2", action="store_true", help="hold all engines to AVX2, on a processor with AVX-512")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each path (default: 5)")
    parser.add_argument("--words", type=positive, default=1_000_000, help="distinct words (default: 1000000)")
    return parser


def _add_output_and_size(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument("--output", type=Path, default=Path(output), metavar="FOLDER", help=f"default: {output}")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: to try the program out")


def _import_quietly() -> None:
    """Import Keras and its backend, which writes messages of its own."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet_stderr():
        import keras  # noqa: F401


def _suite(options: argparse.Namespace) -> int:
    if options.avx2:
        imitate_avx2()
    from benchmarks.report import make_console
    from benchmarks.suite import run_suite

    rows = [row for row in all_rows(options.size) if row.job != "decode" or options.backend == "tensorflow"]
    rows = chosen_rows(rows, options.only, options.quick)
    _import_quietly()
    rounds = options.rounds or (1 if options.quick else 2)
    run_suite(rows, options.output, make_console(), rounds, options.backend, options.quick)
    return 0


def _profile(options: argparse.Namespace) -> int:
    _import_quietly()
    from benchmarks.profiling import profile
    from benchmarks.report import make_console

    task = Task("ours", options.family, options.job, options.length, size=options.size, repeats=options.repeats)
    profile(task, make_console())
    return 0


def _gpu(options: argparse.Namespace) -> int:
    from benchmarks.devices import device_name
    from benchmarks.gpu import gpu_rows, run_gpu
    from benchmarks.report import make_console

    rows, name = gpu_rows(options.size, options.only), device_name(options.device)
    _import_quietly()
    run_gpu(options.output, make_console(), rows, name, options.device, options.size)
    return 0


def _serving_parser() -> argparse.ArgumentParser:
    from benchmarks.serving import serving_parser

    return serving_parser()


def _mixed_parser() -> argparse.ArgumentParser:
    from benchmarks.mixed_serving import mixed_parser

    return mixed_parser()


def _mixed(options: argparse.Namespace) -> int:
    from benchmarks.mixed_serving import mixed

    return mixed(options)


def _weight_serving_parser() -> argparse.ArgumentParser:
    from benchmarks.weight_serving import weight_serving_parser

    return weight_serving_parser()


def _weight_serving(options: argparse.Namespace) -> int:
    from benchmarks.weight_serving import weight_serving

    _import_quietly()
    return weight_serving(options)


def _serving(options: argparse.Namespace) -> int:
    from benchmarks.serving import serving

    _import_quietly()
    return serving(options)


def _onnx_parser() -> argparse.ArgumentParser:
    from benchmarks.onnx_graphs import onnx_parser

    return onnx_parser()


def _onnx(options: argparse.Namespace) -> int:
    from benchmarks.onnx_graphs import onnx_graphs

    return onnx_graphs(options)


def _weights_parser() -> argparse.ArgumentParser:
    from benchmarks.stored_weights import weights_parser

    return weights_parser()


def _weights(options: argparse.Namespace) -> int:
    from benchmarks.stored_weights import weights

    _import_quietly()
    return weights(options)


def _text(options: argparse.Namespace) -> int:
    _import_quietly()
    from benchmarks.report import make_console
    from benchmarks.text import run_text

    run_text(make_console(), options.megabytes, options.rounds, options.words)
    return 0


def _training_parser() -> argparse.ArgumentParser:
    from benchmarks.training import training_parser

    return training_parser()


def _training(options: argparse.Namespace) -> int:
    _import_quietly()
    from benchmarks.training import training

    return training(options)


def _sharded_parser() -> argparse.ArgumentParser:
    from benchmarks.sharded import sharded_parser

    return sharded_parser()


def _sharded(options: argparse.Namespace) -> int:
    from benchmarks.sharded import sharded

    return sharded(options)


def _start_parser() -> argparse.ArgumentParser:
    from benchmarks.start import start_parser

    return start_parser()


def _start(options: argparse.Namespace) -> int:
    from benchmarks.start import start

    return start(options)


def _settings_parser() -> argparse.ArgumentParser:
    from benchmarks.settings import settings_parser

    return settings_parser()


def _settings(options: argparse.Namespace) -> int:
    from benchmarks.settings import settings

    return settings(options)


if __name__ == "__main__":
    sys.exit(main())

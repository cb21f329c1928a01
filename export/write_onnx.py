"""`python -m export onnx`: ONNX graphs from a fine-tuned folder."""

import argparse
from pathlib import Path

from export.client.arguments import names, sizes
from export.client.quiet import import_tensorflow_quietly


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status.

    Raises:
        ValueError: bad settings, no model in the folder, or a graph whose numbers differ from the model's.
        OSError: the output exists, or cannot be written.
        ImportError: the extra `onnx` is missing.
    """
    options = _parser().parse_args(arguments)
    import_tensorflow_quietly()
    from export.to_onnx.folder import export_onnx
    from tfmodels.auto import load_pretrained

    model, tokenizer = load_pretrained(options.model)
    differences = export_onnx(
        model, options.output, tokenizer, options.graphs, options.lengths, options.first_is_global
    )
    for graph, by_length in differences.items():
        for length, difference in by_length.items():
            print(f"{graph}, {length:,} tokens: differs from the model by at most {difference:.1e}")
    print(f"wrote {options.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m export onnx", description="Write ONNX graphs of ids and masks.")
    parser.add_argument("--model", required=True, help="folder with config.json, weights and tokenizer files")
    parser.add_argument("--output", type=Path, required=True, help="new folder, in optimum's layout")
    parser.add_argument("--graphs", type=names, help="names with commas (default: all of the head, one decoder)")
    parser.add_argument("--lengths", type=sizes, help="in tokens, with commas: where graphs and model are compared")
    parser.add_argument("--first-is-global", action="store_true", help="make each first token global, without a mask")
    return parser

"""`python -m export`: write a SavedModel from a fine-tuned folder, and ask one.

python -m export --model out/model --output served/summaries --lengths 512,2048
python -m export ask served/summaries "text"
python -m export ask served/summaries --file document.txt
cat document.txt | python -m export ask served/summaries
"""

import argparse
import sys
from pathlib import Path

from export.arguments import lengths
from export.quiet import import_tensorflow_quietly


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _ask(arguments[1:]) if arguments[:1] == ["ask"] else _export(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _ask(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m export ask", description="Answer from a SavedModel alone.")
    parser.add_argument("directory", metavar="DIR", help="a SavedModel, or the folder of its versions")
    parser.add_argument("text", nargs="?", help="the document; without it and --file, standard input is read")
    parser.add_argument("--file", type=Path, help="a file with the document")
    options = parser.parse_args(arguments)
    if options.text is not None and options.file is not None:
        parser.error("text and --file exclude each other")
    from export.client import Summarizer, import_server_libraries, latest_version

    latest_version(options.directory)  # a wrong folder is told before standard input is waited for
    document = _document(options)
    import_server_libraries()
    (answer,) = Summarizer(options.directory)([document])
    print(answer.text)
    if answer.truncated:
        print("(the document was longer than the longest exported length and was cut)", file=sys.stderr)
    return 0


def _document(options: argparse.Namespace) -> str:
    if options.text is not None:
        return options.text
    data = options.file.read_bytes() if options.file is not None else sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the document must be UTF-8. Received: {error}") from None


def _export(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m export", description="Write a SavedModel with the tokenizer inside.")
    parser.add_argument("--model", required=True, help="folder with config.json, weights and tokenizer files")
    parser.add_argument("--output", type=Path, required=True, help="folder NAME; the version goes to NAME/VERSION")
    parser.add_argument("--version", type=int, help="version number (default: one above the highest there)")
    parser.add_argument("--lengths", type=lengths, default=(1024,), help="source lengths in tokens, with commas")
    parser.add_argument("--num-beams", type=int, help="beams (default: the model's)")
    parser.add_argument("--max-new-tokens", type=int, help="longest summary in tokens (default: the model's)")
    parser.add_argument("--jit-compile", action="store_true", help="compile under XLA; stock servers refuse it")
    options = parser.parse_args(arguments)

    import_tensorflow_quietly()
    from export.saved_model import export_saved_model
    from tfmodels.auto import load_pretrained

    model, tokenizer = load_pretrained(options.model)
    wanted = {"num_beams": options.num_beams, "max_new_tokens": options.max_new_tokens}
    settings = model.generation_config.replace(**{name: value for name, value in wanted.items() if value is not None})
    version = options.version if options.version is not None else _next_version(options.output)
    path = export_saved_model(
        model, tokenizer, options.output / str(version), options.lengths, settings, options.jit_compile
    )
    print(f"wrote {path}")
    print(f'ask it: python -m export ask {options.output} "text"')
    return 0


def _next_version(folder: Path) -> int:
    versions = [int(child.name) for child in folder.glob("*/") if child.name.isdigit()]
    return max(versions, default=0) + 1


if __name__ == "__main__":
    sys.exit(main())

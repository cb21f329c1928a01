"""Summarize text files.

python examples/summarize.py --model allenai/led-base-16384 --max-length 4096 report.txt paper.txt
"""

import argparse
from pathlib import Path

from tfmodels.auto import load_pretrained


def main(arguments: list[str] | None = None) -> None:
    """Print the summaries."""
    parser = argparse.ArgumentParser(description="Summarize text files.")
    parser.add_argument("files", nargs="+", type=Path, help="plain text, one document a file")
    parser.add_argument("--model", default="longt5-python", help="a folder, a packaged model's name or a hub id")
    parser.add_argument("--max-length", type=int, default=4096, help="tokens that are read of each document")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="tokens of the longest summary")
    parser.add_argument("--num-beams", type=int, default=4)
    options = parser.parse_args(arguments)

    model, tokenizer = load_pretrained(options.model)
    for path in options.files:
        # One document at a time and one static shape: the search is compiled once, for the first file.
        inputs = tokenizer([path.read_text(encoding="utf-8")], max_length=options.max_length)
        tokens = model.generate(
            **inputs, num_beams=options.num_beams, no_repeat_ngram_size=3, max_new_tokens=options.max_new_tokens
        )
        print(f"{path}: {tokenizer.batch_decode(tokens)[0].strip()}")


if __name__ == "__main__":
    main()

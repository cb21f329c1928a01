"""Print a summary while it is written, then how likely it is beside one of your own.

python examples/streaming.py --model allenai/led-base-16384 --compare "My own summary." report.txt
"""

import argparse
from pathlib import Path

from tfmodels.auto import load_pretrained


def main(arguments: list[str] | None = None) -> None:
    """Print a summary while it is written."""
    parser = argparse.ArgumentParser(description="Stream a summary.")
    parser.add_argument("file", type=Path, help="plain text")
    parser.add_argument("--model", default="longt5-python", help="a folder, a packaged model's name or a hub id")
    parser.add_argument("--compare", help="a summary to score as well")
    parser.add_argument("--max-length", type=int, default=4096, help="tokens that are read of the document")
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--top-p", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0, help="the same seed writes the same summary")
    options = parser.parse_args(arguments)

    model, tokenizer = load_pretrained(options.model)
    inputs = tokenizer([options.file.read_text(encoding="utf-8")], max_length=options.max_length)
    settings = {"do_sample": True, "top_p": options.top_p, "seed": options.seed}
    written = []
    for piece in tokenizer.stream(model.generate_stream(**inputs, **settings, max_new_tokens=options.max_new_tokens)):
        written.append(piece)
        print(piece, end="", flush=True)
    print()
    if options.compare is not None:
        candidates = ["".join(written), options.compare]
        labels = tokenizer(
            candidates, text_target=candidates, max_length=8, max_target_length=options.max_new_tokens + 2
        )["labels"]
        for text, score in zip(candidates, model.score(inputs, labels), strict=True):
            print(f"{float(score):9.2f}  {text}")


if __name__ == "__main__":
    main()

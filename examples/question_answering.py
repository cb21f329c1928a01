"""Answer a question from a document, with the text of the answer and its place.

python examples/question_answering.py --model FOLDER --question "Who wrote it?" document.txt
"""

import argparse
from pathlib import Path

import tfmodels


def main(arguments: list[str] | None = None) -> None:
    """Print the answer."""
    parser = argparse.ArgumentParser(description="Answer a question from a document.")
    parser.add_argument("file", type=Path, help="plain text")
    parser.add_argument("--question", required=True)
    parser.add_argument("--model", required=True, help="a folder or hub id of an LED that answers questions")
    parser.add_argument("--new-head", action="store_true", help="the folder has no such head: answers are random")
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of question and document together")
    options = parser.parse_args(arguments)

    model = tfmodels.LEDForQuestionAnswering.from_pretrained(options.model, new_head=options.new_head)
    tokenizer = tfmodels.LEDTokenizer.from_pretrained(options.model)
    document = options.file.read_text(encoding="utf-8")
    batch = tokenizer(
        [options.question],
        text_pair=[document],
        max_length=options.max_length,
        global_attention="question",  # every token of the question sees the whole document
        return_offsets=True,
        return_segment_mask=True,
    )
    offsets, is_document = batch.pop("offsets"), batch.pop("segment_mask")
    outputs = model(batch)
    spans = tfmodels.best_spans(outputs["start_logits"], outputs["end_logits"], is_document)
    first, last = int(spans["start"][0]), int(spans["end"][0])
    start, end = int(offsets[0, first, 0]), int(offsets[0, last, 1])
    print(f"{document[start:end]!r}, characters {start} to {end}, probability {float(spans['score'][0]):.2f}")


if __name__ == "__main__":
    main()

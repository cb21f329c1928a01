"""Fine-tune on a .jsonl file: a loop of your own, to copy and change.

python examples/finetune.py --model allenai/led-base-16384 --data train.jsonl --output fine-tuned
"""

import argparse
import json
from pathlib import Path

import keras
import tensorflow as tf

import tfmodels
from tfmodels.auto import load_pretrained


def main(arguments: list[str] | None = None) -> None:
    """Fine-tune, and keep the model with the least loss."""
    parser = argparse.ArgumentParser(description="Fine-tune on documents and summaries.")
    parser.add_argument("--model", default="longt5-python", help="a folder, a packaged model's name or a hub id")
    parser.add_argument("--data", required=True, type=Path, help='lines of {"document": ..., "summary": ...}')
    parser.add_argument("--output", required=True, type=Path, help="folder of the model with the least loss")
    parser.add_argument("--max-length", type=int, default=4096, help="tokens of each document")
    parser.add_argument("--max-target-length", type=int, default=256, help="tokens of each summary")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--dtype", default="float32", help="such as mixed_bfloat16")
    options = parser.parse_args(arguments)

    tfmodels.keep_programs()  # the next run need not compile the step
    model, tokenizer = load_pretrained(options.model, dtype=options.dtype)
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines() if line.strip()]
    batch = tokenizer(
        [row["document"] for row in rows],
        text_target=[row["summary"] for row in rows],
        max_length=options.max_length,
        max_target_length=options.max_target_length,
    )
    # Every batch must have one shape, or the step is compiled again.
    held_out = max(options.batch_size, len(rows) // 10)
    data = tf.data.Dataset.from_tensor_slices(batch)
    validation = data.take(held_out).batch(options.batch_size, drop_remainder=True)
    training = data.skip(held_out).shuffle(1024, seed=0).batch(options.batch_size, drop_remainder=True)

    model.gradient_checkpointing_enable()  # less memory, a third more time
    model.compile(optimizer=tfmodels.AdamW(3e-5, global_clipnorm=1.0), jit_compile=True)
    options.output.mkdir(parents=True)
    best = options.output / "best.weights.h5"
    keep_best = keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True)
    data = {"x": training.prefetch(2), "validation_data": validation, "shuffle": False}  # shuffled above
    model.fit(**data, epochs=options.epochs, callbacks=[keep_best])
    model.load_weights(best)
    best.unlink()
    model.save_pretrained(options.output)  # files that transformers reads
    tokenizer.save_pretrained(options.output)


if __name__ == "__main__":
    main()

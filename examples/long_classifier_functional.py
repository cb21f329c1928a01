"""A classifier of long texts from one attention layer and one tokenizer, composed in the functional API.

python examples/long_classifier_functional.py --data train.csv --output classifier.keras
"""

import argparse
import csv
from pathlib import Path

import keras

import tfmodels


def build(tokenizer: tfmodels.LEDTokenizer, length: int, width: int, labels: int) -> keras.Model:
    """Text in, probabilities out; the tokenizer is a layer of the model."""
    text = keras.Input((), dtype="string")
    tokens = tokenizer.as_layer(max_length=length)(text)
    hidden = keras.layers.Embedding(tokenizer.vocab_size, width)(tokens["input_ids"])
    attention = tfmodels.LongformerSelfAttention(num_heads=4, attention_window=64, max_global_tokens=1)
    attended = attention(
        hidden,
        attention_mask=tokens["attention_mask"],
        global_attention_mask=tokens["global_attention_mask"],
    )
    hidden = keras.layers.LayerNormalization()(hidden + keras.layers.Dense(width)(attended))
    first = hidden[:, 0]  # the global token has seen the whole document
    return keras.Model(text, keras.layers.Dense(labels, activation="softmax")(first))


def main(arguments: list[str] | None = None) -> None:
    """Train, test and save the classifier."""
    parser = argparse.ArgumentParser(description="Train a classifier of long texts from scratch.")
    parser.add_argument("--data", required=True, type=Path, help="a .csv file with the columns text and label")
    parser.add_argument("--output", required=True, type=Path, help="a .keras file")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens of each text")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args(arguments)

    with options.data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    texts, labels = [row["text"] for row in rows], sorted({row["label"] for row in rows})
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(texts, 4096)
    model = build(tokenizer, options.max_length, options.width, len(labels))
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    wanted = keras.ops.convert_to_tensor([labels.index(row["label"]) for row in rows])
    model.fit(keras.ops.convert_to_tensor(texts), wanted, batch_size=8, epochs=options.epochs)
    model.save(options.output)  # `import tfmodels, keras` is enough to load it
    print(f"{options.output}: classes {', '.join(labels)}")


if __name__ == "__main__":
    main()

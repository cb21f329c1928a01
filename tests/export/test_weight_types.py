"""Models with weights of other types than float32 answer from a SavedModel as in Python."""

import numpy as np
import pytest
import tensorflow as tf
from routines import randomise
from tiny import FAMILY_OF, make_model, one_layer

from export import export_saved_model

TEXTS = ("def area(width, height): return width * height", "class Stack: pass")


# Three seconds each.
@pytest.mark.parametrize(
    ("kind", "vocabulary", "dtype", "jit_compile"),
    [("led", 300, "bfloat16", False), ("longt5-local", 130, "float64", True)],
)
def test_weights_of_other_types_are_served(kind, vocabulary, dtype, jit_compile, tmp_path):
    tokenizer = FAMILY_OF[kind].tokenizer.train_from_iterator(TEXTS * 3, vocabulary)
    model = make_model(kind, dtype=dtype, vocab_size=tokenizer.vocab_size, **one_layer(kind))
    randomise(model, 0.2)
    model.generation_config = model.generation_config.replace(max_new_tokens=5)
    settings = {"signatures": ("serving_default",), "warm_up": False, "jit_compile": jit_compile}
    export_saved_model(model, tokenizer, tmp_path / "1", lengths=(32,), **settings)
    loaded = tf.saved_model.load(tmp_path / "1")
    actual = loaded.signatures["serving_default"](text=tf.constant(TEXTS))["text"].numpy()
    expected = tokenizer.batch_decode(np.asarray(model.generate(**tokenizer(list(TEXTS), max_length=32))))
    assert [text.decode() for text in actual] == expected

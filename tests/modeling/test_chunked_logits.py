"""The loss in chunks against the loss of all logits, and what is left of both."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from routines import as_numpy, assert_close, gradients_of
from tiny import make_inputs, make_labels, make_shallow_model

from tfmodels.modeling.chunked_logits import chunked_cross_entropy
from tfmodels.modeling.losses import cross_entropy_term

ROWS, WIDTH, VOCABULARY = 2, 6, 11


def make_case(length, ignored=()):
    generator = np.random.default_rng(length)
    labels = generator.integers(0, VOCABULARY, (ROWS, length)).astype("int32")
    labels[:, list(ignored)] = -100
    return labels, generator.normal(size=(ROWS, length, WIDTH)).astype("float32")


def make_head(kind):
    if kind == "tied":
        table = keras.layers.ReversibleEmbedding(VOCABULARY, WIDTH)
        table.build()
        return table, lambda x: table(x, reverse=True)
    layer = keras.layers.Dense(VOCABULARY)
    layer.build((None, None, WIDTH))
    return layer, layer


@pytest.mark.quick_in_jax("1-4-tied", "4-4-tied", "9-4-untied", "12-4-tied", "5-64-untied")
@pytest.mark.parametrize("kind", ["tied", "untied"])
@pytest.mark.parametrize(("length", "chunk"), [(1, 4), (4, 4), (9, 4), (12, 4), (5, 64)])
def test_loss_and_gradients_equal_those_of_all_logits(kind, length, chunk):
    (layer, head), (labels, hidden) = make_head(kind), make_case(length, ignored=[0] if length > 1 else [])
    variables = layer.trainable_variables

    def with_weights(loss):
        def function(given):
            with keras.StatelessScope([(variable, given[variable.path]) for variable in variables]):
                return loss(given["hidden"])

        return function

    chunked = with_weights(lambda hidden: chunked_cross_entropy(labels, hidden, head, variables, chunk_length=chunk))
    whole = with_weights(lambda hidden: cross_entropy_term(labels, head(hidden)).mean)
    given = {"hidden": hidden} | {variable.path: ops.convert_to_numpy(variable) for variable in variables}
    assert_close(as_numpy(chunked(given)), as_numpy(whole(given)), 1e-5)
    assert_close(gradients_of(chunked, given), gradients_of(whole, given), 1e-5)


def test_smoothed_loss_is_torchs_in_training_alone():
    model, inputs = make_shallow_model("longt5-local", dropout_rate=0.0), make_inputs("longt5-local")
    labels = make_labels()
    plain = float(model({**inputs, "labels": labels}, training=True)["loss"])
    model.label_smoothing = 0.2
    outputs = model({**inputs, "labels": labels}, training=True)
    logits = torch.tensor(ops.convert_to_numpy(outputs["logits"])).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(
        logits, torch.tensor(labels).long().flatten(), label_smoothing=0.2, ignore_index=-100
    )
    assert_close(float(outputs["loss"]), float(expected), 1e-5)
    assert_close(float(model({**inputs, "labels": labels})["loss"]), plain, 1e-5)


def test_without_labels_that_count_the_loss_and_its_gradient_are_zero():
    (layer, head), (labels, hidden) = make_head("untied"), make_case(5, ignored=range(5))

    def loss(given):
        return chunked_cross_entropy(labels, given["hidden"], head, layer.trainable_variables, chunk_length=2)

    assert float(loss({"hidden": hidden})) == 0
    assert np.abs(gradients_of(loss, {"hidden": hidden})["hidden"]).max() == 0


def test_labels_of_another_shape_are_an_error():
    (layer, head), (labels, hidden) = make_head("untied"), make_case(5)
    with pytest.raises(ValueError, match="labels must have shape"):
        chunked_cross_entropy(labels[:, 1:], ops.convert_to_tensor(hidden), head, layer.trainable_variables)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
def test_labels_of_every_integer_type_count_alike(dtype):
    (layer, head), (labels, hidden) = make_head("untied"), make_case(9)
    hidden = ops.convert_to_tensor(hidden)
    wanted = chunked_cross_entropy(labels, hidden, head, layer.variables, chunk_length=4)
    found = chunked_cross_entropy(labels.astype(dtype), hidden, head, layer.variables, chunk_length=4)
    assert_close(as_numpy(found), as_numpy(wanted), 1e-6)


@pytest.mark.parametrize(("kind", "change"), [("led", None), ("led", "lora"), ("longt5-local", "frozen")])
def test_a_model_trains_whatever_part_of_its_head_does_not(kind, change):
    model = make_shallow_model(kind)
    if change == "lora":
        model.enable_lora(2)
    if change == "frozen":
        model.get_output_embeddings().trainable = False
    model.compile("sgd", jit_compile=keras.backend.backend() == "jax")
    table = ops.convert_to_numpy(model.get_output_embeddings().variables[0])
    loss = model.train_on_batch({**make_inputs(kind, 9, lengths=(9, 5, 3)), "labels": make_labels(5)})
    assert np.isfinite(loss)
    stays = np.array_equal(ops.convert_to_numpy(model.get_output_embeddings().variables[0]), table)
    assert stays == (change is not None)

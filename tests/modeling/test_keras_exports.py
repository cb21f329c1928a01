"""Keras' own export of every model, head and encoder: right at every length, or an error; two seconds a case."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from backends import IS_JAX, direct
from routines import as_numpy, assert_close
from tiny import HEADS, KINDS, make_encoder, make_inputs_for, make_model, one_layer

ENCODER = "Encoder"
every_part = pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in KINDS for head in (*HEADS, ENCODER)])


def make(kind, head):
    return make_encoder(kind, **one_layer(kind)) if head == ENCODER else make_model(kind, head=head, **one_layer(kind))


def inputs_of(model, kind, length):
    """What `model` exports, of any kind of head, from rows of mixed lengths."""
    inputs = make_inputs_for(kind, "Model", length, seed=length)
    return {name: inputs[name] for name in model.exported_inputs}


def exported(model, folder):
    model.export(folder / "exported", verbose=False)
    return tf.saved_model.load(folder / "exported")


def assert_serves_like(loaded, model, inputs):
    served = {name: value.numpy() for name, value in loaded.serve(inputs).items()}
    assert_close(served, as_numpy(direct(model, inputs)))


# Keras', about JAX.
@pytest.mark.filterwarnings("ignore:The `native_serialization` parameter is deprecated:DeprecationWarning")
@pytest.mark.quick("led-ForQuestionAnswering", "longt5-tglobal-Encoder", "longt5-local-ForConditionalGeneration")
@pytest.mark.quick_in_jax("longt5-local-Encoder")
@every_part
def test_an_export_needs_no_call_and_is_the_model_at_any_length(kind, head, tmp_path):
    model = make(kind, head)
    loaded = exported(model, tmp_path)
    # Without a whole block, with some, and with one that is not whole.
    for length in (1, 15, 31):
        assert_serves_like(loaded, model, inputs_of(model, kind, length))
    if not IS_JAX:
        layer, inputs = keras.layers.TFSMLayer(tmp_path / "exported", call_endpoint="serve"), inputs_of(model, kind, 9)
        assert_close(as_numpy(layer(inputs)), as_numpy(model(inputs)))


@pytest.mark.quick("longt5-tglobal-Encoder")
@pytest.mark.tensorflow
@every_part
def test_an_export_of_a_functional_composition_is_the_model(kind, head, tmp_path):
    part = make(kind, head)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in part.exported_inputs}
    outputs = part(inputs)
    model = keras.Model(inputs, {name: keras.layers.Rescaling(2.0)(value) for name, value in outputs.items()})
    loaded = exported(model, tmp_path)
    for length in (1, 20):
        assert_serves_like(loaded, model, inputs_of(part, kind, length))


@pytest.mark.tensorflow
def test_an_export_refuses_more_tokens_than_there_are_positions(tmp_path):
    model = make("led", "ForSequenceClassification")
    for part, limit in ((model, "max_decoder_position_embeddings"), (model.encoder, "max_encoder_position_embeddings")):
        loaded = exported(part, tmp_path / limit)
        with pytest.raises(tf.errors.InvalidArgumentError, match=limit):
            loaded.serve(inputs_of(part, "led", getattr(model.config, limit) + 1))


@pytest.mark.tensorflow
def test_an_export_with_a_signature_has_that_signature(tmp_path):
    model = make("longt5-local", "Model")
    spec = {
        name: keras.InputSpec(shape=(2, 8), dtype="int32", name=name) for name in ("input_ids", "decoder_input_ids")
    }
    model.export(tmp_path / "exported", verbose=False, input_signature=[spec])
    inputs = {name: np.full((2, 8), 7, "int32") for name in spec}
    assert_serves_like(tf.saved_model.load(tmp_path / "exported"), model, inputs)


@pytest.mark.tensorflow
def test_onnx_by_keras_own_way_is_refused(tmp_path):
    with pytest.raises(ValueError, match="export_onnx"):
        make("longt5-local", "Model").export(tmp_path / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())

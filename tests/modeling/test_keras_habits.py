"""What Keras users do beside fit and call: callbacks that export, summaries, layers without all their inputs."""

import warnings

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, JIT_COMPILE
from routines import as_numpy
from tiny import HEADS, make_config, make_encoder, make_inputs, make_labels, make_model, one_layer

import tfmodels
from tfmodels.layers.attention.cached_attention import CachedAttention
from tfmodels.layers.feed_forward import FeedForward

KINDS = ("led", "longt5-tglobal")
every_kind = pytest.mark.parametrize("kind", KINDS)


def data(kind, rows=3):
    return {**make_inputs(kind, 21, lengths=(21, 16, 9)), "labels": make_labels()}


@every_kind
def test_compiled_functions_can_be_forgotten_while_fit_runs(kind):
    model, inputs = make_model(kind, **one_layer(kind)), data(kind)

    class Forget(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.gradient_checkpointing_enable()

        def on_epoch_end(self, epoch, logs=None):
            self.model.forget_compiled()

    model.compile(optimizer="sgd", **FEW_STEPS)
    history = model.fit(inputs, validation_data=inputs, batch_size=1, epochs=2, callbacks=[Forget()], verbose=0).history
    assert len(history["val_loss"]) == 2
    assert model.decoder.gradient_checkpointing


@pytest.mark.tensorflow
def test_a_callback_may_export_at_the_end_of_each_epoch(tmp_path):
    from export import export_saved_model

    tokenizer = tfmodels.LongT5Tokenizer.train_from_iterator(
        ["Long documents, read by windows and by a few global tokens."] * 3, 130
    )
    model = make_model("longt5-local", **one_layer("longt5-local"), vocab_size=tokenizer.vocab_size)

    settings = tfmodels.GenerationConfig(max_new_tokens=2)

    class Export(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            export_saved_model(
                self.model, tokenizer, tmp_path / str(epoch + 1), lengths=(32,), generation_config=settings
            )

    model.compile(optimizer="sgd")
    inputs = {name: np.minimum(x, tokenizer.vocab_size - 1) for name, x in data("longt5-local").items()}
    model.fit(inputs, batch_size=3, epochs=2, callbacks=[Export()], verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["1", "2"]


@pytest.mark.quick(
    "led-Model",
    "led-ForSequenceClassification",
    "longt5-tglobal-ForConditionalGeneration",
    "longt5-tglobal-ForQuestionAnswering",
)
@pytest.mark.parametrize("head", HEADS)
@every_kind
def test_summaries_have_no_unknown_shapes(kind, head):
    lines = []
    make_model(kind, head=head, **one_layer(kind)).summary(print_fn=lines.append)
    assert " ? " not in "\n".join(lines)
    assert "(None, None, 32)" in "\n".join(lines)


LAYERS = {
    "longformer": lambda: tfmodels.LongformerSelfAttention(4, 8),
    "local": lambda: tfmodels.LongT5LocalSelfAttention(4, 8, local_radius=3),
    "transient-global": lambda: tfmodels.LongT5TransientGlobalSelfAttention(4, 8, local_radius=3, global_block_size=4),
    "cached": lambda: CachedAttention(4, 8),
    "feed-forward": lambda: FeedForward(64, "relu", safe_output=True, dtype="mixed_float16"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_know_their_output_shape_and_dtype(name):
    layer, x = LAYERS[name](), np.ones((2, 11, 32), "float32")
    symbolic = layer(keras.Input((None, 32)))
    found = layer(x)
    assert layer.compute_output_shape((2, 11, 32)) == tuple(found.shape)
    assert symbolic.shape == (None, None, 32)
    assert keras.backend.standardize_dtype(symbolic.dtype) == keras.backend.standardize_dtype(found.dtype)


@pytest.mark.parametrize("jit_compile", JIT_COMPILE[:1])
@pytest.mark.parametrize("slots", [64, 0])
def test_an_encoder_without_a_global_mask_trains_without_a_warning(slots, jit_compile):
    encoder = make_encoder("led", **one_layer("led"), max_global_tokens=slots)
    ids = keras.Input((20,), dtype="int32")
    pooled = keras.layers.GlobalAveragePooling1D()(encoder(ids)["last_hidden_state"])
    model = keras.Model(ids, keras.layers.Dense(1)(pooled))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
    unused = encoder.blocks[0].self_attention.key_global.kernel
    before = as_numpy(unused.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__")  # Keras' variables under NumPy 2
        model.fit(np.full((2, 20), 7, "int32"), np.ones((2, 1), "float32"), verbose=0)
    np.testing.assert_array_equal(as_numpy(unused.value), before)


@pytest.mark.parametrize("length", [1, 3])
def test_short_documents_without_summaries_train_without_a_warning(length):
    model = make_model("longt5-tglobal", **one_layer("longt5-tglobal"))
    model.compile(optimizer="sgd", **FEW_STEPS)
    inputs = {"input_ids": np.full((2, length), 7, "int32"), "labels": np.full((2, 2), 8, "int32")}
    assert np.isfinite(model.fit(inputs, verbose=0).history["loss"]).all()


def test_a_config_may_ask_for_recomputation():
    model = make_model("led", **one_layer("led"), gradient_checkpointing=True)
    assert [part.gradient_checkpointing for part in (model.encoder, model.decoder)] == [True, True]
    assert make_config("led").gradient_checkpointing is False

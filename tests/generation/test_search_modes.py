"""A search finds the same tokens eagerly, in a graph, under XLA, in a SavedModel and step by step."""

import numpy as np
import pytest
from backends import IS_JAX, as_tensor
from routines import as_numpy
from test_generation import every_kind, sharpen
from tiny import KINDS, make_inputs, make_shallow_model

import tfmodels

RULES = {
    "repetition_penalty": 1.5,
    "encoder_repetition_penalty": 1.2,
    "no_repeat_ngram_size": 2,
    "encoder_no_repeat_ngram_size": 3,
    "bad_words_ids": [[11], [7, 8], [9, 10, 12]],
    "min_new_tokens": 3,
    "exponential_decay_length_penalty": (3, 1.3),
    "suppress_tokens": [21, 22],
    "begin_suppress_tokens": [30],
    "forced_bos_token_id": 15,
}
SEARCHES = {
    "greedy": {},
    "beams": {"num_beams": 3, "num_return_sequences": 2, "length_penalty": 0.8, "early_stopping": True},
    "samples": {"do_sample": True, "num_return_sequences": 2, "temperature": 0.9, "top_k": 40, "top_p": 0.95},
    "sampled beams": {"do_sample": True, "num_beams": 2, "typical_p": 0.9, "min_p": 0.01},
}


def settings_of(search):
    return (
        RULES
        | SEARCHES[search]
        | {"max_new_tokens": 8, "return_dict": True, "output_scores": False}
        | ({"seed": 5} if SEARCHES[search].get("do_sample") else {})
    )


each_search = pytest.mark.parametrize(("kind", "search"), list(zip(KINDS * 2, SEARCHES, strict=False)))


@each_search
def test_eager_graph_and_xla_find_the_same(kind, search):
    model, inputs, settings = sharpen(make_shallow_model(kind)), make_inputs(kind), settings_of(search)
    wanted = as_numpy(model.generate(**inputs, **settings))
    found = as_numpy(model.generate(**inputs, **settings, jit_compile=True))
    np.testing.assert_array_equal(found["sequences"], wanted["sequences"])
    np.testing.assert_allclose(found["sequences_scores"], wanted["sequences_scores"], rtol=1e-4)
    if not IS_JAX:
        import tensorflow as tf

        tf.config.run_functions_eagerly(True)
        try:
            found = as_numpy(model.generate(**inputs, **settings))
        finally:
            tf.config.run_functions_eagerly(False)
        np.testing.assert_array_equal(found["sequences"], wanted["sequences"])


@pytest.mark.quick("longt5-tglobal-beams")
@pytest.mark.tensorflow
@each_search
def test_a_reloaded_savedmodel_finds_the_same(kind, search, tmp_path):
    import tensorflow as tf

    model, inputs, settings = sharpen(make_shallow_model(kind)), make_inputs(kind), settings_of(search)
    wanted = as_numpy(model.generate(**inputs, **settings))
    module = tf.Module()
    module.variables_of_the_model = [variable.value for variable in model.variables]
    specs = {name: tf.TensorSpec((None, 53), tf.int32, name) for name in inputs}
    module.generate = tf.function(lambda given: model.generate(**given, **settings), [specs], autograph=False)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    found = as_numpy(loaded.generate({name: as_tensor(x) for name, x in inputs.items()}))
    np.testing.assert_array_equal(found["sequences"], wanted["sequences"])
    np.testing.assert_allclose(found["sequences_scores"], wanted["sequences_scores"], rtol=1e-4)


# What TensorFlow draws with this seed: noise by hashing knows no backend.
DRAWN = [[33, 27, 57, 46, 25], [18, 44, 72, 39, 88]]


def test_draws_are_the_same_on_every_backend():
    model = make_shallow_model("longt5-local")
    for variable in model.variables:
        variable.assign(np.zeros(variable.shape))
    inputs = {name: x[:2] for name, x in make_inputs("longt5-local").items()}
    found = np.asarray(model.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=5, seed=9))
    assert found[:, 1:].tolist() == DRAWN


@pytest.mark.quick("longt5-local-greedy", "led-samples")
@pytest.mark.quick_in_jax("longt5-local-greedy")
@pytest.mark.parametrize("search", ["greedy", "samples"])
@every_kind
def test_a_stream_is_what_generate_returns(kind, search):
    model, inputs, settings = sharpen(make_shallow_model(kind)), make_inputs(kind), settings_of(search)
    wanted = np.asarray(model.generate(**inputs, **settings)["sequences"])
    settings = {name: value for name, value in settings.items() if name not in ("return_dict", "output_scores")}
    steps = list(model.generate_stream(**inputs, **settings))
    found = np.stack(steps, axis=1)
    np.testing.assert_array_equal(found, wanted[:, 1 : 1 + found.shape[1]])
    assert (wanted[:, 1 + found.shape[1] :] == model.config.pad_token_id).all()


def test_a_stream_goes_through_the_tokenizer():
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(["def area(width): return width"] * 3, 300)
    model = sharpen(make_shallow_model("led", vocab_size=tokenizer.vocab_size))
    inputs = tokenizer(["def area"], max_length=16)
    text = "".join(tokenizer.stream(model.generate_stream(**inputs, max_new_tokens=9)))
    assert text == tokenizer.batch_decode(model.generate(**inputs, max_new_tokens=9))[0]
    with pytest.raises(ValueError, match="num_beams must be 1 to stream. Received: num_beams=2"):
        model.generate_stream(**inputs, num_beams=2)


@pytest.mark.quick("led")
@every_kind
def test_a_documents_rows_share_its_keys_whatever_they_are(kind):
    """Beams whose ancestors differ see what gathered caches would hold: scores of a teacher-forced pass."""
    model, inputs = sharpen(make_shallow_model(kind)), make_inputs(kind)
    # Padding that was written on purpose would not count in the score.
    settings = {"num_beams": 4, "num_return_sequences": 4, "suppress_tokens": [model.config.pad_token_id]}
    found = model.generate(**inputs, **settings, max_new_tokens=9, return_dict=True)
    sequences, wanted = np.asarray(found["sequences"]), np.asarray(found["sequences_scores"])
    assert all(len({tuple(row) for row in rows}) == 4 for rows in sequences.reshape(3, 4, -1).tolist())
    scores = np.asarray(model.score(inputs, sequences[:, 1:], length_penalty=1.0))
    np.testing.assert_allclose(scores, wanted, atol=1e-4)

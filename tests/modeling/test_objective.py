"""The loss is the mean over the labels of a whole batch: weighted, masked, on one device, accumulated."""

import keras
import numpy as np
import pytest
from backends import FEW_STEPS, direct
from routines import as_numpy
from tiny import (
    HEADS,
    KINDS,
    VOCABULARY,
    make_config,
    make_inputs,
    make_inputs_for,
    make_labels,
    make_model,
    no_dropout,
    one_layer,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
LM, CLASSIFIER, ANSWERER = HEADS[1:]


def make(kind, head=LM, **compiled):
    # Without relu's edge, on which side of which rounding decides.
    smooth = {"feed_forward_proj": "gated-gelu"} if hasattr(make_config(kind), "feed_forward_proj") else {}
    model = make_model(kind, head=head, **one_layer(kind), **no_dropout(kind), **smooth)
    model.compile(**{"optimizer": "sgd", **FEW_STEPS, **compiled})
    return model


def uneven_labels():
    labels = make_labels()
    labels[0, 1:], labels[1, -1] = -100, -100
    return labels


def label_losses(model, inputs, labels):
    """The cross-entropy of each label, by NumPy: (B, T), and which labels count."""
    logits = as_numpy(direct(model, {**inputs, "labels": labels})["logits"]).astype("float64")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    counts = labels != -100
    return (np.log(np.exp(shifted).sum(axis=-1)) - chosen) * counts, counts


@pytest.mark.quick("inputs-rows-led", "inputs-labels-longt5-tglobal", "y-labels-longt5-local", "y-rows-led")
@every_kind
@pytest.mark.parametrize("shape", ["rows", "labels"])
@pytest.mark.parametrize("place", ["inputs", "y"])
def test_sample_weights_multiply_losses_and_labels_count_as_before(kind, shape, place):
    model, inputs, labels = make(kind), make_inputs(kind), uneven_labels()
    weight = np.array([0.5, 2.0, 0.0], "float32")
    if shape == "labels":
        weight = weight[:, None] * np.linspace(0.5, 1.5, labels.shape[1], dtype="float32")
    losses, counts = label_losses(model, inputs, labels)
    wanted = (losses * (weight if shape == "labels" else weight[:, None])).sum() / counts.sum()
    x, y = ({**inputs, "labels": labels}, None) if place == "inputs" else (inputs, labels)
    found = model.evaluate(x, y, sample_weight=weight, batch_size=3, verbose=0)
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.quick("led")
@every_kind
def test_the_loss_that_is_reported_does_not_depend_on_the_batches(kind):
    model, inputs = make(kind), {**make_inputs(kind), "labels": uneven_labels()}
    losses, counts = label_losses(model, make_inputs(kind), uneven_labels())
    for batch_size in (1, 2, 3):
        assert model.evaluate(inputs, batch_size=batch_size, verbose=0) == pytest.approx(
            losses.sum() / counts.sum(), rel=1e-5
        )


@pytest.mark.quick("longt5-local")
@every_kind
def test_labels_as_y_train_as_labels_among_the_inputs(kind):
    inputs, labels = make_inputs(kind), uneven_labels()
    weights = []
    for x, y in ((inputs, labels), ({**inputs, "labels": labels}, None), (list(inputs.values()), labels)):
        keras.utils.set_random_seed(1)
        model = make(kind)
        model.fit(x, y, batch_size=3, verbose=0)
        weights.append(np.concatenate([np.ravel(as_numpy(v.value)) for v in model.trainable_variables]))
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])


@pytest.mark.quick("y-longt5-tglobal", "inputs-led")
@every_kind
@pytest.mark.parametrize("place", ["inputs", "y"])
def test_compiled_losses_and_metrics_see_the_labels_that_the_loss_sees(kind, place):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model, inputs, labels = make(kind, loss=loss, metrics=["accuracy"]), make_inputs(kind), uneven_labels()
    logits = as_numpy(direct(model, {**inputs, "labels": labels})["logits"])
    losses, counts = label_losses(model, inputs, labels)
    right = ((logits.argmax(axis=-1) == labels) & counts).sum() / counts.sum()
    x, y = ({**inputs, "labels": labels}, None) if place == "inputs" else (inputs, labels)
    found = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(losses.sum() / counts.sum(), rel=1e-5)
    assert found["accuracy"] == pytest.approx(right)
    # What the model takes for best is right wherever it counts, whatever stands elsewhere.
    best = np.where(counts, logits.argmax(axis=-1), -100).astype("int32")
    target = np.full_like(labels, model.config.decoder_start_token_id)
    target[:, 1:] = np.where(counts, labels, model.config.pad_token_id)[:, :-1]
    again = model.evaluate({**inputs, "decoder_input_ids": target}, best, verbose=0, return_dict=True)
    assert again["accuracy"] == 1.0


@pytest.mark.quick("led")
@every_kind
def test_class_weights_weigh_the_rows_of_a_classifier_and_nothing_else(kind):
    model, inputs = make(kind, CLASSIFIER), make_inputs_for(kind, CLASSIFIER)
    labels = inputs.pop("labels")
    logits = as_numpy(direct(model, inputs)["logits"]).astype("float64")
    losses = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(3), labels]
    model.compile(optimizer=keras.optimizers.SGD(0.0), **FEW_STEPS)
    for x, y in ((inputs, labels), ({**inputs, "labels": labels}, None)):
        found = model.fit(x, y, batch_size=3, class_weight={0: 0.5, 1: 3.0}, verbose=0).history["loss"][0]
        assert found == pytest.approx((losses * np.where(labels == 0, 0.5, 3.0)).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="class_weight must be None for .*ForConditionalGeneration"):
        make(kind).fit({**make_inputs(kind), "labels": make_labels()}, class_weight={1: 2.0}, verbose=0)


@pytest.mark.quick("longt5-local")
@every_kind
def test_an_answers_two_positions_are_averaged_and_weighted(kind):
    model, inputs = make(kind, ANSWERER), make_inputs_for(kind, ANSWERER)
    pair = inputs.pop("start_positions"), inputs.pop("end_positions")
    pair[1][2] = 10_000  # beyond the inputs: no loss
    outputs = as_numpy(direct(model, inputs))
    weight, means = np.array([1.0, 0.5, 2.0]), []
    for positions, name in zip(pair, ("start_logits", "end_logits"), strict=True):
        logits, known = outputs[name].astype("float64"), positions < 29
        losses = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(3), np.where(known, positions, 0)]
        means.append((losses * known * weight).sum() / known.sum())
    found = model.evaluate(inputs, pair, sample_weight=weight, batch_size=3, verbose=0)
    assert found == pytest.approx(np.mean(means), rel=1e-5)


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_accumulated_gradients_are_those_of_all_labels_at_once(kind):
    data = {**make_inputs(kind), "labels": uneven_labels()}
    found = []
    for steps, batch_size in ((None, 3), (3, 1)):
        keras.utils.set_random_seed(2)
        optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=steps)
        model = make(kind, optimizer=optimizer)
        history = model.fit(data, batch_size=batch_size, epochs=2, shuffle=False, verbose=0).history["loss"]
        weights = np.concatenate([np.ravel(as_numpy(v.value)) for v in model.trainable_variables])
        found.append((history, weights))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=5e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=2e-6)


@pytest.mark.quick("led")
@every_kind
def test_ids_labels_and_masks_out_of_range_are_errors_by_name(kind):
    model, inputs, labels = make(kind), make_inputs(kind), make_labels()
    wrong_ids, wrong_labels = inputs["input_ids"].copy(), labels.copy()
    wrong_ids[1, 3], wrong_labels[0, 2] = VOCABULARY, VOCABULARY
    ids = {**inputs, "input_ids": wrong_ids}
    mask = {**inputs, "attention_mask": 2 * inputs["attention_mask"]}
    good = {"labels": labels}
    for call in (lambda x: model(x), lambda x: model.fit(x, verbose=0), lambda x: model.evaluate(x, verbose=0)):
        with pytest.raises(
            ValueError, match=rf"(?s)input_ids must be from 0 to 89. Received: {VOCABULARY} at \(1, 3\)"
        ):
            call({**ids, **good})
        with pytest.raises(ValueError, match=r"(?s)labels must be from 0 to 89, or -100. Received: 90 at \(0, 2\)"):
            call({**inputs, "labels": wrong_labels})
        with pytest.raises(ValueError, match=r"(?s)attention_mask must hold .*global_attention_mask. Received: 2"):
            call({**mask, **good})
    for call in (lambda x: model.generate(**x, max_new_tokens=2), lambda x: model.score(x, labels)):
        with pytest.raises(ValueError, match="input_ids must be from 0 to 89"):
            call(ids)
        with pytest.raises(ValueError, match="attention_mask must hold"):
            call(mask)
    with pytest.raises(ValueError, match="candidates must be from 0 to 89"):
        model.score(inputs, wrong_labels)
    with pytest.raises(ValueError, match="(?s)labels must be from 0 to 1, or -100"):
        make(kind, CLASSIFIER)({**make_inputs_for(kind, CLASSIFIER), "labels": np.array([0, 1, 2])})


@pytest.mark.quick("longt5-local")
@pytest.mark.tensorflow
@every_kind
def test_graphs_name_ids_and_labels_out_of_range(kind):
    import tensorflow as tf

    model, inputs, labels = make(kind, run_eagerly=False, jit_compile=False), make_inputs(kind), make_labels()
    wrong_ids, wrong_labels = inputs["input_ids"].copy(), labels.copy()
    wrong_ids[1, 3], wrong_labels[0, 2] = VOCABULARY, VOCABULARY
    run = tf.function(lambda x: model(x, training=True)["loss"], autograph=False)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"input_ids must be from 0 to 89. Received: \] \[0\] \[90"
    ):
        run({**inputs, "input_ids": tf.constant(wrong_ids), "labels": tf.constant(labels)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 89, or -100"):
        run({**inputs, "labels": tf.constant(wrong_labels)})


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_a_label_out_of_range_has_no_loss_where_nothing_can_be_raised(kind):
    """In a program that XLA compiles, which runs on the backend's data set."""
    inputs, labels = make_inputs(kind), make_labels()
    wrong, ignored = labels.copy(), labels.copy()
    wrong[0, 2], ignored[0, 2] = VOCABULARY + 7, -100
    found = []
    for given in (wrong, ignored):
        keras.utils.set_random_seed(3)
        model = make(kind, run_eagerly=False, jit_compile=True)
        found.append(model.fit(batches({**inputs, "labels": given}), verbose=0).history["loss"][0])
        assert all(np.isfinite(as_numpy(v.value)).all() for v in model.trainable_variables)
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def batches(data):
    """One batch that no check of arrays sees."""

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return (data,)

    return Batches()


@pytest.mark.quick("led")
@every_kind
def test_no_documents_have_no_summaries(kind):
    model = make(kind)
    none = {name: x[:0] for name, x in make_inputs(kind).items()}
    found = model.generate(**none, max_new_tokens=3, num_beams=2, return_dict=True, output_attentions=True)
    assert tuple(found["sequences"].shape) == (0, 4)
    assert tuple(found["scores"].shape) == (3, 0, VOCABULARY)
    assert all(x.shape[0] == 0 for name, x in found.items() if name in ("sequences_scores", "beam_indices"))
    assert list(model.generate_stream(**none, max_new_tokens=3)) == []
    assert tuple(model.score(none, np.zeros((0, 4), "int32")).shape) == (0,)


@pytest.mark.quick("longt5-local")
@every_kind
def test_head_masks_hold_in_generation_as_in_a_call(kind):
    model, inputs = make(kind), make_inputs(kind)
    masks = {name: np.array([1.0, 0.0, 1.0, 0.5], "float32") for name in ("decoder_head_mask", "cross_attn_head_mask")}
    masks["head_mask"] = np.array([0.0, 1.0, 1.0, 1.0], "float32")
    settings = {"max_new_tokens": 3, "return_dict": True, "use_cache": True}
    # Padding that was written on purpose would not count in the score.
    beams_settings = {"num_beams": 2, "suppress_tokens": [model.config.pad_token_id]}
    for beams, rules in ((1, {}), (2, beams_settings)):
        found = model.generate(**inputs, **masks, **settings, **rules)
        target = found["sequences"][:, :-1]
        logits = as_numpy(direct(model, inputs, decoder_input_ids=target, **masks)["logits"])
        if beams == 1:
            steps = as_numpy(found["scores"])  # (T, B, V)
            ended = np.cumsum(np.asarray(target) == model.config.eos_token_id, axis=1)[:, 1:] > 0
            for step in range(steps.shape[0]):
                alive = np.ones(3, bool) if step == 0 else ~ended[:, step - 1]
                np.testing.assert_allclose(steps[step][alive], logits[alive, step], atol=1e-4)
        else:
            wanted = as_numpy(model.score({**inputs, **masks}, found["sequences"][:, 1:], length_penalty=1.0))
            np.testing.assert_allclose(as_numpy(found["sequences_scores"]), wanted, rtol=1e-3)


def test_a_decoder_alone_says_that_it_needs_documents():
    with pytest.raises(ValueError, match="(?s)encoder_hidden_states or a cache must be given. Received: neither"):
        make("led").get_decoder()(input_ids=np.ones((1, 3), "int32"))


# In the backend's compiled step: eagerly, sizes are known that a graph does not know.
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 7)])
def test_weights_go_with_metrics_in_compiled_steps(shape):
    kind, weight = "led", np.linspace(0.5, 2.0, int(np.prod(shape))).reshape(shape).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = make(kind, loss=loss, metrics=["accuracy"], run_eagerly=False, jit_compile=False)
    losses, counts = label_losses(model, make_inputs(kind), uneven_labels())
    wanted = (losses * weight.reshape(3, -1)).sum() / counts.sum()
    found = model.evaluate(make_inputs(kind), uneven_labels(), sample_weight=weight, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(
        ValueError, match=r"(?s)sample_weight must have shape \(3,\) or \(3, 7\). Received: shape \(3, 6\)"
    ):
        make(kind, loss=loss).evaluate(make_inputs(kind), uneven_labels(), sample_weight=np.ones((3, 6)), verbose=0)


@pytest.mark.quick("longt5-tglobal")
@every_kind
def test_weights_count_wherever_they_are_given(kind):
    model, data, weight = make(kind), {**make_inputs(kind), "labels": uneven_labels()}, np.array([5.0, 1.0, 0.5])
    wanted = model.evaluate(data, sample_weight=weight, batch_size=3, verbose=0)
    assert wanted != pytest.approx(model.evaluate(data, batch_size=3, verbose=0), rel=0.1)
    assert model.evaluate(data, None, 3, 0, weight) == pytest.approx(wanted)
    model.compile(optimizer=keras.optimizers.SGD(0.0), **FEW_STEPS)
    history = model.fit(data, validation_data=(data, None, weight), batch_size=3, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_ids_and_labels_of_narrow_types_mean_what_they_say(dtype):
    model, labels = make_model("led", **one_layer("led"), vocab_size=40_000), make_labels()
    inputs = {**make_inputs("led"), "labels": labels}
    wanted = as_numpy(direct(model, inputs)["loss"])
    labels = np.where(labels < 0, 9, labels) if dtype == "uint8" else labels
    narrow = {**inputs, "input_ids": inputs["input_ids"].astype(dtype), "labels": labels.astype(dtype)}
    if dtype == "uint8":
        wanted = as_numpy(direct(model, {**inputs, "labels": labels})["loss"])
    assert as_numpy(direct(model, narrow)["loss"]) == pytest.approx(wanted)
    model.compile(run_eagerly=False, jit_compile=False)
    assert model.evaluate(narrow, verbose=0) == pytest.approx(wanted.item(), rel=1e-5)


def test_a_loss_that_sums_is_accumulated_as_keras_does():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    weights = []
    for steps, batch_size, rate in ((3, 1, 0.03), (None, 3, 0.01)):
        keras.utils.set_random_seed(2)
        optimizer = keras.optimizers.SGD(rate, gradient_accumulation_steps=steps)
        model = make("led", loss=loss, optimizer=optimizer)
        model.fit(make_inputs("led"), uneven_labels(), batch_size=batch_size, shuffle=False, verbose=0)
        weights.append(np.concatenate([np.ravel(as_numpy(v.value)) for v in model.trainable_variables]))
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-6)


@every_kind
def test_a_model_without_a_head_trains_on_a_compiled_loss(kind):
    model, inputs = make(kind, "Model", loss="mse"), make_inputs_for(kind, "Model")
    target = np.zeros((3, 6, 32), "float32")
    hidden = as_numpy(direct(model, inputs)["last_hidden_state"])
    weight = np.array([1.0, 0.0, 3.0], "float32")
    assert model.evaluate(inputs, target, verbose=0) == pytest.approx((hidden**2).mean(), rel=1e-5)
    found = model.evaluate(inputs, target, sample_weight=weight, verbose=0)
    assert found == pytest.approx((hidden**2 * weight[:, None, None]).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="y must be given. Received: none"):
        model.evaluate(inputs, verbose=0)


def test_a_step_of_the_users_own_may_update_the_loss_as_keras_documents_it():
    model = make("led")
    for metric in model.metrics:
        if metric.name == "loss":
            metric.update_state(3.0, sample_weight=2)
            metric.update_state(6.0, sample_weight=1)
    assert float(model.metrics[0].result()) == 4.0


def test_what_cannot_be_meant_is_refused_by_name():
    model, inputs, labels = make("led"), make_inputs("led"), make_labels()

    class OwnMetric(keras.metrics.Mean):
        def update_state(self, y_true, y_pred):
            return None

    sums = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
    accumulating = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    built = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    built.build(model.trainable_variables)
    refusals = {
        "labels must be given once": lambda: model.fit({**inputs, "labels": labels}, labels + 1, verbose=0),
        "class_weight must be None": lambda: model.fit(batches({**inputs, "labels": labels}), class_weight={1: 2.0}),
        "metrics must be a list": lambda: model.compile(metrics="accuracy"),
        "metrics must take sample_weight": lambda: model.compile(metrics=[OwnMetric()]),
        "loss must have another reduction": lambda: model.compile(accumulating, loss=sums),
        "must be compiled before it is built": lambda: model.compile(built),
        "attention_mask must hold": lambda: model.predict({**inputs, "attention_mask": inputs["attention_mask"] * 2}),
    }
    for message, call in refusals.items():
        with pytest.raises(ValueError, match=message):
            call()
    model = make("led")
    named = model.evaluate(inputs, {"labels": labels}, verbose=0)
    assert named == pytest.approx(model.evaluate(inputs, labels, verbose=0))


@every_kind
def test_scores_follow_the_settings_of_the_model(kind):
    model, inputs, candidates = make(kind), make_inputs(kind), np.full((3, 4), 7, "int32")
    candidates[:, 1:] = 8
    whole = as_numpy(model.score(inputs, candidates))
    model.generation_config = model.generation_config.replace(eos_token_id=7)
    assert (as_numpy(model.score(inputs, candidates)) > whole).all()

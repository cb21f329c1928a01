"""Gradients that are not finite change nothing, in any mode, and accumulated batches are one batch."""

import keras
import numpy as np
import pytest
from keras import ops
from optimizer_steps import RUNS, assert_close, assert_equal, state, stepper, take_steps, weights_and_gradients
from tiny import make_inputs, make_labels, make_shallow_model, no_dropout

from training.run.optimizers import AdamW, gradient_figures, make_optimizer

NAMES = ("adamw", "adafactor")


def bad(each):
    """The gradients with one NaN."""
    spoilt = [gradient.copy() for gradient in each]
    spoilt[0][0, 0] = np.nan
    return spoilt


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_that_are_not_finite_change_no_weight_and_no_moment(name, run):
    weights, gradients = weights_and_gradients(3)
    optimizer = make_optimizer(name, weight_decay=0.1)
    variables = [keras.Variable(weight) for weight in weights]
    step = stepper(optimizer, variables, run)
    step([ops.convert_to_tensor(x) for x in gradients[0]])
    norm = np.sqrt(sum((x**2).sum() for x in gradients[0]))
    assert gradient_figures(optimizer) == (pytest.approx(norm, rel=1e-5), 0)
    before = state(optimizer), [ops.convert_to_numpy(v).copy() for v in variables]
    step([ops.convert_to_tensor(x) for x in bad(gradients[1])])
    assert_equal([ops.convert_to_numpy(v) for v in variables], before[1])
    # The iterations, and the two figures on gradients.
    changed = [not np.array_equal(*pair) for pair in zip(state(optimizer), before[0], strict=True)]
    assert sum(changed) == 3
    assert int(optimizer.iterations) == 2
    norm, skipped = gradient_figures(optimizer)
    assert (np.isnan(norm), skipped) == (True, 1)
    step([ops.convert_to_tensor(x) for x in gradients[2]])
    assert gradient_figures(optimizer)[1] == 1
    assert all(np.isfinite(x).all() for x in state(optimizer))
    assert not np.array_equal(ops.convert_to_numpy(variables[0]), before[1][0])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_window_counts_without_a_batch_that_is_not_finite(name, place, run):
    weights, gradients = weights_and_gradients(3)
    mean = [[sum(each) / 2 for each in zip(*(g for i, g in enumerate(gradients) if i != place), strict=True)]]
    one, many = make_optimizer(name), make_optimizer(name, accumulate=3)
    wanted = take_steps(one, weights, mean)
    spoilt = [bad(each) if i == place else each for i, each in enumerate(gradients)]
    assert_close(take_steps(many, weights, spoilt, run), wanted, 1e-6)
    norm, skipped = gradient_figures(many)
    assert skipped == 1
    # The figure of the last batch says so when it was left out.
    assert np.isnan(norm) if place == 2 else norm == pytest.approx(gradient_figures(one)[0], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_without_a_finite_batch_changes_nothing(name):
    weights, gradients = weights_and_gradients(2)
    optimizer = make_optimizer(name, accumulate=2)
    assert_equal(take_steps(optimizer, weights, [bad(each) for each in gradients]), weights)
    assert int(optimizer.iterations) == 1


def test_averages_of_weights_stay_when_the_weights_stay():
    weights, gradients = weights_and_gradients(2)
    optimizer = AdamW(0.1, use_ema=True, ema_momentum=0.5)
    variables = [keras.Variable(weight) for weight in weights]
    step = stepper(optimizer, variables)
    for each in gradients:
        step([ops.convert_to_tensor(x) for x in each])
    before = [x for v, x in zip(optimizer.variables, state(optimizer), strict=True) if "average" in v.path]
    step([ops.convert_to_tensor(x) for x in bad(gradients[0])])
    assert before
    assert_equal([x for v, x in zip(optimizer.variables, state(optimizer), strict=True) if "average" in v.path], before)


def test_a_loss_scale_leaves_out_what_is_not_finite_and_shows_the_unscaled_norm():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="mixed_float16", use_bias=False)])
    scaled = keras.optimizers.LossScaleOptimizer(make_optimizer("adamw"), initial_scale=2.0**10)
    model.compile(optimizer=scaled, loss="mse")
    model.layers[0].kernel.assign(np.zeros((2, 1), "float32"))
    model.fit(np.ones((4, 2), "float32"), np.ones((4, 1), "float32"), verbose=0)
    assert gradient_figures(scaled) == (pytest.approx(2 * np.sqrt(2), rel=1e-2), 0)
    before = ops.convert_to_numpy(model.layers[0].kernel).copy()
    model.fit(np.full((4, 2), 6e4, "float32"), np.full((4, 1), -6e4, "float32"), verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.layers[0].kernel), before)
    assert float(scaled.dynamic_scale) == 2.0**9
    assert np.isfinite(gradient_figures(scaled)[0])


# Ten seconds each; LongT5 has the sparse gradient, of its embeddings.
@pytest.mark.quick("*adamw-longt5-tglobal*", "*adafactor-longt5-tglobal*")
@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
@pytest.mark.parametrize("name", NAMES)
def test_three_accumulated_batches_of_unequal_labels_are_one_batch_of_all_rows(name, kind):
    data = {**make_inputs(kind, 16, lengths=(16, 9, 4)), "labels": make_labels()}
    trained = []
    for accumulate in (1, 3):
        keras.utils.set_random_seed(3)
        model = make_shallow_model(kind, **no_dropout(kind))
        # A large epsilon: gradients that are zero but for rounding would move by their sign.
        epsilon = 1e-3 if name == "adamw" else None
        optimizer = make_optimizer(name, clip_norm=0.5, epsilon=epsilon, accumulate=accumulate)
        if name == "adafactor":
            optimizer.epsilon_1 = 1e-6
        model.compile(optimizer=optimizer)
        model.fit(data, batch_size=3 // accumulate, shuffle=False, verbose=0)
        trained.append((gradient_figures(optimizer)[0], [ops.convert_to_numpy(v) for v in model.trainable_variables]))
    assert trained[1][0] == pytest.approx(trained[0][0], rel=1e-5)
    assert trained[0][0] > 0.5
    assert_close(trained[1][1], trained[0][1], 2e-6)

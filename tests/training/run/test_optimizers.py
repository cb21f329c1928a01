"""Updates are what the papers say, saved optimizers go on, and norms and biases do not decay."""

import keras
import numpy as np
import pytest
from keras import ops
from optimizer_steps import assert_close, assert_equal, state, stepper, take_steps, weights_and_gradients
from tiny import make_shallow_model

from training.run.adafactor import Adafactor
from training.run.optimizers import NO_DECAY, AdamW, make_optimizer

NAMES = ("adamw", "adafactor")


def test_adamw_is_keras_adamw():
    weights, gradients = weights_and_gradients(5)
    options = {"weight_decay": 0.1, "beta_2": 0.98, "global_clipnorm": 3.0}
    wanted = take_steps(keras.optimizers.AdamW(0.01, **options), weights, gradients)
    assert_close(take_steps(AdamW(0.01, **options), weights, gradients), wanted, 1e-6)


def reference_adafactor(weights, gradients, rate, scale_parameter):
    """Algorithms 4 and 5 of the paper in NumPy, float64."""
    weights = [weight.astype("float64") for weight in weights]
    moments = [None] * len(weights)
    for t, each in enumerate(gradients, start=1):
        decay = 1 - t**-0.8
        for i, gradient in enumerate(each):
            squares = gradient.astype("float64") ** 2 + 1e-30
            factored = squares.ndim >= 2 and min(squares.shape[-2:]) >= 128
            new = (squares.mean(-1), squares.mean(-2)) if factored else (squares,)
            old = moments[i] or tuple(np.zeros_like(x) for x in new)
            moments[i] = tuple(decay * a + (1 - decay) * b for a, b in zip(old, new, strict=True))
            if factored:
                rows, columns = moments[i]
                second = (rows / rows.mean(-1, keepdims=True))[..., None] * columns[..., None, :]
            else:
                second = moments[i][0]
            update = gradient / np.sqrt(second)
            update /= max(1.0, np.sqrt((update**2).mean()))
            scale = max(1e-3, np.sqrt((weights[i] ** 2).mean())) if scale_parameter else 1.0
            weights[i] = weights[i] - rate * scale * update
    return weights


@pytest.mark.parametrize("scale_parameter", [True, False])
def test_adafactor_is_the_papers(scale_parameter):
    weights, gradients = weights_and_gradients(5)
    found = take_steps(Adafactor(0.01, scale_parameter=scale_parameter), weights, gradients)
    assert_close(found, reference_adafactor(weights, gradients, 0.01, scale_parameter), 2e-6)


@pytest.mark.parametrize(("scale_parameter", "beta_1"), [(True, None), (False, 0.9)])
def test_adafactor_is_that_of_transformers(scale_parameter, beta_1):
    torch = pytest.importorskip("torch")
    from transformers.optimization import Adafactor as Peer

    weights, gradients = weights_and_gradients(5, shapes=((130, 128), (40,)))
    options = {"scale_parameter": scale_parameter, "beta1": beta_1, "weight_decay": 0.1}
    parameters = [torch.nn.Parameter(torch.from_numpy(weight.copy())) for weight in weights]
    peer = Peer(parameters, lr=0.01, relative_step=False, **options)
    for each in gradients:
        for parameter, gradient in zip(parameters, each, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        peer.step()
    ours = Adafactor(0.01, scale_parameter=scale_parameter, beta_1=beta_1, weight_decay=0.1)
    assert_close(take_steps(ours, weights, gradients), [p.detach().numpy() for p in parameters], 1e-6)


def test_a_relative_step_falls_with_the_root_of_the_step():
    weights, gradients = weights_and_gradients(1, shapes=((3,),))
    moved = []
    for steps in (1, 4):
        optimizer = Adafactor(10.0, scale_parameter=False, relative_step=True)
        before = take_steps(optimizer, weights, gradients * (steps - 1)) if steps > 1 else weights
        optimizer = Adafactor(10.0, scale_parameter=False, relative_step=True)
        moved.append(np.abs(take_steps(optimizer, weights, gradients * steps)[0] - before[0]).max())
    assert moved[1] == pytest.approx(moved[0] / 2, rel=1e-5)


def test_adafactor_keeps_less_than_a_twentieth_of_the_weights():
    sizes = {"d_model": 256, "encoder_ffn_dim": 1024, "decoder_ffn_dim": 1024, "vocab_size": 4000}
    model = make_shallow_model("led", **sizes)
    optimizer = make_optimizer("adafactor")
    optimizer.build(model.trainable_variables)
    kept = sum(int(np.prod(variable.shape)) for variable in optimizer.variables)
    assert kept < 0.05 * model.count_params()


@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_biases_norms_and_relative_positions_do_not_decay_and_the_rest_does(kind):
    model = make_shallow_model(kind)
    variables = model.trainable_variables
    before = [ops.convert_to_numpy(v).copy() + 1 for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    optimizer = make_optimizer("adamw", weight_decay=0.5, learning_rate=0.1)
    stepper(optimizer, variables)([ops.zeros(v.shape) for v in variables])
    moved = {v.path for v, x in zip(variables, before, strict=True) if not np.array_equal(ops.convert_to_numpy(v), x)}
    assert moved == {v.path for v in variables if len(v.shape) == 2 and "relative" not in v.path}


def test_weights_are_excluded_by_keras_method_too():
    weights = [keras.Variable([1.0], name=name) for name in ("a", "ab", "c")]
    optimizer = AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=weights[:1], var_names=["^c"])
    optimizer.build(weights)
    stepper(optimizer, weights)([ops.zeros((1,))] * 3)
    assert [float(weight[0]) for weight in weights] == pytest.approx([1.0, 0.95, 1.0])


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_optimizer_goes_on_bit_for_bit(name, accumulate):
    weights, gradients = weights_and_gradients(8)
    whole = make_optimizer(name, accumulate=accumulate)
    wanted = take_steps(whole, weights, gradients, "xla")
    first = make_optimizer(name, accumulate=accumulate)
    middle = take_steps(first, weights, gradients[:4], "xla")
    second = keras.optimizers.deserialize(keras.optimizers.serialize(first))
    variables = [keras.Variable(weight) for weight in middle]
    step = stepper(second, variables, "xla")
    for variable, value in zip(second.variables, state(first), strict=True):
        variable.assign(value)
    for each in gradients[4:]:
        step([ops.convert_to_tensor(gradient) for gradient in each])
    assert_equal([ops.convert_to_numpy(v) for v in variables], wanted)
    assert_equal(state(second), state(whole))


@pytest.mark.parametrize("name", NAMES)
def test_a_config_makes_the_same_optimizer(name):
    optimizer = make_optimizer(name, weight_decay=0.3, clip_norm=2.0, accumulate=2)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert keras.optimizers.serialize(again)["config"] == config["config"]
    assert (again.no_decay, again.decay, again.global_clipnorm) == (NO_DECAY, 0.3, 2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "sgd"}, "name must be one of adamw, adafactor. Received: name='sgd'"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0 or None"),
        ({"beta_1": 1.0}, "beta_1 must be at least 0 and below 1"),
        ({"name": "adafactor", "beta_2": 0.9}, "beta_2 must be None for adafactor"),
        ({"name": "adafactor", "beta_1": 2.0}, "beta_1 must be None or at least 0"),
    ],
)
def test_settings_out_of_range_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_optimizer(**arguments)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_weights_of_16_bits_are_trained_and_stay_of_16_bits(name, accumulate):
    weights, gradients = weights_and_gradients(2)
    variables = [keras.Variable(weight, dtype="bfloat16") for weight in weights]
    step = stepper(make_optimizer(name, learning_rate=0.1, accumulate=accumulate), variables)
    for each in gradients:
        step([ops.cast(x, "bfloat16") for x in each])
    for variable, weight in zip(variables, weights, strict=True):
        assert variable.dtype == "bfloat16"
        assert 0 < np.abs(ops.convert_to_numpy(ops.cast(variable, "float32")) - weight).max() < 1

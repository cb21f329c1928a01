"""Variables come back only into the model and optimizer that they are of."""

import keras
import numpy as np
import pytest

from training.run.variables import checkpoint_bytes, load_variables, save_variables, training_variables


def variables(**shapes):
    return {name: keras.Variable(np.full(shape, 3.0, "float32")) for name, shape in shapes.items()}


def small_model(units=3, optimizer="adam"):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)])
    model.compile(optimizer=optimizer, loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_variables_come_back_bit_for_bit(tmp_path):
    model = small_model()
    model.fit(np.ones((4, 2)), np.ones((4, 3)), verbose=0)
    save_variables(tmp_path / "v", training_variables(model))
    wanted = {name: np.array(each) for name, each in training_variables(model).items()}
    other = small_model()
    load_variables(tmp_path / "v", training_variables(other))
    assert sorted(wanted) == sorted(training_variables(other))
    for name, each in training_variables(other).items():
        assert np.array_equal(np.array(each), wanted[name])


def test_optimizer_and_seeds_are_among_them_and_metrics_are_not():
    model = small_model()
    names = [name.split(".")[0] for name in training_variables(model)]
    assert names.count("optimizer") == len(model.optimizer.variables)
    assert names.count("seed") == 1
    assert len(names) == len(model.optimizer.variables) + 1


@pytest.mark.parametrize(
    ("others", "received"),
    [
        ({"a": (2,), "b": (4,)}, r"b: \(\(3,\), 'float32'\) for \(\(4,\), 'float32'\)"),
        ({"a": (2,), "c": (3,)}, r"b: \(\(3,\), 'float32'\) for None"),
        ({"a": (2,)}, "b: "),
        ({"a": (2,), "b": (3,), "c": ()}, r"c: None for \(\(\), 'float32'\)"),
    ],
)
def test_other_names_or_shapes_are_refused_and_nothing_is_changed(tmp_path, others, received):
    save_variables(tmp_path / "v", variables(a=(2,), b=(3,)))
    targets = variables(**others)
    for each in targets.values():
        each.assign(np.zeros(each.shape))
    with pytest.raises(
        ValueError, match=f"must hold the variables of this model and optimizer. Received: .*{received}"
    ):
        load_variables(tmp_path / "v", targets)
    assert not any(np.array(each).any() for each in targets.values())


def test_another_type_is_refused(tmp_path):
    save_variables(tmp_path / "v", variables(a=(2,)))
    with pytest.raises(ValueError, match="'float32'.* for .*'int32'"):
        load_variables(tmp_path / "v", {"a": keras.Variable(np.zeros(2, "int32"), dtype="int32")})


def test_the_bytes_of_a_checkpoint_are_about_the_files(tmp_path):
    model = small_model(units=400)
    save_variables(tmp_path / "v", training_variables(model))
    weights = sum(each.nbytes for each in model.get_weights())
    assert checkpoint_bytes(model) == pytest.approx((tmp_path / "v").stat().st_size + weights, rel=0.2)

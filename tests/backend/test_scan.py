"""The scan against a loop in NumPy, whatever its outputs take the place of."""

import numpy as np
import pytest
from backends import MODES, Compiled
from keras import ops
from routines import as_numpy, assert_close

from tfmodels.backend.scan import scan

STEPS = 4


def wanted(total, first, second):
    doubled, sums, narrow = [], [], []
    for a, b in zip(first, second, strict=True):
        total = total + a.sum()
        doubled.append(2 * a)
        sums.append(a + b)
        narrow.append((a - b)[:, :1])
    return total, np.stack(doubled), np.stack(sums), np.stack(narrow)


@pytest.mark.quick_in_jax("*-xla")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reuse", [{}, {0: 0}, {0: 1, 1: 0}])
def test_a_result_that_is_written_over_an_input_is_the_steps_result(mode, reuse):
    generator = np.random.default_rng(0)
    first, second = (generator.normal(size=(STEPS, 2, width)).astype("float32") for width in (3, 3))

    def function(total, first, second):
        def step(index, carry, a, b):
            return [carry[0] + ops.sum(a)], [2 * a, a + b, (a - b)[:, :1]]

        outputs = [((2, 3), "float32"), ((2, 3), "float32"), ((2, 1), "float32")]
        carry, made = scan(step, [total], outputs, STEPS, [first, second], reuse)
        return [carry[0], *made]

    found = Compiled(function, mode=mode)(np.float32(1), first, second)
    for got, expected in zip(found, wanted(np.float32(1), first, second), strict=True):
        assert_close(as_numpy(got), expected, 1e-6)


@pytest.mark.quick_in_jax("xla")
@pytest.mark.parametrize("mode", MODES)
def test_the_inputs_are_left_as_they_were(mode):
    given = np.arange(STEPS, dtype="float32")

    def function(x):
        _, (made,) = scan(lambda index, _, part: ([], [part + 1]), [], [((), "float32")], STEPS, [x], {0: 0})
        return [made, x]

    made, after = Compiled(function, mode=mode)(given)
    np.testing.assert_array_equal(as_numpy(made), given + 1)
    np.testing.assert_array_equal(as_numpy(after), given)


@pytest.mark.parametrize("kind", [((3,), "float32"), ((), "int32")])
def test_a_result_of_another_kind_than_the_input_is_refused(kind):
    with pytest.raises(ValueError, match="reuse must name inputs of the results' kinds"):
        scan(lambda index, _, part: ([], [part]), [], [kind], STEPS, [ops.zeros((STEPS,))], {0: 0})

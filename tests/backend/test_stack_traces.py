"""Operations of TensorFlow keep the Python stack as far as the user's last line."""

import threading

import keras
import pytest

from tfmodels.backend.stack_traces import short_stacks

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone keeps stacks")


def traced_operation():
    import tensorflow as tf

    function = tf.function(lambda: keras.ops.exp(keras.ops.ones(2)), autograph=False)
    return function.get_concrete_function().graph.get_operations()[-2]


def files_of(operation):
    return [frame.filename for frame in operation.traceback]


def test_tensorflow_has_the_function_that_is_replaced():
    from tensorflow.python.framework import ops
    from tensorflow.python.util import tf_stack

    assert ops.tf_stack is tf_stack
    assert callable(tf_stack.extract_stack)


def test_a_stack_ends_with_the_users_last_line_and_else_in_a_library():
    whole = files_of(traced_operation())
    with short_stacks():
        short = files_of(traced_operation())
    assert files_of(traced_operation()) == whole
    assert whole[-1] != __file__
    assert short[-1] == __file__
    # The lambda's line is the last of this file in either.
    assert short == whole[: len(short)]


def test_other_threads_keep_whole_stacks():
    found = []
    with short_stacks():
        thread = threading.Thread(target=lambda: found.extend(files_of(traced_operation())))
        thread.start()
        thread.join()
    assert found[-1] != __file__


def test_a_program_without_a_users_line_keeps_the_outermost_frame_and_compiles(monkeypatch):
    import tensorflow as tf

    from tfmodels.backend import stack_traces

    monkeypatch.setattr(stack_traces, "_is_in_library", lambda filename: True)
    function = tf.function(keras.ops.exp, jit_compile=True, autograph=False)
    with short_stacks():
        assert float(function(tf.zeros(()))) == 1.0
        assert len(files_of(traced_operation())) == 1

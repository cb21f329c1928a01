"""`python -m benchmarks profile`: how long each part of our model takes by itself, and what part of the job that is.

Each part is compiled by XLA for the job's real shapes, in training with its gradient, and timed alone. In the whole job
the compiler fuses across parts, so the parts need not sum to it; what they leave, or overdraw, is shown.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from rich.console import Console

from benchmarks.components import (
    WHOLE_ATTENTION,
    Component,
    encoder_components,
    training_components,
)
from benchmarks.models import FAMILIES, make_inputs
from benchmarks.ours import make_model, make_routine
from benchmarks.report import make_table, number
from benchmarks.task import Task
from benchmarks.timing import median_seconds

_PASSES_IN_TRAINING = 3
"""A product's gradient is two products of the same size."""


class Share(NamedTuple):
    """seconds: of one run of a part. times: how often it runs in the job. operations: of one run, 0: no product."""

    name: str
    seconds: float
    times: int
    operations: int = 0

    @property
    def total(self) -> float:
        """Seconds in the whole job."""
        return self.times * self.seconds


def profile(task: Task, console: Console) -> list[Share]:
    """Time the parts of a job and the whole, and print a table.

    Args:
        task: ours, "encode" or "train", on TensorFlow; `repeats` runs of each part count by their median.
        console: where to.

    Returns:
        The parts in the order of the computation.
    """
    # Every part is a function of its own; TensorFlow takes that for a mistake and says so.
    tf.get_logger().setLevel("ERROR")
    model = make_model(task)
    routine = make_routine(task, model)
    is_training = task.job == "train"
    inputs = routine.prepare(make_inputs(task.family, task.size, task.length, labels=is_training))
    with console.status("the whole job"):
        whole = median_seconds(lambda: routine.run(inputs), task.repeats)
    components = encoder_components(model, task, inputs)
    if is_training:
        components += training_components(model, task, inputs)
    timed = {}
    for component in components:
        with console.status(component.name):
            timed[component.name] = median_seconds(compiled_component(component, is_training), task.repeats)
    shares = make_shares(components, timed, task.family, is_training)
    print_profile(console, f"{task.family} {task.job} {task.length}", whole, shares)
    return shares


def compiled_component(component: Component, is_training: bool) -> Callable[[], Any]:
    """A call that runs the component once under XLA, with its gradient in training, and waits for it."""
    with_gradient = is_training and component.is_differentiated
    function = _gradient(component) if with_gradient else component.function
    compiled = tf.function(function, jit_compile=True, autograph=False)

    def run() -> None:
        outputs = keras.tree.flatten(compiled(*component.arguments))
        outputs[0].numpy()

    return run


def _gradient(component: Component) -> Callable[..., list[Any]]:
    variables = [variable.value for layer in component.layers for variable in layer.trainable_variables]

    def gradient(*arguments: Any) -> list[Any]:
        floats = [x for x in arguments if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(floats)
            outputs = keras.tree.flatten(component.function(*arguments))
        # The outputs as their own gradients: ones would let the compiler drop products.
        found = tape.gradient(outputs, [*floats, *variables], output_gradients=[tf.stop_gradient(x) for x in outputs])
        return [tf.convert_to_tensor(x) for x in found if x is not None]

    return gradient


def make_shares(
    components: Sequence[Component], seconds: dict[str, float], family: str, is_training: bool
) -> list[Share]:
    """The parts' shares; what the self-attention layer takes beyond its own parts is one of them."""
    passes = _PASSES_IN_TRAINING if is_training else 1
    shares = []
    for part in components:
        if part.name != WHOLE_ATTENTION:
            shares.append(Share(part.name, seconds[part.name], part.times, passes * part.operations))
            continue
        inside = sum(seconds[other.name] for other in components if other.in_attention)
        name = f"{FAMILIES[family].rest_of_attention} (by difference)"
        shares.append(Share(name, seconds[WHOLE_ATTENTION] - inside, part.times))
    return shares


def print_profile(console: Console, title: str, whole: float, shares: Sequence[Share]) -> None:
    """Prints seconds, share and rate of each part, and what no part explains.

    Args:
        console: where to.
        title: names the job.
        whole: seconds of the job.
        shares: of its parts.
    """
    table = make_table(console, f"{title}: {number(whole)} s", "part", ("s each", "times", "s", "share", "GFLOP/s"))
    for share in shares:
        rate = number(share.operations / share.seconds / 1e9) if share.operations else ""
        row = f"{share.seconds:.4f}", str(share.times), f"{share.total:.3f}", f"{share.total / whole:.1%}", rate
        table.add_row(share.name, *row)
    left = whole - sum(share.total for share in shares)
    table.add_section()
    table.add_row("not explained", "", "", f"{left:.3f}", f"{left / whole:.1%}", "")
    console.print(table)

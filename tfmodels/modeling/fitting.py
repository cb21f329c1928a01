"""The bodies of `compile`, `fit`, `evaluate` and `predict` for models with a built-in loss.

`Seq2SeqModel` calls these functions from its methods with Keras' names.
"""

import contextlib
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import keras

from tfmodels.backend.global_gradients import GlobalGradients
from tfmodels.backend.keras_internals import (
    compiled_loss,
    compiled_metrics,
    forget_compiled_losses,
    loss_tracker,
    set_loss_tracker,
)
from tfmodels.backend.replicas import replica_count, sum_over_replicas
from tfmodels.backend.stack_traces import short_stacks
from tfmodels.backend.types import Tensor
from tfmodels.modeling.objective import (
    LabelMean,
    batch_label_count,
    check_values,
    global_loss,
    is_arrays,
    joined_metrics,
    mean_weights,
    named_inputs,
    reductions,
    same_targets,
    shared_value,
    targets_of,
    with_targets,
)

__all__ = ["joined_metrics", "with_targets"]


def compute_loss(
    model: Any, keras_loss: Callable[..., Tensor], x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
) -> Tensor:
    """See `Seq2SeqModel.compute_loss`; `keras_loss` is Keras' method, for a compiled loss."""
    targets = targets_of(model, x, y)
    if targets is None:
        names = " and ".join(model.head_inputs)
        rule = f"{names} must be among the inputs or be given as y" if names else "y must be given"
        raise ValueError(f"{rule}. Received: neither" if names else f"{rule}. Received: none")
    if compiled_loss(model) is not None:
        are_summed = [name == "sum" for name in reductions(model.loss)]
        targets, weights = _weighted_targets(model, targets, x, sample_weight, are_summed)
        return shared_value(keras_loss(x, targets, model.main_output(y_pred), weights, training))
    if "loss" in y_pred and sample_weight is None and replica_count() == 1:
        loss = y_pred["loss"]
    else:
        loss = global_loss(model.loss_terms(targets, y_pred, sample_weight))
    return sum((further / replica_count() for further in model.losses), start=loss)


def _weighted_targets(model: Any, targets: Any, x: Any, sample_weight: Any, are_summed: list[bool]) -> tuple[Any, Any]:
    """Targets for a loss or metric of Keras, and weights of the same structure."""
    targets, masks = model.counted(targets, named_inputs(model, x))
    masks, weights = keras.tree.flatten(masks), keras.tree.flatten(sample_weight)
    # Keras repeats the weights for each of several targets.
    weights = weights * len(masks) if len(weights) == 1 else weights
    are_summed = are_summed * len(masks) if len(are_summed) == 1 else are_summed
    means = [mean_weights(*each) for each in zip(masks, weights, are_summed, strict=True)]
    return targets, means[0] if len(means) == 1 else tuple(means)


def compute_metrics(
    model: Any, keras_metrics: Callable[..., dict[str, Any]], x: Any, y: Any, y_pred: Any, sample_weight: Any
) -> dict[str, Any]:
    """See `Seq2SeqModel.compute_metrics`; `keras_metrics` is Keras' method."""
    if compiled_metrics(model) is None:
        return keras_metrics(x, y, y_pred, sample_weight)
    targets = targets_of(model, x, y)
    if targets is None:
        raise ValueError("compiled metrics need targets: y, or labels in a dict of inputs. Received: none")
    targets, weights = _weighted_targets(model, targets, x, sample_weight, [True])
    return keras_metrics(x, targets, model.main_output(y_pred), weights)


def compile_arguments(model: Any, optimizer: Any, loss: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """The further arguments of `compile` for Keras, after checks; the losses of an earlier `compile` are cleared."""
    forget_compiled_losses(model)
    if replica_count() > 1 and arguments.get("jit_compile") is True:
        warnings.warn(
            f"jit_compile must be False for the {replica_count()} replicas of a tf.distribute strategy: XLA "
            "compiles no step of several devices. The model is compiled without it",
            stacklevel=3,
        )
        arguments = {**arguments, "jit_compile": False}
    if "mean_with_sample_weight" in reductions(loss) and GlobalGradients.are_divided(optimizer):
        raise ValueError(
            "loss must have another reduction over several replicas or accumulated batches, whose weights differ. "
            "Received: reduction='mean_with_sample_weight'"
        )
    return arguments


def after_compile(model: Any, arguments: dict[str, Any]) -> None:
    """Report the mean loss over labels, and compute gradients of whole batches."""
    set_loss_tracker(model, LabelMean(name="loss"))
    # Past Keras' tracking: neither a layer nor a variable of the model.
    model.__dict__["_gradients"] = GlobalGradients.of(model.optimizer)
    model._auto_scale_loss = arguments.get("auto_scale_loss", True)


def compile_config(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `compile` for a file, from the config that Keras writes."""
    if not config:
        return config
    is_built = model.optimizer is not None and model.optimizer.built
    return {**config, "auto_scale_loss": model._auto_scale_loss, "optimizer_is_built": is_built}


def compile_from_config(model: Any, config: dict[str, Any]) -> None:
    """Compile with the arguments in a file."""
    arguments = keras.saving.deserialize_keras_object(config)
    is_built = arguments.pop("optimizer_is_built", True)
    model.compile(**arguments)
    # An optimizer that has made no step has no variables in the file either.
    if is_built and model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)


def checked_arguments(model: Any, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a Keras method by name, with targets as `y` if weights require it.

    Raises:
        ValueError: values out of range (which a compiled step could not refuse), two different sets of labels, or
            `class_weight` for labels that are not one class for each row.
    """
    arguments = dict(inspect.signature(method).bind(model, *args, **kwargs).arguments)
    del arguments["self"]
    arguments |= arguments.pop("kwargs", {})
    x, class_weight = arguments.get("x"), arguments.get("class_weight")
    weights = class_weight if arguments.get("sample_weight") is None else arguments["sample_weight"]
    targets = _checked_targets(model, x, arguments.get("y"), weights)
    if class_weight is not None:
        labels = targets_of(model, x, targets) if is_arrays(x) else targets
        if not model.takes_class_weight or (labels is not None and model.label_classes(labels) is None):
            raise ValueError(
                f"class_weight must be None for {type(model).__name__} and these labels, which are not one class "
                "for each row: sample_weight weighs rows or labels. Received: class_weight"
            )
    if targets is not None:
        arguments["y"] = targets
    x, y, weights = keras.utils.unpack_x_y_sample_weight(arguments.get("validation_data"))
    if is_arrays(x):
        y = _checked_targets(model, x, y, weights)
        arguments["validation_data"] = keras.utils.pack_x_y_sample_weight(x, y, weights)
    return arguments


def _checked_targets(model: Any, x: Any, y: Any, weights: Any) -> Any:
    if not is_arrays(x):
        return y  # a data set: each step checks its batch as far as a graph can
    inputs = named_inputs(model, x)
    among_inputs = targets_of(model, x, None)
    if y is not None and among_inputs is not None and not same_targets(targets_of(model, x, y), among_inputs):
        raise ValueError("labels must be given once, among the inputs or as y. Received: two that differ")
    targets = targets_of(model, x, y)
    check_values(model, inputs, targets)
    # Without a y Keras drops weights.
    return y if weights is None else targets


def step(model: Any, keras_step: Callable[..., Any], args: tuple[Any, ...], training: bool) -> Any:
    """Run Keras' step on a batch, with its labels in place and counted."""
    *state, data = args  # under JAX the variables' values come first
    data = with_targets(model, data)
    with short_stacks(), _counting_labels(model, data, training):
        return keras_step(*state, data)


def _counting_labels(model: Any, data: Any, training: bool) -> contextlib.AbstractContextManager[Any]:
    """A scope with the batch's number of labels, for the reported loss and for accumulation."""
    x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    targets = targets_of(model, x, y)
    # A summed loss is weighted by its rows, as in Keras; otherwise a label of a larger batch would count more.
    if targets is None or "sum" in reductions(model.loss if compiled_loss(model) is not None else None):
        return contextlib.nullcontext()
    labels, scopes, tracker = batch_label_count(model, x, targets), contextlib.ExitStack(), loss_tracker(model)
    if isinstance(tracker, LabelMean):
        scopes.enter_context(tracker.batch_of(labels))
    if training and model._gradients is not None:
        scopes.enter_context(model._gradients.batch_of(sum_over_replicas(labels)))
    return scopes


def predicted(keras_step: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The results of Keras' step, without the outputs that `predict` does not collect."""
    with short_stacks():
        results = keras_step(*args)
    # Under JAX the variables' values are arguments and results, too.
    outputs, *state = results if isinstance(results, tuple) else (results,)
    omitted = ("loss", "encoder_last_hidden_state")
    outputs = {name: value for name, value in outputs.items() if name not in omitted}
    return (outputs, *state) if state else outputs

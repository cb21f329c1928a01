"""The objective of `fit` and `evaluate`: the mean loss over the labels of a whole batch.

A batch may be divided between the replicas of `tf.distribute`, or between the accumulated steps of an optimizer. The
parts have unequal numbers of labels, so the mean of their means would be another loss.
"""

import contextlib
import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.keras_internals import compiled_loss, compiled_metrics
from tfmodels.backend.replicas import replica_count, sum_over_replicas
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_ids, check_mask
from tfmodels.modeling.inputs import unpack_inputs
from tfmodels.modeling.losses import LossTerm, label_weights, mean_loss
from tfmodels.utils.labels import IGNORED_LABEL


class LabelMean(keras.metrics.Mean):
    """The mean loss over the labels of all batches; outside of `batch_of`, over the rows."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # `tf.distribute` traces each replica in a thread.
        self._batch = threading.local()

    @contextlib.contextmanager
    def batch_of(self, labels: Tensor) -> Iterator[None]:
        """A scope for the loss of a batch; `labels` is its number of labels in this replica, a float32 scalar."""
        self._batch.labels = labels
        try:
            yield
        finally:
            del self._batch.labels

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add the mean loss of a batch; `sample_weight`, from Keras, is the number of its rows."""
        super().update_state(values, sample_weight=getattr(self._batch, "labels", sample_weight))


def global_loss(terms: Sequence[LossTerm]) -> Tensor:
    """The mean of the terms' means over the labels of all replicas.

    Under `tf.distribute`, gradients are summed over the replicas, and Keras multiplies the reported value by their
    number. So the value is the same in each replica, and the gradient is the gradient of the replica's share.

    >>> float(global_loss([LossTerm(ops.array(6.0), ops.array(3.0))]))
    2.0
    """
    if replica_count() == 1:
        return mean_loss(terms)
    counts = [ops.maximum(sum_over_replicas(term.count), 1.0) for term in terms]
    share = sum(term.total / count for term, count in zip(terms, counts, strict=True)) / len(terms)
    return shared_value(share)


def shared_value(share: Tensor) -> Tensor:
    """A replica's share of a sum: its value is the mean over replicas, its gradient the share's.

    >>> float(shared_value(ops.array(3.0)))
    3.0
    """
    if replica_count() == 1:
        return share
    mean = ops.stop_gradient(sum_over_replicas(share)) / replica_count()
    return mean + (share - ops.stop_gradient(share))


def batch_label_count(model: Any, x: Any, targets: Any) -> Tensor:
    """The number of labels of a batch in this replica: float32 scalar."""
    _, masks = model.counted(targets, named_inputs(model, x))
    counts = [ops.sum(ops.cast(mask, "float32")) for mask in keras.tree.flatten(masks)]
    return sum(counts)


def mean_weights(is_counted: Tensor, sample_weight: Any = None, is_summed: bool = False) -> Tensor:
    """Weights that turn a Keras loss, a mean over all labels of a replica, into a mean over the labels that count.

    Args:
        is_counted: bool, of the labels' shape.
        sample_weight: the user's weights, of the labels' shape or (B,).
        is_summed: whether the loss sums over labels.

    >>> ops.convert_to_numpy(mean_weights(ops.array([True, False, True, False]))).tolist()
    [2.0, 0.0, 2.0, 0.0]
    """
    weights = ops.cast(is_counted, "float32")
    if not is_summed:
        labels = ops.cast(ops.size(is_counted), "float32")
        weights = weights * (labels * replica_count() / ops.maximum(sum_over_replicas(ops.sum(weights)), 1.0))
    return weights if sample_weight is None else weights * label_weights(sample_weight, weights)


def named_inputs(model: Any, x: Any) -> dict[str, Any]:
    """The inputs of a batch by name, without missing ones."""
    inputs = unpack_inputs(model.input_names, **{model.input_names[0]: x})
    return {name: value for name, value in inputs.items() if value is not None}


def targets_of(model: Any, x: Any, y: Any) -> Any:
    """The targets of a batch: `y`, or the targets among the inputs, or None."""
    if isinstance(y, Mapping) and len(model.head_inputs) == 1 and set(y) == set(model.head_inputs):
        return y[model.head_inputs[0]]
    if y is not None:
        return y
    inputs = named_inputs(model, x)
    targets = [inputs[name] for name in model.head_inputs if name in inputs]
    if not targets or len(targets) < len(model.head_inputs):
        return None
    return targets[0] if len(targets) == 1 else tuple(targets)


def check_values(model: Any, inputs: Mapping[str, Any], targets: Any) -> None:
    """Raise `ValueError` for ids, masks and labels out of range, if their values are known."""
    for name in ("input_ids", "decoder_input_ids"):
        if name in inputs:
            check_ids(name, inputs[name], model.config.vocab_size)
    for name in ("attention_mask", "decoder_attention_mask"):
        if name in inputs:
            check_mask(name, inputs[name])
    if targets is None:
        return
    classes = model.config.vocab_size if model.makes_target_from_labels else model.label_classes(targets)
    if classes is not None:
        check_ids("labels", targets, classes, ignored=IGNORED_LABEL)


def with_targets(model: Any, data: Any) -> Any:
    """A batch with its targets in place.

    Labels given as `y` are also a language model's decoder inputs, so they are added to the inputs. Compiled losses and
    metrics require a `y`, so labels among the inputs become one.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y = None if y is None else targets_of(model, x, y)
    if y is not None and model.makes_target_from_labels:
        inputs = named_inputs(model, x)
        if not {"labels", "decoder_input_ids", "decoder_inputs_embeds"} & set(inputs):
            x = {**inputs, "labels": y}
    if y is None and (sample_weight is not None or compiled_loss(model) or compiled_metrics(model)):
        y = targets_of(model, x, y)
    return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


def reductions(loss: Any) -> list[str]:
    """The reduction of each compiled loss; Keras' functions and names take means."""
    losses = list(loss.values()) if isinstance(loss, Mapping) else keras.tree.flatten(loss)
    return [getattr(x, "reduction", "sum_over_batch_size") for x in losses]


def joined_metrics(metrics: Any, weighted_metrics: Any) -> Any:
    """All metrics as weighted metrics: Keras passes no mask to unweighted ones.

    Raises:
        ValueError: metrics that take no weights, or that are no list, tuple or dict.
    """
    for name, value in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if value is not None and not isinstance(value, (list, tuple, dict)):
            raise ValueError(f"{name} must be a list, a tuple or a dict. Received: {name}={value!r:.80}")
        for metric in keras.tree.flatten(value):
            if hasattr(metric, "update_state") and not _takes_weights(metric):
                raise ValueError(
                    f"{name} must take sample_weight in update_state, by which labels without a loss are left out. "
                    f"Received: {metric}"
                )
    if metrics is None or weighted_metrics is None:
        return metrics if weighted_metrics is None else weighted_metrics
    if isinstance(metrics, (list, tuple)) and isinstance(weighted_metrics, (list, tuple)):
        return [*metrics, *weighted_metrics]
    raise ValueError(
        "metrics and weighted_metrics must be lists where both are given. "
        f"Received: {type(metrics).__name__} and {type(weighted_metrics).__name__}"
    )


def _takes_weights(metric: Any) -> bool:
    parameters = inspect.signature(metric.update_state).parameters.values()
    return any(each.name == "sample_weight" or each.kind is each.VAR_KEYWORD for each in parameters)


def is_arrays(x: Any) -> bool:
    """Whether inputs are arrays or tensors, as opposed to a data set."""
    return isinstance(x, (Mapping, list, tuple, np.ndarray)) or ops.is_tensor(x)


def same_targets(first: Any, second: Any) -> bool:
    """Whether two structures of arrays hold the same numbers."""
    pairs = zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=False)
    return all(np.array_equal(np.asarray(x).ravel(), np.asarray(y).ravel()) for x, y in pairs)

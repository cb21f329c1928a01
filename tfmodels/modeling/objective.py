"""What `fit` and `evaluate` minimise and report: the mean over the labels of the whole batch, however it is divided.

A batch may be divided between the replicas of `tf.distribute`, and a step's batch into several that an optimizer
accumulates. The parts have unequal numbers of labels, so that a mean of their means is another loss.
"""

import contextlib
import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.replicas import replica_count, sum_over_replicas
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_ids, check_mask
from tfmodels.modeling.inputs import unpack_inputs
from tfmodels.modeling.losses import LossTerm, label_weights, mean_loss
from tfmodels.utils.labels import IGNORED_LABEL


class LabelMean(keras.metrics.Mean):
    """The mean loss over the labels of all batches; of a batch whose labels are not announced, over its rows."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Replicas of `tf.distribute` are traced by a thread each.
        self._batch = threading.local()

    @contextlib.contextmanager
    def batch_of(self, labels: Tensor) -> Iterator[None]:
        """A scope in which the loss is that of a batch with so many labels in this replica."""
        self._batch.labels = labels
        try:
            yield
        finally:
            del self._batch.labels

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Count the mean loss of a batch; Keras' weight is the number of its rows."""
        super().update_state(values, sample_weight=getattr(self._batch, "labels", sample_weight))


def global_loss(terms: Sequence[LossTerm]) -> Tensor:
    """The mean of the terms' means over the labels of all replicas.

    Under `tf.distribute`, where gradients are summed over the replicas and Keras multiplies what it reports by their
    number, the value is the same in each replica, and the gradient that of the replica's own share.

    >>> float(global_loss([LossTerm(ops.array(6.0), ops.array(3.0))]))
    2.0
    """
    if replica_count() == 1:
        return mean_loss(terms)
    counts = [ops.maximum(sum_over_replicas(term.count), 1.0) for term in terms]
    own = sum(term.total / count for term, count in zip(terms, counts, strict=True)) / len(terms)
    return shared_value(own)


def shared_value(own: Tensor) -> Tensor:
    """A replica's share of a sum: each reports the replicas' mean, and differentiates its own.

    >>> float(shared_value(ops.array(3.0)))
    3.0
    """
    if replica_count() == 1:
        return own
    mean = ops.stop_gradient(sum_over_replicas(own)) / replica_count()
    return mean + (own - ops.stop_gradient(own))


def batch_label_count(model: Any, x: Any, targets: Any) -> Tensor:
    """How many labels a batch has in this replica: float32 scalar."""
    _, masks = model.counted(targets, named_inputs(model, x))
    counts = [ops.sum(ops.cast(mask, "float32")) for mask in keras.tree.flatten(masks)]
    return sum(counts)


def mean_weights(is_counted: Tensor, sample_weight: Any = None, is_summed: bool = False) -> Tensor:
    """Weights with which a loss of Keras', a mean over all labels of a replica, is that over the labels that count.

    Args:
        is_counted: bool, of the labels' shape.
        sample_weight: of the labels' shape or (B,): the user's.
        is_summed: for a loss that sums.

    >>> ops.convert_to_numpy(mean_weights(ops.array([True, False, True, False]))).tolist()
    [2.0, 0.0, 2.0, 0.0]
    """
    weights = ops.cast(is_counted, "float32")
    if not is_summed:
        labels = ops.cast(ops.size(is_counted), "float32")
        weights = weights * (labels * replica_count() / ops.maximum(sum_over_replicas(ops.sum(weights)), 1.0))
    return weights if sample_weight is None else weights * label_weights(sample_weight, weights)


def named_inputs(model: Any, x: Any) -> dict[str, Any]:
    """The inputs of a batch by name, those that are given."""
    inputs = unpack_inputs(model.input_names, **{model.input_names[0]: x})
    return {name: value for name, value in inputs.items() if value is not None}


def targets_of(model: Any, x: Any, y: Any) -> Any:
    """The targets of a batch: y, or else what stands among the inputs; None where there are none."""
    if isinstance(y, Mapping) and len(model.head_inputs) == 1 and set(y) == set(model.head_inputs):
        return y[model.head_inputs[0]]
    if y is not None:
        return y
    inputs = named_inputs(model, x)
    found = [inputs[name] for name in model.head_inputs if name in inputs]
    if not found or len(found) < len(model.head_inputs):
        return None
    return found[0] if len(found) == 1 else tuple(found)


def check_values(model: Any, inputs: Mapping[str, Any], targets: Any) -> None:
    """Raise `ValueError` for ids, masks and labels out of range, where they are arrays."""
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
    """A batch whose targets stand where they are needed.

    Labels that were given as y are a language model's decoder inputs, too, so they go among the inputs. Compiled losses
    and metrics want a y, so labels among the inputs become one.
    """
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y = None if y is None else targets_of(model, x, y)
    if y is not None and model.makes_target_from_labels:
        inputs = named_inputs(model, x)
        if not {"labels", "decoder_input_ids", "decoder_inputs_embeds"} & set(inputs):
            x = {**inputs, "labels": y}
    if y is None and (sample_weight is not None or model._compile_loss or model._compile_metrics):
        y = targets_of(model, x, y)
    return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


def reductions(loss: Any) -> list[str]:
    """How compiled losses join their values, one for each; Keras' functions and names take means."""
    losses = list(loss.values()) if isinstance(loss, Mapping) else keras.tree.flatten(loss)
    return [getattr(x, "reduction", "sum_over_batch_size") for x in losses]


def joined_metrics(metrics: Any, weighted_metrics: Any) -> Any:
    """Both kinds of metrics as one that is weighted: Keras passes no mask to the other kind."""
    for name, given in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if given is not None and not isinstance(given, (list, tuple, dict)):
            raise ValueError(f"{name} must be a list, a tuple or a dict. Received: {name}={given!r:.80}")
        for metric in keras.tree.flatten(given):
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


def first_batch(iterator: Any) -> Any:
    """The batch from which Keras' trainer learns shapes, out of its epoch iterator."""
    for _, _, batches in iterator:
        return batches[0] if isinstance(batches, (list, tuple)) else next(batches)
    return None


def is_arrays(x: Any) -> bool:
    """Whether inputs are arrays, whose values are known, and no data set."""
    return isinstance(x, (Mapping, list, tuple, np.ndarray)) or ops.is_tensor(x)


def same_targets(found: Any, wanted: Any) -> bool:
    """Whether two structures of arrays hold the same numbers."""
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=False)
    return all(np.array_equal(np.asarray(x).ravel(), np.asarray(y).ravel()) for x, y in pairs)

"""What `fit`, `evaluate` and `predict` do with a model that has a loss of its own.

Shape letters: B batch, T target length.
"""

import contextlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.global_gradients import GlobalGradients
from tfmodels.backend.replicas import replica_count, sum_over_replicas
from tfmodels.backend.types import Tensor
from tfmodels.modeling.losses import LossTerm
from tfmodels.modeling.objective import (
    LabelMean,
    batch_label_count,
    check_values,
    first_batch,
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
from tfmodels.modeling.pretrained import Pretrained


class TrainableModel(Pretrained):
    """Base of the encoder-decoders. Compiled without a loss, `fit` and `evaluate` take the model's own.

    Subclasses with a head implement `loss_terms`, `counted` and `main_output`.

    Attributes:
        head_inputs: the inputs of a call that are targets.
        makes_target_from_labels: whether the decoder's inputs can be made from the labels.
        takes_class_weight: whether labels can be one class for each row.
    """

    head_inputs: ClassVar[tuple[str, ...]] = ()
    makes_target_from_labels: ClassVar[bool] = False
    takes_class_weight: ClassVar[bool] = False
    _gradients: GlobalGradients | None = None

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs of a call, in the order of a list."""
        raise NotImplementedError

    def main_output(self, outputs: Mapping[str, Any]) -> Any:
        """The output that a compiled loss or metric is about."""
        return outputs["last_hidden_state"]

    def loss_terms(self, targets: Any, outputs: Mapping[str, Any], weights: Any = None) -> list[LossTerm]:
        """The model's own loss, as sums over the labels and their numbers.

        Args:
            targets: as among the inputs, or as y.
            outputs: of a call.
            weights: (B,) or of the labels' shape, by which the labels' losses are multiplied.
        """
        raise ValueError(f"{type(self).__name__} has no loss of its own: compile one. Received: no loss")

    def counted(self, targets: Any, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Targets that a loss of Keras' can take, and which of them count: bool of their shape or (B,)."""
        first = keras.tree.flatten(targets)[0]
        # Of hidden states (B, T, E) a loss of Keras' makes (B, T).
        return targets, ops.ones(ops.shape(first)[: max(1, len(first.shape) - 1)], "bool")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The model's own loss, for labels among the inputs or given as `y`; a compiled loss gets the main output.

        Both are means over the labels that count, of all replicas together. `sample_weight` multiplies the losses of
        rows (B,) or labels (B, T), which count as before, as in Keras.
        """
        targets = targets_of(self, x, y)
        if targets is None:
            names = " and ".join(self.head_inputs)
            rule = f"{names} must be among the inputs or be given as y" if names else "y must be given"
            raise ValueError(f"{rule}. Received: neither" if names else f"{rule}. Received: none")
        if self._compile_loss is not None:
            are_summed = [name == "sum" for name in reductions(self.loss)]
            targets, weights = self._weighted_targets(targets, x, sample_weight, are_summed)
            return shared_value(super().compute_loss(x, targets, self.main_output(y_pred), weights, training))
        if "loss" in y_pred and sample_weight is None and replica_count() == 1:
            loss = y_pred["loss"]
        else:
            loss = global_loss(self.loss_terms(targets, y_pred, sample_weight))
        return sum((further / replica_count() for further in self.losses), start=loss)

    def _weighted_targets(self, targets: Any, x: Any, sample_weight: Any, are_summed: list[bool]) -> tuple[Any, Any]:
        """Targets that a loss or metric of Keras' can take, and what it weighs them by, in their structure."""
        targets, masks = self.counted(targets, named_inputs(self, x))
        masks, given = keras.tree.flatten(masks), keras.tree.flatten(sample_weight)
        # Keras repeats the weights for each of several targets.
        given = given * len(masks) if len(given) == 1 else given
        are_summed = are_summed * len(masks) if len(are_summed) == 1 else are_summed
        weights = [mean_weights(*each) for each in zip(masks, given, are_summed, strict=True)]
        return targets, weights[0] if len(weights) == 1 else tuple(weights)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """As in Keras; compiled metrics get the main output, and the weights of the labels that count."""
        if self._compile_metrics is None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        targets = targets_of(self, x, y)
        if targets is None:
            raise ValueError("compiled metrics need targets: y, or labels in a dict of inputs. Received: none")
        targets, weights = self._weighted_targets(targets, x, sample_weight, [True])
        return super().compute_metrics(x, targets, self.main_output(y_pred), weights)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As in Keras; without a loss it is the model's own again, whatever was compiled before.

        Metrics see the labels that the loss sees, and are weighted by `sample_weight` where one is given. With
        `gradient_accumulation_steps` an update is the mean over the labels of all its batches.

        Warns:
            UserWarning: XLA for several replicas of `tf.distribute`, which it cannot compile: it is left off.
        """
        self._compile_loss = self._compile_metrics = None
        if replica_count() > 1 and kwargs.get("jit_compile") is True:
            warnings.warn(
                f"jit_compile must be False for the {replica_count()} replicas of a tf.distribute strategy: XLA "
                "compiles no step of several devices. The model is compiled without it",
                stacklevel=2,
            )
            kwargs["jit_compile"] = False
        if "mean_with_sample_weight" in reductions(loss) and GlobalGradients.are_divided(optimizer):
            raise ValueError(
                "loss must have another reduction over several replicas or accumulated batches, whose weights differ. "
                "Received: reduction='mean_with_sample_weight'"
            )
        super().compile(optimizer, loss, loss_weights, None, joined_metrics(metrics, weighted_metrics), **kwargs)
        # Past Keras' tracking, as in its own `compile`: it would be a metric of the model once more.
        self.__dict__["_loss_tracker"] = LabelMean(name="loss")
        self.__dict__["_gradients"] = GlobalGradients.of(self.optimizer)
        self._auto_scale_loss = kwargs.get("auto_scale_loss", True)

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given, for a file."""
        config = super().get_compile_config()
        if not config:
            return config
        is_built = self.optimizer is not None and self.optimizer.built
        return {**config, "auto_scale_loss": self._auto_scale_loss, "optimizer_is_built": is_built}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the model of a file was; Keras then reads the optimizer's variables."""
        arguments = keras.saving.deserialize_keras_object(config)
        is_built = arguments.pop("optimizer_is_built", True)
        self.compile(**arguments)
        # One that has made no step yet has no variables in the file either.
        if is_built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def label_classes(self, labels: Any) -> int | None:
        """How many classes labels are of, where a row has one label that is a class."""
        return None

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; arrays are checked first. Labels may be among the inputs or be given as `y`.

        `class_weight` is for labels that are classes, one for each row.
        """
        return super().fit(**self._checked(keras.Model.fit, args, kwargs))

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().evaluate(**self._checked(keras.Model.evaluate, args, kwargs))

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().predict(**self._checked(keras.Model.predict, args, kwargs))

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().train_on_batch(**self._checked(keras.Model.train_on_batch, args, kwargs))

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; see `fit`."""
        return super().test_on_batch(**self._checked(keras.Model.test_on_batch, args, kwargs))

    def _checked(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a method of Keras' by name, with targets as y where Keras needs them there.

        Raises:
            ValueError: values that no step of XLA's could refuse, labels that are given twice and differ, or
                `class_weight` for labels that are not one class for each row.
        """
        given = dict(inspect.signature(method).bind(self, *args, **kwargs).arguments)
        del given["self"]
        given |= given.pop("kwargs", {})
        x, class_weight = given.get("x"), given.get("class_weight")
        weights = class_weight if given.get("sample_weight") is None else given["sample_weight"]
        targets = self._checked_targets(x, given.get("y"), weights)
        if class_weight is not None:
            labels = targets_of(self, x, targets) if is_arrays(x) else targets
            if not self.takes_class_weight or (labels is not None and self.label_classes(labels) is None):
                raise ValueError(
                    f"class_weight must be None for {type(self).__name__} and these labels, which are not one class "
                    "for each row: sample_weight weighs rows or labels. Received: class_weight"
                )
        if targets is not None:
            given["y"] = targets
        x, y, weights = keras.utils.unpack_x_y_sample_weight(given.get("validation_data"))
        if is_arrays(x):
            y = self._checked_targets(x, y, weights)
            given["validation_data"] = keras.utils.pack_x_y_sample_weight(x, y, weights)
        return given

    def _checked_targets(self, x: Any, y: Any, weights: Any) -> Any:
        if not is_arrays(x):
            return y  # a data set, of which each batch is checked as far as its program can
        inputs = named_inputs(self, x)
        own = targets_of(self, x, None)
        if y is not None and own is not None and not same_targets(targets_of(self, x, y), own):
            raise ValueError("labels must be given once, among the inputs or as y. Received: two that differ")
        targets = targets_of(self, x, y)
        check_values(self, inputs, targets)
        # Without a y Keras drops weights.
        return y if weights is None else targets

    def train_step(self, *args: Any) -> Any:
        """As in Keras, with labels where they are needed."""
        *state, data = args  # under JAX the variables' values come first
        data = with_targets(self, data)
        with self._labels_of(data, True):
            return super().train_step(*state, data)

    def test_step(self, *args: Any) -> Any:
        """As in Keras, with labels where they are needed."""
        *state, data = args
        data = with_targets(self, data)
        with self._labels_of(data, False):
            return super().test_step(*state, data)

    def _labels_of(self, data: Any, training: bool) -> contextlib.AbstractContextManager[Any]:
        """A scope that knows how many labels a batch has: for the loss that is reported, and for accumulation."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        targets = targets_of(self, x, y)
        # A sum's weight is its rows, as in Keras: a label of a larger batch would count more otherwise.
        if targets is None or "sum" in reductions(self.loss if self._compile_loss is not None else None):
            return contextlib.nullcontext()
        labels, scopes = batch_label_count(self, x, targets), contextlib.ExitStack()
        if isinstance(self._loss_tracker, LabelMean):
            scopes.enter_context(self._loss_tracker.batch_of(labels))
        if training and self._gradients is not None:
            scopes.enter_context(self._gradients.batch_of(sum_over_replicas(labels)))
        return scopes

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keras' building of losses and metrics, with labels where they are needed."""
        if data_batch is None and iterator is not None:
            data_batch = first_batch(iterator)
        super()._symbolic_build(data_batch=None if data_batch is None else with_targets(self, data_batch))

    def predict_step(self, *args: Any) -> Any:
        """As in Keras, without the loss, which has no batch axis, and without the encoder's states, a thousand times as
        large as what a head says."""
        outputs = super().predict_step(*args)
        # Under JAX the variables' values are arguments and results, too.
        outputs, *state = outputs if isinstance(outputs, tuple) else (outputs,)
        left_out = ("loss", "encoder_last_hidden_state")
        outputs = {name: value for name, value in outputs.items() if name not in left_out}
        return (outputs, *state) if state else outputs

"""Queues in the graph: documents of one length share batches, whichever requests they come from.

Shape letters: B documents of a request, N of them of one length, L source length.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from export.signatures.requests import first_that_holds
from export.stored_weights import Untracked
from tfmodels.utils.checks import check_positive

Tensors = dict[str, tf.Tensor]

# More rows of a request are refused by its queue; fewer are split into batches.
_MOST_ROWS = 65_536
# Without sizes that batches are filled up to, all up to here are named: nothing is filled up.
_MOST_DOCUMENTS = 256


@dataclass(frozen=True)
class Batching:
    """How documents of like length share batches in the graph.

    Each length has a queue and threads of its own: short documents never wait for long ones. A batch runs as a part of
    the last request in it: if that is cancelled, at its deadline, the others of the batch are as well.

    Attributes:
        tokens: of a batch, padding included: up to `tokens // L` documents of length L share one, and at least 1.
        timeout_ms: how long a document waits for company while a thread is free. With 0 batches form of what comes
            while all threads are busy, and a single caller waits for nobody.
        threads: batches of one length that are worked on at once.
        waiting: batches of one length that wait at most; more are refused (UNAVAILABLE).
    """

    tokens: int
    timeout_ms: int = 0
    threads: int = 1
    waiting: int = 64

    def __post_init__(self) -> None:
        for name in ("tokens", "threads", "waiting"):
            check_positive(f"batching.{name}", getattr(self, name))
        if isinstance(self.timeout_ms, bool) or not isinstance(self.timeout_ms, int) or self.timeout_ms < 0:
            raise ValueError(f"batching.timeout_ms must be 0 or more. Received: timeout_ms={self.timeout_ms!r}")

    def sizes(self, length: int, batch_sizes: Sequence[int] | None) -> tuple[int, ...]:
        """The sizes of batches of a length, ascending.

        >>> Batching(tokens=4096).sizes(1024, None), Batching(tokens=4096).sizes(1024, (1, 3, 8))
        ((1, 2, 3, 4), (1, 3))
        """
        most = max(min(self.tokens // length, _MOST_DOCUMENTS), 1)
        if batch_sizes is None:
            return tuple(range(1, most + 1))
        return tuple(size for size in batch_sizes if size <= most) or (min(batch_sizes),)


class LengthQueues:
    """The queues of an export, one for each program and length, made when a signature is traced.

    Args:
        batching: the settings.
        lengths: source lengths in tokens, ascending.
        batch_sizes: sizes that batches are filled up to; None: any number.
    """

    def __init__(self, batching: Batching, lengths: Sequence[int], batch_sizes: Sequence[int] | None) -> None:
        self._batching, self._lengths, self._batch_sizes = batching, lengths, batch_sizes
        # A process may hold several exports, and two of one name would share their queues.
        self._name = f"tfmodels-{uuid.uuid4().hex}"
        self._queues: Untracked = Untracked({})

    def run(
        self,
        name: str,
        program: Callable[..., Tensors],
        counts: tf.Tensor,
        batch_of: Callable[[int], Tensors],
        further: Mapping[str, tf.Tensor],
    ) -> Tensors:
        """The outputs of a program for rows of `counts` tokens, int32 (B,), in their order.

        Args:
            name: the program's name; signatures with the same program share its queues.
            program: a function of (batch, **further) to a dict of tensors, documents on the first axis.
            counts: tokens of each row.
            batch_of: the inputs (B, L) at one length; it cuts longer rows.
            further: more inputs of the program, documents on the first axis.
        """
        chosen = first_that_holds(counts, self._lengths)  # (B,)
        places, parts = [], []
        for index, length in enumerate(self._lengths):
            of_length = tf.cast(tf.where(tf.equal(chosen, index))[:, 0], tf.int32)  # (N,)
            places.append(of_length)
            parts.append(self._part(name, program, length, of_length, batch_of, further))
        return {key: tf.dynamic_stitch(places, [part[key] for part in parts]) for key in parts[0]}

    def _part(
        self,
        name: str,
        program: Callable[..., Tensors],
        length: int,
        places: tf.Tensor,
        batch_of: Callable[[int], Tensors],
        further: Mapping[str, tf.Tensor],
    ) -> Tensors:
        """The outputs of the rows at `places`, all of one length."""
        specs = [
            {key: tf.TensorSpec([None, *value.shape[1:]], value.dtype) for key, value in one.items()}
            for one in (batch_of(length), further)
        ]
        queue = self._queue(name, program, length, specs)

        def answered() -> list[tf.Tensor]:
            rows = {"batch": batch_of(length), "further": dict(further)}
            return queue.ask([tf.gather(value, places) for value in tf.nest.flatten(rows)])

        def nothing() -> list[tf.Tensor]:
            return [tf.zeros([0, *spec.shape[1:]], spec.dtype) for spec in queue.outputs]

        # A queue takes no batch without rows.
        values = tf.cond(tf.size(places) > 0, answered, nothing)
        for value, spec in zip(values, queue.outputs, strict=True):
            value.set_shape(spec.shape)
        return dict(zip(queue.names, values, strict=True))

    def _queue(
        self, name: str, program: Callable[..., Tensors], length: int, specs: Sequence[Mapping[str, Any]]
    ) -> "_Queue":
        key = (name, length)
        if key not in self._queues.value:
            sizes = self._batching.sizes(length, self._batch_sizes)
            attributes = {
                "num_batch_threads": self._batching.threads,
                "max_batch_size": _MOST_ROWS,
                "allowed_batch_sizes": list(sizes),
                "batch_timeout_micros": self._batching.timeout_ms * 1000,
                "max_enqueued_batches": self._batching.waiting,
                "enable_large_batch_splitting": True,
                "shared_name": f"{self._name}/{name}/{length}",
                # The server's metrics tell the queues apart by it.
                "name": f"{name}_{length}",
            }
            self._queues.value[key] = _Queue.traced(program, specs, attributes)
        return self._queues.value[key]


class _Queue(NamedTuple):
    """A program behind a queue.

    Attributes:
        function: the concrete function of a batch's flat inputs to its flat outputs.
        names: of the outputs.
        outputs: their specs.
        attributes: of the op.
    """

    function: Any
    names: tuple[str, ...]
    outputs: tuple[tf.TensorSpec, ...]
    attributes: Mapping[str, Any]

    @classmethod
    def traced(
        cls, program: Callable[..., Tensors], specs: Sequence[Mapping[str, Any]], attributes: Mapping[str, Any]
    ) -> "_Queue":
        batch, further = specs
        structure = {"batch": dict(batch), "further": dict(further)}
        names: list[str] = []

        def run(*values: tf.Tensor) -> list[tf.Tensor]:
            inputs = tf.nest.pack_sequence_as(structure, values)
            outputs = program(inputs["batch"], **inputs["further"])
            names[:] = sorted(outputs)
            return [outputs[key] for key in names]

        # As `tf.nondifferentiable_batch_function` does, whose queues are named by the op: two exports in one process
        # would put their documents into one batch.
        function = tf.function(run, autograph=False).get_concrete_function(*tf.nest.flatten(structure))
        outputs = [tf.TensorSpec([None, *spec.shape[1:]], spec.dtype) for spec in function.structured_outputs]
        return cls(function, tuple(names), tuple(outputs), attributes)

    def ask(self, rows: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The outputs of rows, which wait for their batch."""
        return tf.raw_ops.BatchFunction(
            in_tensors=list(rows),
            captured_tensors=self.function.captured_inputs,
            f=self.function,
            Tout=[spec.dtype for spec in self.outputs],
            **self.attributes,
        )

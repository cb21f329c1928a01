"""The base class of the signatures: weights, tables, and the smallest program that holds a request.

Shape letters: B documents, L source length, E model size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from export.compute_dtype import ComputeDtype
from export.programs import Tensors, hidden_states
from export.signatures.queues import Batching, LengthQueues
from export.signatures.requests import check_ids, check_rows, check_texts, first_that_holds, padded_columns, padded_rows
from export.stored_weights import StoredWeights, Untracked, WeightsDtype
from tfmodels.backend.shared_calls import calls_one_by_one
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.utils.plain_values import plain

Program = Callable[..., Tensors]


class Shape(NamedTuple):
    """Documents and tokens of a program's batch; `rows` is `None` for any number of documents."""

    rows: int | None
    length: int


@dataclass(frozen=True)
class ExportSettings:
    """Settings of an export, independent of the model's head.

    Attributes:
        lengths: source lengths in tokens, ascending.
        batch_sizes: documents of a request, ascending; None: any number.
        jit_compile: compile the model's part under XLA, for which a server needs a flag.
        weights_dtype: the stored type of matrices, see `StoredWeights`.
        batching: how documents of like length share batches in the graph; None: not at all.
        compute_dtype: of the model, which has it already; None: its own.
    """

    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...] | None = None
    jit_compile: bool = False
    weights_dtype: WeightsDtype = None
    batching: Batching | None = None
    compute_dtype: ComputeDtype = None


class Signatures(tf.Module):
    """The signatures of a model as `tf.function`s, and every weight and table that they use.

    A signature of texts has three stages. Take "serving_default" of a summarizer with the lengths 512 and 2,048, called
    with one document of 700 tokens:

    1. encode_text: the tokenizer's graph turns the string into 700 ids (`run_text`).
    2. run_model: 2,048 is the smallest length that holds 700 (`_smallest`). Its branch of one `tf.switch_case` pads the
       ids to (1, 2048) and calls the program, a function that is traced once for each length (`run`). A document of
       300 tokens takes the branch of 512: a short document never pays for a long one.
    3. decode_text: the tokenizer's graph turns the answer's ids (1, T) into text. A document beyond 2,048 tokens was
       cut, and "truncated" says so.

    Signatures of ids, such as "generate", are the second stage alone. With `batch_sizes` there is a branch for each
    length and batch size, and requests are filled up with empty rows.

    With `batching` the rows of a request of texts part behind the first stage, each to the queue of its own length
    (`LengthQueues`), where they share batches with other requests, and come together again in order. So do rows of ids
    whose answers do not depend on the length.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        export_settings: lengths, batch sizes, compilation and storage.
    """

    # Whether the same request may have other answers.
    is_random = False
    # Names of the head's settings.
    setting_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Seq2SeqModel, tokenizer: Any, export_settings: ExportSettings) -> None:
        super().__init__()
        self.export_settings = export_settings
        self.weights = StoredWeights(model, export_settings.weights_dtype)
        self.tokenizer_graph = tokenizer.in_graph()
        self._model = Untracked(model)
        self._programs = Untracked({})
        lengths, sizes, batching = export_settings.lengths, export_settings.batch_sizes, export_settings.batching
        self._queues = None if batching is None else LengthQueues(batching, lengths, sizes)

    @property
    def head_settings(self) -> dict[str, Any]:
        """Head settings, as written to the manifest."""
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The model."""
        return self._model.value

    def endpoints(self) -> dict[str, tuple[Callable[..., Tensors], dict[str, tf.TensorSpec]]]:
        """Function and inputs by signature name; one is `serving_default`."""
        raise NotImplementedError

    @classmethod
    def checked_settings(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings if the head has all of them, or raise a `ValueError`."""
        unknown = sorted(set(settings) - set(cls.setting_names))
        if unknown:
            has = " and ".join(cls.setting_names) or "no setting"
            raise ValueError(
                f"{unknown[0]} must be a setting of the model's head, which has {has}. Received: {unknown}"
            )
        return plain(settings)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of all signatures."""
        raise NotImplementedError

    def functions(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        """Concrete functions by signature name, of `names` or of all signatures."""
        functions: dict[str, Any] = {}
        traced: dict[Any, Any] = {}
        for name, (function, specs) in self.endpoints().items():
            if names is None or name in names:
                # A function with two names is written once.
                if function not in traced:
                    # Other runtimes, and converters, read graphs without functions of their own.
                    with calls_one_by_one():
                        traced[function] = tf.function(function, autograph=False).get_concrete_function(**specs)
                functions[name] = traced[function]
        return functions

    def encode(self, **inputs: tf.Tensor) -> Tensors:
        """Ids -> "last_hidden_state" float32 (B, L, E).

        Args:
            **inputs: the inputs of the model's encoder, `input_ids`, `attention_mask` and possibly
                `global_attention_mask`, int32 (B, L) with L at most the longest length. The mask is
                required: servers pad batches of ids with arbitrary values.
        """
        inputs = self.checked(inputs)
        length = tf.shape(inputs["input_ids"])[1]

        def program(batch: Tensors) -> Tensors:
            return hidden_states(self.model, batch)

        # Cut inside the branch, as the branches' lengths differ.
        return self.run("encode", program, length, lambda padded: padded_columns(inputs, padded), cut_to=length)

    def run(
        self,
        name: str,
        program: Program,
        tokens: tf.Tensor,
        batch_of: Callable[[int], Tensors],
        cut_to: tf.Tensor | None = None,
        **further: tf.Tensor,
    ) -> Tensors:
        """Run a program at the smallest shape that holds the request, and return its outputs.

        Args:
            name: the program's name; signatures with the same program share it.
            program: a function of (batch, **further) to a dict of tensors, documents on the first axis.
            tokens: int32 scalar, tokens of the longest row; `batch_of` cuts rows beyond the longest length.
            batch_of: the inputs (B, length) at one length.
            cut_to: the size to which the outputs' second axis is cut; `None` for all of it.
            **further: more inputs of the program, documents on the first axis.
        """
        function = self._function(name, program)
        rows_of_batches = self.export_settings.batch_sizes or (None,)
        shapes = [Shape(rows, length) for rows in rows_of_batches for length in self.export_settings.lengths]

        def branch(shape: Shape) -> Callable[[], Tensors]:
            def call() -> Tensors:
                batch = batch_of(shape.length)
                count = tf.shape(batch["input_ids"])[0]
                batch, more = padded_rows(batch, shape.rows), padded_rows(further, shape.rows)
                outputs = function(batch, **more)
                return {
                    key: value[:count] if cut_to is None else value[:count, :cut_to] for key, value in outputs.items()
                }

            return call

        return tf.switch_case(self._smallest(tokens, batch_of), [branch(shape) for shape in shapes])

    def run_text(self, name: str, program: Program, text: tf.Tensor, **further: tf.Tensor) -> Tensors:
        """`run_rows` of texts (B,)."""
        ids = self.tokenizer_graph.encode_up_to(check_texts("text", text), self.export_settings.lengths[-1])
        counts = tf.cast(ids.row_lengths(), tf.int32)
        return self.run_rows(
            name, program, counts, lambda length: self.tokenizer_graph.pad_batch(ids, length), **further
        )

    def run_rows(
        self, name: str, program: Program, counts: tf.Tensor, batch_of: Callable[[int], Tensors], **further: tf.Tensor
    ) -> Tensors:
        """The outputs of `run` for rows of `counts` tokens, int32 (B,), and "truncated" bool (B,): the cut rows."""
        if self._queues is None:
            longest = tf.reduce_max(tf.concat([counts, [0]], axis=0))
            outputs = self.run(name, program, longest, batch_of, **further)
        else:
            outputs = self._queues.run(name, self._function(name, program), counts, batch_of, further)
        return {**outputs, "truncated": counts > self.export_settings.lengths[-1]}

    def run_ids(self, name: str, program: Program, inputs: Tensors, **further: tf.Tensor) -> Tensors:
        """The outputs of `run` for checked ids (B, L), in shapes that do not depend on the length.

        Queues take each row by its own tokens, and put it into the batches of texts.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"]

        def batch_of(length: int) -> Tensors:
            return padded_columns(inputs, length)

        if self._queues is None:
            return self.run(name, program, tf.shape(ids)[1], batch_of, **further)
        places = tf.range(1, tf.shape(ids)[1] + 1)
        counts = tf.reduce_max(tf.where(mask != 0, places, 0), axis=1)  # (B,)
        return self._queues.run(name, self._function(name, program), counts, batch_of, further)

    def checked(self, inputs: Mapping[str, tf.Tensor]) -> Tensors:
        """The inputs, behind checks that name a wrong one."""
        return check_ids(inputs, self.export_settings.lengths[-1], self.model.config)

    def id_specs(self) -> dict[str, tf.TensorSpec]:
        """The specs of ids and masks."""
        return {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in self.model.encoder_inputs}

    def _smallest(self, tokens: tf.Tensor, batch_of: Callable[[int], Tensors]) -> tf.Tensor:
        """The index of the smallest shape that holds the request, int32 scalar."""
        lengths, batch_sizes = self.export_settings.lengths, self.export_settings.batch_sizes
        length = first_that_holds(tokens, lengths)
        if batch_sizes is None:
            return length
        rows = tf.shape(batch_of(lengths[0])["input_ids"])[0]
        with tf.control_dependencies([check_rows(rows, batch_sizes[-1])]):
            return first_that_holds(rows, batch_sizes) * len(lengths) + length

    def _function(self, name: str, program: Program) -> Program:
        """The compiled program of a name, which all signatures share."""
        return self._programs.value.setdefault(name, self._compiled(program))

    def _compiled(self, program: Program) -> Program:
        """The program with the stored weights, traced once for each shape, whichever signature calls it."""

        def run(batch: Tensors, **further: tf.Tensor) -> Tensors:
            # The model's own compiled programs read its own weights; programs compiled here read the stored ones only.
            self.model.forget_compiled()
            try:
                with self.weights.read():
                    return program(batch, **further)
            finally:
                self.model.forget_compiled()

        return tf.function(run, autograph=False, jit_compile=self.export_settings.jit_compile or None)

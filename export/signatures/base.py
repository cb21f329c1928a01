"""What the signatures of all heads share: weights, tables, and the smallest program that holds a request.

Shape letters: B documents, L source length, E model size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf

from export.signatures.requests import check_ids, check_rows, check_texts, padded_columns, padded_rows
from export.stored_weights import StoredWeights, Untracked, WeightsDtype
from tfmodels.modeling.seq2seq import Seq2SeqModel
from tfmodels.utils.plain_values import plain

Tensors = dict[str, tf.Tensor]
Program = Callable[..., Tensors]


class Shape(NamedTuple):
    """What a program is made for; without `rows`, for any number of documents."""

    rows: int | None
    length: int


@dataclass(frozen=True)
class Layout:
    """What is written for a model, whatever its head.

    Attributes:
        lengths: source lengths in tokens, ascending.
        batch_sizes: documents of a request, ascending; None: any number.
        jit_compile: compile the model's part under XLA (stock servers refuse such graphs).
        weights_dtype: how the weights are stored.
    """

    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...] | None = None
    jit_compile: bool = False
    weights_dtype: WeightsDtype = None


class Signatures(tf.Module):
    """The signatures of a model as `tf.function`s, and every weight and table that they use.

    A request runs in the smallest of the given lengths that holds it, so that a short document never pays for a long
    one, and with `batch_sizes` in the smallest of those, filled up with empty rows.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        layout: lengths, batch sizes, and how it is compiled and stored.
    """

    # Whether the same request may have other answers.
    is_random = False
    # What the head has settings for, by name.
    setting_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: Seq2SeqModel, tokenizer: Any, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.weights = StoredWeights(model, layout.weights_dtype)
        self.tokenizer_graph = tokenizer.in_graph()
        self._model = Untracked(model)
        self._programs = Untracked({})

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the head, of which the manifest tells."""
        raise NotImplementedError

    @property
    def model(self) -> Any:
        """The model."""
        return self._model.value

    def described(self) -> dict[str, tuple[Callable[..., Tensors], dict[str, tf.TensorSpec]]]:
        """Function and inputs by signature name; `serving_default` is among them."""
        raise NotImplementedError

    @classmethod
    def checked_settings(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings, when the head has all of them; else raises `ValueError`."""
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
        """Concrete functions by signature name: those of `names`, or all."""
        found: dict[str, Any] = {}
        traced: dict[Any, Any] = {}
        for name, (function, specs) in self.described().items():
            if names is None or name in names:
                # One that has two names is written once.
                if function not in traced:
                    traced[function] = tf.function(function, autograph=False).get_concrete_function(**specs)
                found[name] = traced[function]
        return found

    def encode(self, **inputs: tf.Tensor) -> Tensors:
        """Ids -> "last_hidden_state" float32 (B, L, E).

        Args:
            **inputs: `input_ids`, `attention_mask` and, for LED, `global_attention_mask`, int32 (B, L) with L at most
                the longest length. The mask is required: servers pad batches of ids with arbitrary values.
        """
        inputs = self.checked(inputs)
        given = tf.shape(inputs["input_ids"])[1]

        def program(batch: Tensors) -> Tensors:
            return {"last_hidden_state": tf.cast(self.model.encode(**batch)["last_hidden_state"], tf.float32)}

        # Shortened in the branch: lengths differ between them.
        return self.run("encode", program, given, lambda length: padded_columns(inputs, length), cut_to=given)

    def run(
        self,
        name: str,
        program: Program,
        tokens: tf.Tensor,
        batch_of: Callable[[int], Tensors],
        cut_to: tf.Tensor | None = None,
        **further: tf.Tensor,
    ) -> Tensors:
        """The outputs of a program at the smallest shape that holds the request.

        Args:
            name: of the program; signatures that run the same one share it.
            program: of (batch, **further); a dict of tensors whose first axis is that of the documents.
            tokens: int32 scalar, the longest row's; more than the longest length is for `batch_of` to cut.
            batch_of: the inputs (B, length) at one length.
            cut_to: where given, how much of the outputs' second axis is returned.
            **further: more inputs of the program, whose first axis is that of the documents.
        """
        function = self._programs.value.setdefault(name, self._compiled(program))
        shapes = [Shape(rows, length) for rows in self.layout.batch_sizes or (None,) for length in self.layout.lengths]

        def branch(shape: Shape) -> Callable[[], Tensors]:
            def call() -> Tensors:
                batch = batch_of(shape.length)
                count = tf.shape(batch["input_ids"])[0]
                batch, more = padded_rows(batch, shape.rows), padded_rows(further, shape.rows)
                found = function(batch, **more)
                return {
                    key: value[:count] if cut_to is None else value[:count, :cut_to] for key, value in found.items()
                }

            return call

        return tf.switch_case(self._smallest(tokens, batch_of), [branch(shape) for shape in shapes])

    def run_text(self, name: str, program: Program, text: tf.Tensor, **further: tf.Tensor) -> Tensors:
        """`run_rows` of texts (B,)."""
        ids = self.tokenizer_graph.encode_up_to(check_texts("text", text), self.layout.lengths[-1])
        counts = tf.cast(ids.row_lengths(), tf.int32)
        return self.run_rows(
            name, program, counts, lambda length: self.tokenizer_graph.pad_batch(ids, length), **further
        )

    def run_rows(
        self, name: str, program: Program, counts: tf.Tensor, batch_of: Callable[[int], Tensors], **further: tf.Tensor
    ) -> Tensors:
        """The outputs of `run` for rows of so many tokens, int32 (B,), and "truncated": bool (B,), which were cut."""
        longest = tf.reduce_max(tf.concat([counts, [0]], axis=0))
        found = self.run(name, program, longest, batch_of, **further)
        return {**found, "truncated": counts > self.layout.lengths[-1]}

    def checked(self, inputs: Mapping[str, tf.Tensor]) -> Tensors:
        """The inputs, after checks that name what is wrong with them."""
        return check_ids(inputs, self.layout.lengths[-1], self.model.config)

    def id_specs(self) -> dict[str, tf.TensorSpec]:
        """Those of the ids and masks."""
        return {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in self.model.encoder_inputs}

    def _smallest(self, tokens: tf.Tensor, batch_of: Callable[[int], Tensors]) -> tf.Tensor:
        """Which shape it is: int32 scalar."""
        length = _first_that_holds(tokens, self.layout.lengths)
        if self.layout.batch_sizes is None:
            return length
        rows = tf.shape(batch_of(self.layout.lengths[0])["input_ids"])[0]
        with tf.control_dependencies([check_rows(rows, self.layout.batch_sizes[-1])]):
            return _first_that_holds(rows, self.layout.batch_sizes) * len(self.layout.lengths) + length

    def _compiled(self, program: Program) -> Program:
        """The program with the stored weights, traced once for each shape, whoever calls it."""

        def run(batch: Tensors, **further: tf.Tensor) -> Tensors:
            # What the model has compiled for itself reads its own weights, and what it compiles here only these.
            self.model.forget_compiled()
            try:
                with self.weights.read():
                    return program(batch, **further)
            finally:
                self.model.forget_compiled()

        return tf.function(run, autograph=False, jit_compile=self.layout.jit_compile or None)


def _first_that_holds(count: tf.Tensor, sizes: Sequence[int]) -> tf.Tensor:
    """Index of the smallest size that holds `count`, or of the last; sizes ascend."""
    return tf.reduce_sum(tf.cast(count > tf.constant(sizes[:-1], tf.int32), tf.int32))

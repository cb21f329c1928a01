"""Batches have few static shapes, hold every example once per epoch, and count no repeated row into the loss."""

import collections

import keras
import numpy as np
import pytest

from training.batches import IGNORED_LABEL, SummarizationBatches
from training.examples import Example

PADDING_ID = 1


class WhitespaceTokenizer:
    """One id per word, padded with 1; marks the first token as global if asked to."""

    def __init__(self, with_global: bool = False, first_id: int = 2) -> None:
        self.with_global = with_global
        self.ids: dict[str, int] = collections.defaultdict(lambda: first_id + len(self.ids))

    def encode(self, text: str) -> list[int]:
        return [self.ids[word] for word in text.split()]

    def __call__(self, texts, text_target, max_length, max_target_length):
        ids = self._padded(texts, max_length, PADDING_ID)
        arrays = {
            "input_ids": ids,
            "attention_mask": (ids != PADDING_ID).astype("int32"),
            "labels": self._padded(text_target, max_target_length, IGNORED_LABEL),
        }
        if self.with_global:
            arrays["global_attention_mask"] = np.eye(1, max_length, dtype="int32").repeat(len(texts), axis=0)
        return arrays

    def _padded(self, texts, length, padding):
        rows = [self.encode(text)[:length] for text in texts]
        return np.array([row + [padding] * (length - len(row)) for row in rows], "int32")


def _examples(*sizes: int) -> list[Example]:
    """Documents of some sizes; each summary holds the example's own word and then two more."""
    return [
        Example(" ".join(f"d{index}w{word}" for word in range(size)), f"own{index} some text")
        for index, size in enumerate(sizes)
    ]


def _batches(examples, tokenizer=None, **arguments) -> SummarizationBatches:
    defaults = {"batch_size": 3, "source_lengths": (4, 8), "target_length": 5, "shuffle": True, "seed": 0}
    if "batch_tokens" in arguments:
        defaults.pop("batch_size")
    return SummarizationBatches(examples, tokenizer or WhitespaceTokenizer(), **{**defaults, **arguments})


SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 4, 4, 8)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("with_global", [False, True])
def test_every_batch_has_a_listed_length_and_is_int32(shuffle, with_global):
    batches = _batches(_examples(*SIZES), WhitespaceTokenizer(with_global), shuffle=shuffle)
    names = {"input_ids", "attention_mask", "labels"} | ({"global_attention_mask"} if with_global else set())
    for index in range(len(batches)):
        batch = batches[index]
        assert set(batch) == names
        assert batch["input_ids"].shape in {(3, 4), (3, 8)}
        assert batch["labels"].shape == (3, 5)
        for name, array in batch.items():
            assert array.dtype == "int32"
            if name != "labels":
                assert array.shape == batch["input_ids"].shape


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_example_is_in_each_epoch_once(shuffle):
    batches = _batches(_examples(*SIZES), shuffle=shuffle)
    for _ in range(3):
        indices = np.concatenate([batches.example_indices(index) for index in range(len(batches))])
        assert sorted(indices[indices >= 0]) == list(range(len(SIZES)))
        batches.on_epoch_end()


def test_rows_are_what_the_tokenizer_makes_for_their_length():
    examples, tokenizer = _examples(*SIZES), WhitespaceTokenizer(with_global=True)
    batches = _batches(examples, tokenizer)
    for index in range(len(batches)):
        batch = batches[index]
        length = batch["input_ids"].shape[1]
        for row, example in enumerate(batches.example_indices(index)):
            if example >= 0:
                arrays = tokenizer([examples[example].document], [examples[example].summary], length, 5)
                for name, array in arrays.items():
                    # The fake tokenizer marks a global token in any row, which holds at least one token.
                    np.testing.assert_array_equal(batch[name][row], array[0], err_msg=name)


def test_an_example_goes_to_the_smallest_length_that_holds_it():
    batches = _batches(_examples(*SIZES), batch_size=1)
    for index in range(len(batches)):
        [example] = batches.example_indices(index)
        assert batches[index]["input_ids"].shape[1] == (4 if SIZES[example] <= 4 else 8)


def test_a_partial_batch_is_filled_with_rows_that_no_loss_counts():
    batches = _batches(_examples(2, 3, 3, 2), source_lengths=(4,), shuffle=False)
    assert len(batches) == 2
    assert batches.example_indices(1).tolist() == [3, -1, -1]
    last = batches[1]
    assert last["attention_mask"].any(axis=1).all()
    np.testing.assert_array_equal(last["input_ids"][1:], last["input_ids"][:1].repeat(2, axis=0))
    assert (last["labels"][0] != IGNORED_LABEL).sum() == 3
    assert (last["labels"][1:] == IGNORED_LABEL).all()


def test_batch_tokens_fixes_the_tokens_instead_of_the_rows():
    batches = _batches(_examples(*SIZES), batch_tokens=17, source_lengths=(4, 8, 32))
    shapes = {batches[index]["input_ids"].shape for index in range(len(batches))}
    assert shapes == {(4, 4), (2, 8), (1, 32)}


def test_num_tokens_counts_neither_padding_nor_repeated_rows():
    batches = _batches(_examples(*SIZES))
    counts = [batches.num_tokens(index) for index in range(len(batches))]
    assert sum(counts) == sum(min(size, 8) for size in SIZES) + 3 * len(SIZES)
    for index, count in enumerate(counts):
        batch, own = batches[index], batches.example_indices(index) >= 0
        assert count == batch["attention_mask"][own].sum() + (batch["labels"] != IGNORED_LABEL).sum()


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(batches):
        return [batches.example_indices(index).tolist() for index in range(len(batches))]

    examples = _examples(*SIZES)
    first, second, other = _batches(examples), _batches(examples), _batches(examples, seed=1)
    start = order(first)
    assert start == order(second)
    assert start != order(other)
    first.on_epoch_end()
    assert order(first) != start
    second.set_epoch(1)
    assert order(first) == order(second)
    second.set_epoch(0)
    assert order(second) == start
    still = _batches(examples, shuffle=False)
    before = order(still)
    still.on_epoch_end()
    assert order(still) == before


@pytest.mark.parametrize("seed", range(20))
def test_the_first_two_batches_show_that_the_length_varies(seed):
    batches = _batches(_examples(*[2] * 30, 8, 8), seed=seed)
    assert batches[0]["input_ids"].shape != batches[1]["input_ids"].shape


def test_ids_are_kept_in_the_smallest_type_that_holds_them():
    for first_id, dtype in ((2, "uint8"), (300, "uint16"), (65_530, "uint32")):
        batches = _batches(_examples(*SIZES), WhitespaceTokenizer(first_id=first_id))
        assert batches._tokens._source.dtype == dtype
        assert batches[0]["input_ids"].max() >= first_id
        assert len(batches._tokens._source) == sum(min(size, 8) for size in SIZES)


def test_many_examples_are_tokenized_in_parts_of_equal_result(monkeypatch):
    examples, tokenizer = _examples(*SIZES), WhitespaceTokenizer()
    whole = _batches(examples, tokenizer)
    monkeypatch.setattr("training.batches._TOKENIZED_AT_ONCE", 16)
    parts = _batches(examples, tokenizer)
    for index in range(len(whole)):
        for name, array in whole[index].items():
            np.testing.assert_array_equal(parts[index][name], array)


class Counter(keras.Model):
    """Counts the label tokens that `fit` shows it, through a loss that can be read off."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = keras.layers.Dense(1)

    def call(self, inputs):
        return self.scale(keras.ops.cast(inputs["attention_mask"][..., None], "float32"))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.tokens_seen.assign_add(keras.ops.sum(keras.ops.cast(x["labels"] != IGNORED_LABEL, "float32")))
        return keras.ops.mean(y_pred)

    def build(self, input_shape=None):
        self.scale.build((None, None, 1))
        self.tokens_seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="tokens_seen")
        self.built = True


def test_fit_sees_every_label_once_per_epoch_over_several_lengths():
    batches = _batches(_examples(*SIZES, 30), source_lengths=(4, 8, 32))
    model = Counter()
    model.build()
    model.compile("sgd", jit_compile=False)
    model.fit(batches, epochs=2, shuffle=False, verbose=0)
    assert float(model.tokens_seen) == 2 * 3 * (len(SIZES) + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1. Received: batch_size=0"),
        ({"batch_size": None}, "Exactly one of batch_size and batch_tokens"),
        ({"batch_size": 2, "batch_tokens": 2}, "Exactly one of batch_size and batch_tokens"),
        ({"batch_tokens": -1}, "batch_tokens must be at least 1. Received: batch_tokens=-1"),
        ({"source_lengths": ()}, r"source_lengths must be .* Received: source_lengths=\(\)"),
        ({"source_lengths": (0, 4)}, r"source_lengths must be .* Received: source_lengths=\(0, 4\)"),
        ({"source_lengths": (8, 4)}, r"ascending order. Received: source_lengths=\(8, 4\)"),
        ({"source_lengths": (4, 4)}, r"ascending order. Received: source_lengths=\(4, 4\)"),
        ({"target_length": 0}, "target_length must be at least 1. Received: target_length=0"),
        ({"seed": -1}, "seed must be at least 0. Received: seed=-1"),
    ],
)
def test_arguments_out_of_range_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        _batches(_examples(1, 2), **arguments)


def test_no_examples_raise():
    with pytest.raises(ValueError, match="examples must hold at least one example"):
        _batches([])


def test_an_index_out_of_range_raises():
    batches = _batches(_examples(1, 2))
    with pytest.raises(IndexError, match=r"index must be from 0 to 0\. Received: index=1"):
        batches[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {**a, "input_ids": a["input_ids"][:, 1:]}, "input_ids, attention_mask and labels of shapes"),
        (lambda a: {**a, "attention_mask": a["attention_mask"][:, ::-1]}, "pad on the right. Received: attention_mask"),
        (lambda a: {**a, "labels": a["labels"][:, ::-1]}, "pad on the right. Received: labels"),
        (lambda a: {**a, "input_ids": -a["input_ids"]}, "ids of 0 and more. Received: -"),
        (lambda a: {**a, "attention_mask": a["attention_mask"] * 0}, "at least one id for each document"),
    ],
)
def test_a_tokenizer_that_keeps_other_rules_raises(change, message):
    tokenizer = WhitespaceTokenizer()
    with pytest.raises(ValueError, match=message):
        _batches(_examples(1, 2), lambda *args, **kwargs: change(tokenizer(*args, **kwargs)))

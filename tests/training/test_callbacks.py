"""What the callbacks note and when they stop."""

import json
import os

import keras
import numpy as np
import pytest
from tiny import make_model

from training.batches import SummarizationBatches
from training.callbacks import Clock, StepLosses, WarmupThenLinear
from training.examples import Example


class Characters:
    """One id per character, with the interface of a tokenizer."""

    def __call__(self, texts, text_target, max_length, max_target_length):
        def padded(rows, length, filler):
            ids = [[ord(letter) for letter in row][:length] for row in rows]
            return np.array([row + [filler] * (length - len(row)) for row in ids], "int32")

        ids = padded(texts, max_length, 0)
        labels = padded(text_target, max_target_length, -100)
        return {"input_ids": ids, "attention_mask": (ids != 0).astype("int32"), "labels": labels}


class MeanId(keras.Model):
    """A model whose loss is the mean id of its batch."""

    def __init__(self):
        super().__init__()
        self.scale = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return keras.ops.cast(inputs["input_ids"], "float32") * self.scale

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


def test_the_history_holds_each_steps_own_loss_for_batches_of_different_sizes():
    examples = [Example("a" * (1 + number % 16), "b" * (1 + number % 5)) for number in range(40)]
    batches = SummarizationBatches(examples, Characters(), batch_tokens=64, source_lengths=(4, 16), target_length=5)
    model, step_losses = make_model("longt5-local", num_layers=1, vocab_size=128, dropout_rate=0.0), StepLosses(batches)
    model.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[step_losses])
    expected = [float(model(batches[index])["loss"]) for index in range(len(batches))]
    assert len({len(batches.example_indices(index)) for index in range(len(batches))}) == 2
    assert sorted(step_losses.losses) == pytest.approx(sorted(expected), rel=1e-4)


def test_the_schedule_warms_up_falls_to_zero_and_stops_when_time_is_up():
    clock = Clock(steps=10, max_minutes=None)
    schedule = WarmupThenLinear(clock, learning_rate=1.0, warmup_steps=4)
    model = MeanId()
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    schedule.set_model(model)
    rates = []
    for step in range(10):
        schedule.on_train_batch_begin(step)
        rates.append(float(model.optimizer.learning_rate))
        schedule.on_train_batch_end(step)
    assert rates == pytest.approx([0.25, 0.45, 0.6, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert model.stop_training
    assert Clock(steps=10**9, max_minutes=1e-9).fraction(1) == 1.0


def test_reports_are_written_whole(tmp_path):
    from training.finetune import write_report

    write_report(tmp_path, {"rouge": {"rouge1": 1.0}})
    with pytest.raises(TypeError):
        write_report(tmp_path, {"rouge": object()})
    assert json.loads((tmp_path / "report.json").read_text())["rouge"] == {"rouge1": 1.0}
    assert os.listdir(tmp_path) == ["report.json"]

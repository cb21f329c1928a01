"""The company of a row, its place in the batch and padding change nothing about it, for every model and head."""

import numpy as np
import pytest
from backends import direct
from routines import as_numpy, assert_close
from tiny import HEADS, KINDS, make_inputs_for, make_model

NOT_PER_ROW = ("loss", "labels", "start_positions", "end_positions")
every_model = pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind in KINDS for head in HEADS])


def outputs_of(model, inputs, length):
    """What a call returns for each row, on the real tokens alone."""
    inputs = {name: value for name, value in inputs.items() if name not in ("start_positions", "end_positions")}
    if model.head_inputs == ("labels",) and inputs["labels"].ndim == 1:
        del inputs["labels"]
    outputs = {name: value for name, value in as_numpy(direct(model, inputs)).items() if name != "loss"}
    real = inputs["attention_mask"][:, :length]
    for name, value in outputs.items():
        if name in ("encoder_last_hidden_state", "start_logits", "end_logits"):
            mask = real if value.ndim == 2 else real[..., None]
            outputs[name] = value[:, :length] * mask
    return outputs


@pytest.mark.quick_in_jax(
    "led-Model",
    "led-ForQuestionAnswering",
    "longt5-tglobal-ForConditionalGeneration",
    "longt5-local-ForSequenceClassification",
)
@every_model
def test_padding_changes_no_row(kind, head):
    model, inputs = make_model(kind, head=head), make_inputs_for(kind, head, length=19)
    longer = dict(inputs)
    for name in ("input_ids", "attention_mask", "global_attention_mask"):
        if name in inputs:
            fill = model.config.pad_token_id if name == "input_ids" else 0
            longer[name] = np.pad(inputs[name], ((0, 0), (0, 12)), constant_values=fill)
    assert_close(outputs_of(model, longer, 19), outputs_of(model, inputs, 19))


@pytest.mark.quick_in_jax("longt5-tglobal-Model")
@every_model
def test_the_order_of_rows_changes_no_row(kind, head):
    model, inputs = make_model(kind, head=head), make_inputs_for(kind, head)
    order = np.array([2, 0, 1])
    wanted = {name: value[order] for name, value in outputs_of(model, inputs, 29).items()}
    assert_close(outputs_of(model, {name: value[order] for name, value in inputs.items()}, 29), wanted)


@pytest.mark.quick_in_jax("longt5-local-ForConditionalGeneration")
@every_model
def test_more_rows_change_no_row(kind, head):
    model, inputs = make_model(kind, head=head), make_inputs_for(kind, head)
    together = outputs_of(model, inputs, 29)
    for row in range(3):
        alone = outputs_of(model, {name: value[row : row + 1] for name, value in inputs.items()}, 29)
        assert_close(alone, {name: value[row : row + 1] for name, value in together.items()})

"""Every large table and kernel of every model is divided, and a map fits any model of its config."""

import math

import keras
import pytest
from tiny import HEADS, KINDS, make_encoder, make_model

from tfmodels.distribution import layout_map

# Sixteen numbers for each of 32 buckets of positions; the biases of logits hold one for each of 90 tokens.
SMALL = 200


def mesh(count=2):
    return keras.distribution.DeviceMesh((1, count), ("batch", "model"), [f"cpu:{number}" for number in range(count)])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_large_weight_is_divided(kind, head):
    untied = {"tie_word_embeddings": False} if head == "ForConditionalGeneration" else {}
    model, again = make_model(kind, head=head, **untied), make_model(kind, head=head, **untied)
    layouts = layout_map(model, mesh())
    assert model.name != again.name
    for variable in again.variables:
        layout = layouts[variable.path]
        assert (layout is not None and "model" in layout.axes) or math.prod(variable.shape) < SMALL, variable.path
        if layout is not None:
            assert variable.shape[layout.axes.index("model")] % 2 == 0
    # What sums over the devices is added to everywhere.
    whole = {variable.path.rpartition("/")[0] for variable in again.variables if layouts[variable.path] is None}
    assert not [path for path in whole if path.endswith(("/query", "/q_proj", "/wi"))]


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_alone_has_the_layouts_of_its_models_encoder(kind):
    model, encoder = make_model(kind), make_encoder(kind)
    of_model, of_encoder = layout_map(model, mesh()), layout_map(encoder, mesh())
    for inside, alone in zip(model.encoder.variables, encoder.variables, strict=True):
        one, other = of_model[inside.path], of_encoder[alone.path]
        assert (one and one.axes) == (other and other.axes)


def test_projections_go_from_divided_outputs_to_divided_inputs():
    layouts = layout_map(make_model("led"), mesh())
    for path, axes in {
        "encoder/block_1/self_attention/key_global/kernel": (None, "model"),
        "encoder/block_1/self_attention/key_global/bias": ("model",),
        "encoder/block_1/attention_output/kernel": ("model", None),
        "decoder/block_0/feed_forward/wi/kernel": (None, "model"),
        "decoder/block_0/feed_forward/wo/kernel": ("model", None),
        "shared/embeddings": ("model", None),
    }.items():
        assert layouts[f"anything/{path}"].axes == axes
    assert layouts["anything/encoder/block_1/attention_output/bias"] is None
    assert layouts["anything/encoder/block_1/final_norm/gamma"] is None


def test_a_size_that_the_mesh_does_not_divide_leaves_the_other_axis():
    # 90 tokens over 4 devices.
    layouts = layout_map(make_model("longt5-local", tie_word_embeddings=False), mesh(4))
    assert layouts["anything/shared/embeddings"].axes == (None, "model")
    assert layouts["anything/lm_head/kernel"].axes == ("model", None)


def test_an_axis_that_the_mesh_does_not_have_is_an_error():
    with pytest.raises(ValueError, match=r"axis must be one of .*'batch', 'model'.* Received: axis='heads'"):
        layout_map(make_encoder("led"), mesh(), axis="heads")

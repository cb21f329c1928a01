"""Checkpoints with harmless extra tensors, other numbers of positions and of tokens."""

import numpy as np
import pytest
from routines import as_numpy, assert_close
from tiny import VOCABULARY, make_inputs, make_model, one_layer

from tfmodels.checkpoints import open_checkpoint, write_safetensors

KINDS = ("led", "longt5-tglobal")
# transformers' own lists; LED's names are those of its releases up to 4.22.
EXTRAS = {
    "led": "led.encoder.version",
    "longt5-tglobal": "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
}


@pytest.fixture
def folders(tmp_path):
    def save(kind, extra=None):
        model = make_model(kind, **one_layer(kind))
        model.save_pretrained(tmp_path / kind)
        if extra is not None:
            with open_checkpoint(tmp_path / kind) as reader:
                tensors = {name: np.array(reader.read(name)) for name in reader.names()}
            write_safetensors(tmp_path / kind / "model.safetensors", {**tensors, extra: np.ones((1,), "float32")})
        return model, tmp_path / kind

    return save


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_that_transformers_passes_over_are_passed_over(kind, folders):
    model, folder = folders(kind, EXTRAS[kind])
    again = type(model).from_pretrained(folder)
    inputs = {**make_inputs(kind), "decoder_input_ids": np.full((3, 4), 5, "int32")}
    assert_close(as_numpy(again(inputs)["logits"]), as_numpy(model(inputs)["logits"]), 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_any_other_tensor_is_an_error_that_says_how_to_pass_over_it(kind, folders):
    model, folder = folders(kind, "some.other.weight")
    with pytest.raises(ValueError, match=r"Unknown: some.other.weight\. ignore_tensors=\[...\] passes over"):
        type(model).from_pretrained(folder)
    type(model).from_pretrained(folder, ignore_tensors=["some.other.weight"])


@pytest.mark.parametrize(("encoder", "decoder"), [(350, 32), (100, 70), (160, 7)])
def test_leds_positions_are_repeated_or_cut_and_that_is_said(encoder, decoder, folders, tmp_path):
    model, folder = folders("led")
    sizes = {"max_encoder_position_embeddings": encoder, "max_decoder_position_embeddings": decoder}
    with pytest.warns(UserWarning, match="learned ones are repeated or cut"):
        again = type(model).from_pretrained(folder, **sizes)
    for side, count in (("encoder", encoder), ("decoder", decoder)):
        old, new = (as_numpy(getattr(x, side).embed_positions.embeddings.value) for x in (model, again))
        np.testing.assert_array_equal(new, old[np.arange(count) % len(old)])
        assert again.config == again.encoder.config == again.decoder.config
    # What both have room for is the same, and so is the model that is saved and read again.
    inputs = {**make_inputs("led", 53), "decoder_input_ids": np.full((3, 5), 5, "int32")}
    expected = as_numpy(model(inputs)["logits"])
    assert_close(as_numpy(again(inputs)["logits"]), expected, 1e-6)
    again.save_pretrained(tmp_path / "resized")
    assert_close(as_numpy(type(model).from_pretrained(tmp_path / "resized")(inputs)["logits"]), expected, 1e-6)
    if encoder > 160:
        long = make_inputs("led", 300, lengths=(300, 200, 50))
        again.generate(**long, max_new_tokens=2)
        encoder_alone = model.encoder.from_pretrained
        with pytest.warns(UserWarning, match="repeated or cut"):
            alone = encoder_alone(folder, max_encoder_position_embeddings=encoder)
        expected = as_numpy(again.encode(**long)["last_hidden_state"])
        assert_close(as_numpy(alone(**long)["last_hidden_state"]), expected, 1e-5)


def test_positions_are_resized_as_a_whole_or_refused():
    model = make_model("led", **one_layer("led"))
    model.get_encoder().resize_position_embeddings(max_encoder_position_embeddings=200)
    assert model.config.max_encoder_position_embeddings == 200
    with pytest.raises(ValueError, match="max_encoder_position_embeddings must be a positive integer"):
        model.resize_position_embeddings(max_encoder_position_embeddings=0)
    with pytest.raises(ValueError, match="attention_window must be at most"):
        model.resize_position_embeddings(max_encoder_position_embeddings=2)
    assert model.encoder.embed_positions.input_dim == 200
    with pytest.raises(ValueError, match="must have learnt positions"):
        make_model("longt5-local", **one_layer("longt5-local")).resize_position_embeddings(anything=3)


@pytest.mark.parametrize(
    ("given", "rows"),
    [((91, 8), 96), ((96, 8), 96), ((None, 64), 128), ((None, None), VOCABULARY), ((np.int64(70),), 70)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_token_embeddings_are_padded_to_a_multiple(kind, given, rows):
    model = make_model(kind, **one_layer(kind))
    model.resize_token_embeddings(*given)
    assert model.config.vocab_size == rows == model.shared.input_dim


@pytest.mark.parametrize("kind", KINDS)
def test_bad_multiples_are_refused(kind):
    with pytest.raises(ValueError, match="pad_to_multiple_of must be a positive integer"):
        make_model(kind, **one_layer(kind)).resize_token_embeddings(91, pad_to_multiple_of=0)

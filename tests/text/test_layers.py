"""Layers with tokenizers: what their files hold, and which classes they find."""

import base64

import keras
import pytest

from tfmodels import LEDTokenizer
from tfmodels.text.layers import TokenizerLayer


def test_a_layers_config_names_the_tokenizers_class_and_holds_its_files(tokenizer):
    # `.keras` files of earlier versions hold this form.
    files = {name: base64.b64encode(content).decode() for name, content in tokenizer.to_files().items()}
    saved = {"class_name": type(tokenizer).__name__, "files": files}
    assert tokenizer.as_layer(16).get_config()["tokenizer"] == saved
    layer = TokenizerLayer.from_config({"tokenizer": saved, "max_length": 16})
    assert type(layer.tokenizer) is type(tokenizer)
    assert layer.tokenizer.to_files() == tokenizer.to_files()


def test_a_layer_with_a_registered_class_of_ones_own_is_rebuilt(led_tokenizer):
    @keras.saving.register_keras_serializable(package="mine")
    class MyTokenizer(LEDTokenizer):
        pass

    mine = MyTokenizer.from_files(led_tokenizer.to_files())
    layer = TokenizerLayer.from_config(mine.as_layer(16).get_config())
    assert type(layer.tokenizer) is MyTokenizer


def test_a_class_that_is_not_imported_is_named(led_tokenizer):
    config = led_tokenizer.as_layer(16).get_config()
    config["tokenizer"]["class_name"] = "OtherTokenizer"
    with pytest.raises(ValueError, match="class must be imported before its layer is loaded.* class_name='OtherTok"):
        TokenizerLayer.from_config(config)

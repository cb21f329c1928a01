"""`import tfmodels` is light, and what it leaves out is there when it is asked for."""

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny import make_inputs, make_model, one_layer

import tfmodels

SOURCE = Path(tfmodels.__file__).read_text(encoding="utf-8")
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_text", "tokenizers", "sentencepiece"):
            raise ModuleNotFoundError(f"{name} is not to be imported")

sys.meta_path.insert(0, Blocked())
"""


def run(program, **environment):
    """The output of a program in a fresh process."""
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_every_public_name_is_there_and_is_what_a_type_checker_reads():
    names = set(tfmodels.__all__)
    assert names == set(tfmodels._MODULES)
    assert names <= set(dir(tfmodels))
    guarded = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in guarded.body for alias in node.names}
    assert typed == tfmodels._MODULES
    for name in names:
        assert getattr(tfmodels, name).__name__ == name.replace("LongT5EncoderModel", "LongT5Encoder")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tfmodels' has no attribute 'TFLEDModel'"):
        _ = tfmodels.TFLEDModel


def test_importing_imports_no_model_and_no_tokenizer():
    loaded = run("import sys, tfmodels; print(*sys.modules)").split()
    assert {name for name in loaded if name.split(".")[0] == "tfmodels"} == {
        "tfmodels",
        "tfmodels.backend",
        "tfmodels.backend.saved_classes",
    }
    assert not {"tensorflow_text", "tokenizers", "sentencepiece"} & set(loaded)


def test_importing_imports_no_keras_and_saved_classes_are_known_when_it_comes():
    program = """
import sys, tfmodels
assert not {"keras", "tensorflow", "jax", "numpy"} & set(sys.modules), sorted(sys.modules)
import keras
assert type(keras.__spec__.loader).__name__ == "SourceFileLoader" and keras.__loader__ is keras.__spec__.loader
print("tfmodels>LEDEncoder" in keras.saving.get_custom_objects())
"""
    assert run(program).split() == ["True"]


def test_importing_takes_little_time():
    """Measured: 0.001 s. `python -m benchmarks.imports` prints more."""
    program = "import time, keras; start = time.process_time(); import tfmodels; print(time.process_time() - start)"
    assert float(run(program)) < 0.5


def test_under_jax_models_run_without_tensorflow_and_tokenizer_libraries():
    program = """
import numpy as np, tfmodels
led = tfmodels.LEDConfig(
    vocab_size=20, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, attention_window=4,
    max_encoder_position_embeddings=16, max_decoder_position_embeddings=8,
)
longt5 = tfmodels.LongT5Config(
    vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, local_radius=3, global_block_size=4,
    decoder_start_token_id=0,
)
ids = np.arange(4, 12)[None]
for model in (tfmodels.LEDForConditionalGeneration(led), tfmodels.LongT5ForConditionalGeneration(longt5)):
    assert model(input_ids=ids, labels=ids[:, :3])["logits"].shape == (1, 3, 20)
    assert model.generate(input_ids=ids, max_new_tokens=2).shape[0] == 1
assert not {"tensorflow", "tensorflow_text", "tokenizers", "sentencepiece"} & set(sys.modules)
"""
    run(BLOCKED + program, KERAS_BACKEND="jax")


@pytest.fixture(scope="module")
def texts():
    return np.array(["a window", "global tokens and a window"])


@pytest.fixture(scope="module")
def files(tmp_path_factory, texts):
    """Three `.keras` files, and the outputs of what is in them."""
    folder = tmp_path_factory.mktemp("keras")
    states = keras.Input((24, 8))
    functional = keras.Model(states, tfmodels.LongformerSelfAttention(num_heads=2, attention_window=8)(states))
    tokenizer = tfmodels.LEDTokenizer.train_from_iterator(list(texts), 280)
    text = keras.Input((), dtype="string")
    reading = keras.Model(text, tokenizer.as_layer(max_length=8)(text))
    model = make_model("led", **one_layer("led"))
    inputs = make_inputs("led", 21)
    np.savez(
        folder / "outputs.npz",
        functional=functional(np.ones((1, 24, 8), "float32")),
        reading=reading(keras.ops.convert_to_tensor(texts))["input_ids"],
        model=model(**inputs, decoder_input_ids=inputs["input_ids"][:, :4])["logits"],
        **inputs,
    )
    for name, saved in (("functional", functional), ("reading", reading), ("model", model)):
        saved.save(folder / f"{name}.keras")
    return folder


def test_keras_loads_what_was_saved_when_only_tfmodels_was_imported(files, texts):
    """Each class is imported when its file is read: a layer's first, those of a family's models after it."""
    program = f"""
import sys
import tfmodels, keras
import numpy as np

outputs = np.load("outputs.npz")
functional = keras.saving.load_model("functional.keras")
np.testing.assert_allclose(functional(np.ones((1, 24, 8), "float32")), outputs["functional"], atol=1e-6)
assert "tfmodels.led.encoder" not in sys.modules and "tokenizers" not in sys.modules
reading = keras.saving.load_model("reading.keras")
ids = reading(keras.ops.convert_to_tensor({texts.tolist()!r}))["input_ids"]
np.testing.assert_array_equal(ids, outputs["reading"])
model = keras.saving.load_model("model.keras")
inputs = {{name: outputs[name] for name in ("input_ids", "attention_mask", "global_attention_mask")}}
logits = model(**inputs, decoder_input_ids=inputs["input_ids"][:, :4])["logits"]
np.testing.assert_allclose(logits, outputs["model"], atol=1e-5)
assert type(model) is tfmodels.LEDForConditionalGeneration
"""
    run(f"import os; os.chdir({os.fspath(files)!r})\n" + program)


def test_a_file_that_names_a_module_of_an_earlier_layout_is_loaded(files, tmp_path):
    """Keras goes by the registered name; the module stands in the file all the same."""
    earlier = tmp_path / "earlier.keras"
    with zipfile.ZipFile(files / "functional.keras") as found, zipfile.ZipFile(earlier, "w") as written:
        for name in found.namelist():
            content = found.read(name)
            if name == "config.json":
                content = json.dumps(json.loads(content)).replace("tfmodels.layers.attention.", "tfmodels.layers.")
                assert "tfmodels.layers.longformer_self_attention" in content
            written.writestr(name, content)
    run(f"import tfmodels, keras; keras.saving.load_model({os.fspath(earlier)!r})")


def test_every_saved_class_is_announced_with_its_module():
    for module in pkgutil.walk_packages(tfmodels.__path__, "tfmodels."):
        importlib.import_module(module.name)
    registered = {
        (saved.__module__, name.removeprefix("tfmodels>"))
        for name, saved in keras.saving.get_custom_objects().items()
        if name.startswith("tfmodels>") and isinstance(saved, type)
        # The training program's optimizers are in no file that is to be loaded without it.
        if not saved.__module__.startswith("training.")
    }
    assert registered == {(module, name) for module, names in tfmodels._SAVED_CLASSES.items() for name in names}
